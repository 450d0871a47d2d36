"""dlt's DuckLake destination, with what it lacks for this source.

Rows come as Parquet files, and are merged straight from them. Staged, each of many shards would
have a dataset of staging tables of its own, and the catalog a snapshot for each step of each.
"""

from __future__ import annotations

from typing import Any

import dlt
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient

from komos_source.destinations.parquet_merge import MergesFromParquet
from komos_source.destinations.remembering import RemembersCapabilities


class _Client(MergesFromParquet, DuckLakeClient):
    pass


class ducklake(RemembersCapabilities, dlt.destinations.ducklake):  # noqa: N801 - dlt reads the destination's name off the class
    """DuckLake, as `dlt.destinations.ducklake`."""

    def _raw_capabilities(self) -> Any:
        capabilities = super()._raw_capabilities()
        capabilities.preferred_loader_file_format = "parquet"
        capabilities.supported_loader_file_formats = ["parquet"]
        return capabilities

    @property
    def client_class(self) -> type[DuckLakeClient]:
        """What dlt connects by."""
        return _Client
