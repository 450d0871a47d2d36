"""The dlt destination of a name, with what dlt's own lacks for this source."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.destination import Destination

from komos_source import settings
from komos_source.shards import Shard


def destination_for(name: str, shard: Shard | None = None) -> Any:
    """The destination as configured; a shard stages in a dataset of its own.

    Two loads that share a staging dataset lose rows, without an error.

    Raises:
        UnknownDestinationModule: dlt knows no such destination.
        ImportError: What dlt needs for it is not installed.
    """
    options: dict[str, Any] = {}
    if shard:
        options["staging_dataset_name_layout"] = f"%s_staging{shard.suffix}"
    match name:
        case "duckdb":
            from komos_source.destinations.duckdb import duckdb

            if not dlt.secrets.get("destination.duckdb.credentials"):
                options["credentials"] = settings.DUCKDB_FILE
            return duckdb(**options)
        case "postgres":
            from komos_source.destinations.postgres import postgres

            return postgres(**options)
        case _:
            return Destination.from_reference(name, **options)
