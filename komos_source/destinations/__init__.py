"""The dlt destination of a name, with what dlt's own lacks for this source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import Destination

from komos_source import settings
from komos_source.shard import Shard

_TRANSACTIONAL = frozenset({"motherduck", "postgres", "redshift", "snowflake"})
"""Can do it; dlt does not say so, and merges without."""


def destination_for(name: str, shard: Shard | None = None, database: str | None = None) -> Any:
    """The destination as configured; a shard stages in a dataset of its own.

    Two loads that share a staging dataset lose rows, without an error.

    Args:
        name: dlt's name of it.
        shard: Which one, if any.
        database: A DuckDB file to use in place of the configured one.

    Raises:
        UnknownDestinationModule: dlt knows no such destination.
        ImportError: What dlt needs for it is not installed.
    """
    options: dict[str, Any] = {}
    if shard:
        options["staging_dataset_name_layout"] = f"%s_staging{shard.suffix}"
    if name in _TRANSACTIONAL:
        options["supports_transactions"] = True
    match name:
        case "duckdb":
            from komos_source.destinations.duckdb import duckdb

            configured: Any = dlt.secrets.get("destination.duckdb.credentials")
            options["credentials"] = _from_here(database or configured or settings.DUCKDB_FILE)
            return duckdb(**options)
        case "ducklake":
            from komos_source.destinations.ducklake import ducklake

            return ducklake(**options)
        case "postgres":
            from komos_source.destinations.postgres import postgres

            return postgres(**options)
        case _:
            return Destination.from_reference(name, **options)


def _from_here(database: Any) -> Any:
    """A DuckDB file by its full name, where it is a file.

    dlt takes a relative name to be beside wherever a pipeline of this name ran before.
    """
    scheme = "duckdb:///"
    file = str(database).removeprefix(scheme)
    if not isinstance(database, str) or "://" in file or file.startswith((":", "md:")):
        return database
    return scheme + str(Path(file).resolve())
