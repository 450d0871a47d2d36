"""dlt's DuckDB destination, with what it lacks for this source.

- Table names also say the database. DuckDB names a database by its file, and refuses
  ``komos.task_run_logs`` as ambiguous where file and dataset are both called ``komos``, as by
  default here. With the database in front nothing is.
- All rows come as Parquet files, and are merged straight from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from komos_source import settings
from komos_source.destinations.direct_merge import MergesFromParquet, only_parquet
from komos_source.destinations.remembering import RemembersCapabilities

_RESERVED = frozenset({"main", "system", "temp"})
"""What DuckDB names no database; it adds ``_db``."""


class _SqlClient(DuckDbSqlClient):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # dlt has everything written twice: into the log first, into the file on closing.
        self._global_config["checkpoint_threshold"] = settings.DUCKDB_LOG

    def catalog_name(self, quote: bool = True, casefold: bool = True) -> str | None:
        name = Path(str(self.credentials.database)).name.lstrip(".").partition(".")[0]
        if name in _RESERVED:
            name += "_db"
        return str(self.capabilities.escape_identifier(name)) if quote else name

    def warn_if_catalog_equals_dataset_name(self) -> None:
        """Nothing to warn of: the names are qualified."""


class _Client(MergesFromParquet, DuckDbClient):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = self.sql_client
        self.sql_client = _SqlClient(
            plain.dataset_name, plain.staging_dataset_name, plain.credentials, plain.capabilities
        )


class duckdb(RemembersCapabilities, dlt.destinations.duckdb):  # noqa: N801 - dlt reads the destination's name off the class
    """DuckDB, as `dlt.destinations.duckdb`."""

    def _raw_capabilities(self) -> Any:
        return only_parquet(super()._raw_capabilities())

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """The configuration, worked out once for each dataset, not with each of thirty clients."""
        known = self.__dict__.setdefault("_known_configurations", {})
        key = (initial_config.dataset_name, initial_config.default_schema_name)
        if key not in known:
            known[key] = super().configuration(initial_config, accept_partial)
        found = known[key].copy()
        found.credentials.resolve()  # connections of its own
        return found.resolve()

    @property
    def client_class(self) -> type[DuckDbClient]:
        """What dlt connects by."""
        return _Client
