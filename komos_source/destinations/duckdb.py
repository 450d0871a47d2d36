"""dlt's DuckDB destination, with the file, the memory limit and the merge of this source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from komos_source import settings
from komos_source.destinations.loading_path import with_direct_merge


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    def make_location(self, configured_location: str, default_location_pat: str) -> str:
        """Returns the file's path; a relative one is relative to the current directory.

        dlt would look beside the place where a pipeline of this name ran first, and without a
        configured file in another one for each shard.
        """
        location = configured_location or settings.DUCKDB_FILE
        if location.startswith(":"):
            return super().make_location(location, default_location_pat)
        return str(Path(location).resolve())

    def on_resolved(self) -> None:
        # By default DuckDB takes most of the machine's memory before it spills to disk.
        limits = {"memory_limit": settings.DUCKDB_MEMORY}
        self.credentials.global_config = limits | (self.credentials.global_config or {})


class duckdb(dlt.destinations.duckdb):  # noqa: N801 - dlt reads the destination's name off the class
    """DuckDB, as `dlt.destinations.duckdb`."""

    spec = _Configuration

    @property
    def client_class(self) -> Any:
        """The class of dlt's job client."""
        return with_direct_merge(DuckDbClient)
