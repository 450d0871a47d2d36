"""Merges rows straight from the Parquet files of a load package, in databases that read such files.

dlt copies the files into tables of a staging dataset and merges from there, which takes about twice
the processor time and, for each of many shards, a second set of tables. Here the load job of a file
does nothing, and the job that dlt creates once all files of a table are loaded merges them, as dlt
itself does it for tables on a filesystem. The merge of a file is one transaction.

This module builds on internals of dlt. `komos_source.destinations.loading_path` uses it only if
`check_dlt` accepts the installed version; without it everything works, more slowly.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.job_impl import FinalizedLoadJobWithFollowupJobs
from dlt.destinations.sql_jobs import SqlFollowupJob

if TYPE_CHECKING:
    from dlt.destinations.impl.duckdb.duck import DuckDbClient as _Client
else:
    _Client = object


def check_dlt(client_class: type[Any]) -> None:
    """Checks that the installed dlt has everything that this module overrides or calls.

    Raises:
        TypeError: A method takes other arguments.
        AttributeError: A method or attribute is missing.
    """
    overridden = {
        client_class.should_load_data_to_staging_dataset: "self table_name",
        client_class.initialize_storage: "self truncate_tables",
        client_class.create_load_job: "self table file_path load_id restore",
        client_class.create_table_chain_completed_followup_jobs: (
            "self table_chain completed_table_chain_jobs"
        ),
        SqlLoadJob.run: "self",
    }
    for method, names in overridden.items():
        if list(inspect.signature(method).parameters) != names.split():
            raise TypeError(f"dlt's {method.__qualname__} takes other arguments")
    inspect.signature(client_class.prepare_load_table).bind("self", "table_name")
    inspect.signature(SqlLoadJob).bind("file_path")
    inspect.signature(SqlLoadJob.is_sql_job).bind("file_path")
    inspect.signature(SqlFollowupJob).bind("file_name")
    inspect.signature(SqlFollowupJob.new_file_path).bind("self")
    inspect.signature(FinalizedLoadJobWithFollowupJobs.from_file_path).bind("file_path")
    inspect.signature(ParsedLoadJobFileName).bind("table_name", "file_id", 0, "sql")
    inspect.signature(ParsedLoadJobFileName.new_file_id).bind()
    inspect.signature(get_columns_names_with_prop).bind("table", "primary_key")
    _ = client_class.in_staging_dataset_mode, PackageStorage.STARTED_JOBS_FOLDER


class DirectMerge(_Client):
    """Mixin for a DuckDB job client of dlt's; for Parquet files and tables without nested ones.

    If the client has a method ``prepare_merge(table, file)``, it is called before a file is merged.
    """

    merges_directly = True

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """Returns False for tables that are merged: they are not staged."""
        merged = self.prepare_load_table(table_name)["write_disposition"] == "merge"
        return not merged and super().should_load_data_to_staging_dataset(table_name)

    def initialize_storage(self, truncate_tables: Any = None) -> None:
        """Creates the dataset, but no staging dataset, which would stay empty."""
        if not self.in_staging_dataset_mode:
            super().initialize_storage(truncate_tables)

    def create_load_job(
        self, table: Any, file_path: str, load_id: str, restore: bool = False
    ) -> Any:
        """Creates the load job of one file; a file of a table that is merged needs no work yet."""
        if SqlLoadJob.is_sql_job(file_path):
            return _MergeLoadJob(file_path)
        if table["write_disposition"] == "merge" and file_path.endswith(".parquet"):
            return FinalizedLoadJobWithFollowupJobs.from_file_path(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self, table_chain: Sequence[Any], completed_table_chain_jobs: Sequence[Any] | None = None
    ) -> list[Any]:
        """Creates the job that merges all files of a table, unless they are empty."""
        table = table_chain[0]
        if table["write_disposition"] != "merge":
            return super().create_table_chain_completed_followup_jobs(
                table_chain, completed_table_chain_jobs
            )
        paths = [job.file_path for job in completed_table_chain_jobs or ()]
        paths = [path for path in paths if _has_rows(path)]
        if not paths:
            return []
        file_id = ParsedLoadJobFileName.new_file_id()
        job = SqlFollowupJob(ParsedLoadJobFileName(table["name"], file_id, 0, "sql").file_name())
        Path(job.new_file_path()).write_text("\n".join(paths), "utf-8")
        return [job]


class _MergeLoadJob(SqlLoadJob):
    """Merges the Parquet files whose paths are in the job's file, each in one transaction.

    All files in one transaction would be held in memory.
    """

    def run(self) -> None:
        job_client: Any = self._job_client
        client = job_client.sql_client
        table = job_client.prepare_load_table(self.load_table_name)
        name = client.make_qualified_table_name(table["name"])
        key = map(client.escape_column_name, get_columns_names_with_prop(table, "primary_key"))
        keys, scope = ", ".join(key), table.get("x-merge-destination-scope")
        for path in Path(self._file_path).read_text("utf-8").splitlines():
            file = "read_parquet('" + path.replace("'", "''") + "')"
            if prepare := getattr(job_client, "prepare_merge", None):
                prepare(table, file)
            with client.begin_transaction():
                for statement in merge_statements(name, file, keys, scope):
                    client.execute_sql(statement)


def merge_statements(table: str, file: str, keys: str, scope: str | None = None) -> tuple[str, str]:
    """Returns the SQL of dlt's delete-insert merge of a Parquet file: DELETE and INSERT.

    One of several rows with the same key is kept. Only rows whose keys share a hash are compared,
    as a rule none; numbering all rows in a window, as dlt does, takes most of a large load's time.

    Args:
        table: Qualified name of the table.
        file: The call of ``read_parquet`` that reads the file.
        keys: Names of the columns of the key, separated by commas.
        scope: Condition for the rows of `table` that are replaced, with ``{staging_table}`` for the
            file; if None, the rows whose key is in the file.
    """
    same_key = f"({keys}) IN (SELECT {keys} FROM {{staging_table}})"  # noqa: S608 - schema's names
    replaced = (scope or same_key).format(table=table, staging_table=file)
    return (
        f"DELETE FROM {table} WHERE {replaced}",  # noqa: S608 - schema's names
        f"INSERT INTO {table} BY NAME WITH repeated AS MATERIALIZED"  # noqa: S608 - schema's names
        f" (SELECT hash({keys}) FROM {file} GROUP BY ALL HAVING COUNT(*) > 1)"
        f" SELECT * FROM {file} WHERE hash({keys}) NOT IN (FROM repeated)"
        f" UNION ALL BY NAME"
        f" SELECT DISTINCT ON ({keys}) * FROM {file} WHERE hash({keys}) IN (FROM repeated)",
    )


def _has_rows(path: str) -> bool:
    """Returns whether a file has rows; dlt moves the last one of a table only after this call."""
    file = Path(path)
    if not file.exists():
        file = file.parents[1] / PackageStorage.STARTED_JOBS_FOLDER / file.name
    return bool(pq.read_metadata(file).num_rows)
