"""dlt's DuckDB destination, with the file, the memory limit and the merge of this source."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob

from komos_source import settings
from komos_source.destinations.capabilities import CachedCapabilities
from komos_source.destinations.loading_path import with_direct_merge
from komos_source.exceptions import ConfigurationError

_LONG_ROWS = "komos_source: holds rows too long to be combined into large row groups"
_HOLDS_LONG_ROWS = "SELECT COUNT(*) > 0 FROM duckdb_columns() WHERE comment = %s"
_lock = threading.Lock()


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    def make_location(self, configured_location: str, default_location_pat: str) -> str:
        """Returns the file's path; a relative one is relative to the current directory.

        dlt would look beside the place where a pipeline of this name ran first, and without a
        configured file in another one for each shard.
        """
        location = configured_location or settings.DUCKDB_FILE
        # The address may hold a password or token, which no message may show.
        if self.credentials.drivername != "duckdb" or location.startswith(("md:", "motherduck:")):
            raise ConfigurationError(
                "the configured DuckDB file is the address of another database: name a file, as in "
                "duckdb:///FILE, or choose the other database with --destination, such as "
                "motherduck."
            )
        if location.startswith(":"):
            return super().make_location(location, default_location_pat)
        return str(Path(location).resolve())

    def __str__(self) -> str:
        """The file. For its URL, dlt would import SQLAlchemy: a tenth of a small load."""
        return f"duckdb:///{self.credentials.database}"

    def on_resolved(self) -> None:
        limits: dict[str, Any] = {"max_vacuum_tasks": 0}
        if with_direct_merge(_Client) is not _Client:
            limits["memory_limit"] = settings.DUCKDB_MEMORY
        self.credentials.global_config = limits | (self.credentials.global_config or {})
        # dlt sets 1 GB, all of which would be held in memory.
        log = f"checkpoint_threshold = '{settings.DUCKDB_LOG}'"
        self.credentials.pragmas = [log, *(self.credentials.pragmas or ())]


class _CopyJob(DuckDbCopyJob):
    def run(self) -> None:
        client: Any = self._job_client
        client.prepare_merge(self._load_table, f"read_parquet('{self._file_path}')")
        super().run()


class _Client(DuckDbClient):
    def create_load_job(
        self, table: Any, file_path: str, load_id: str, restore: bool = False
    ) -> Any:
        job = super().create_load_job(table, file_path, load_id, restore)
        return _CopyJob(file_path) if isinstance(job, DuckDbCopyJob) else job

    def prepare_merge(self, table: Any, file: str) -> None:
        """Lets DuckDB combine small row groups of a table, unless they hold long rows.

        DuckDB writes all of 122,880 rows, however long, by way of memory. A comment on a column
        records that the table holds long rows.
        """
        client: Any = self.sql_client
        lengths = " + ".join(
            f"COALESCE(strlen({client.escape_column_name(column['name'])}), 0)"
            for column in table["columns"].values()
            if column.get("data_type") in {"text", "json"}
        )
        average = f"SELECT AVG({lengths}) > {settings.LONG_ROW} FROM {file}"  # noqa: S608 - schema's names
        with _lock:  # other tables are merged on other threads
            if client.execute_sql(average)[0][0]:
                name = client.make_qualified_table_name(table["name"])
                client.execute_sql(f"COMMENT ON COLUMN {name}.{C_DLT_LOAD_ID} IS '{_LONG_ROWS}'")
            _limit_vacuum(client)


def compact(client: Any) -> int:
    """Frees the space of deleted rows in the file, which later rows use again.

    Args:
        client: dlt's SQL client.

    Returns:
        Bytes of the file that are free; the file itself does not shrink.
    """
    _limit_vacuum(client)
    client.execute_sql("CHECKPOINT")
    size = "SELECT free_blocks * block_size FROM pragma_database_size()"
    return int(client.execute_sql(size)[0][0])


def _limit_vacuum(client: Any) -> None:
    """Has the next checkpoint combine row groups, unless a table holds long rows."""
    long_rows = client.execute_sql(_HOLDS_LONG_ROWS, _LONG_ROWS)[0][0]
    client.execute_sql(f"SET GLOBAL max_vacuum_tasks = {0 if long_rows else 100}")


class duckdb(CachedCapabilities, dlt.destinations.duckdb):  # noqa: N801 - dlt reads the destination's name off the class
    """DuckDB, as `dlt.destinations.duckdb`."""

    spec = _Configuration

    @property
    def client_class(self) -> Any:
        """The class of dlt's job client."""
        return with_direct_merge(_Client)
