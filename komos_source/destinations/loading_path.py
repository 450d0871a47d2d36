"""Which way rows are merged: straight from the files of a load package, or as dlt does it."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import dlt

from komos_source import settings
from komos_source.config import Setting, setting
from komos_source.exceptions import ConfigurationError

LoadingPath = Literal["direct merge", "dlt"]
DIRECT_MERGE = Setting(
    "direct_merge",
    "Whether DuckDB and DuckLake merge straight from the Parquet files of a load; `false` uses the "
    "merge of dlt. See docs/compatibility.md#loading-with-and-without-the-direct-merge.",
    "true",
)


def loading_path(pipeline: dlt.Pipeline) -> LoadingPath:
    """Returns how a pipeline merges rows into its destination.

    `direct merge` is faster; what is in the tables afterwards is the same.
    """
    client_class = pipeline.destination.client_class
    return "direct merge" if getattr(client_class, "merges_directly", False) else "dlt"


def bytes_per_package(destination: str) -> int | None:
    """Returns the bytes of rows after which a load begins another load package.

    None for no limit, or for the one that is configured (``SOURCES__KOMOS__MAX_BYTES``).

    Args:
        destination: Name of a dlt destination.

    Raises:
        ConfigurationError: As for `with_direct_merge`.
    """
    if destination != "duckdb" or setting("max_bytes") is not None:
        return None
    from komos_source.destinations.duckdb import duckdb

    merges_directly = getattr(duckdb().client_class, "merges_directly", False)
    return None if merges_directly else settings.BYTES_PER_PACKAGE


def with_direct_merge(client_class: Any) -> Any:
    """Returns a subclass of a DuckDB job client of dlt's that merges directly, where that works.

    Returns the class itself if ``SOURCES__KOMOS__DIRECT_MERGE`` is false, or if the installed dlt
    lacks something that the direct merge builds on.

    Raises:
        ConfigurationError: The setting is neither true nor false.
    """
    configured = str(DIRECT_MERGE.value()).lower()  # TOML has a bool, the environment a text
    if configured in {"false", "0", "no", "off"}:
        return client_class
    if configured not in {"true", "1", "yes", "on"}:
        raise ConfigurationError("SOURCES__KOMOS__DIRECT_MERGE has to be true or false")
    return _direct(client_class) or client_class


@cache
def _direct(client_class: Any) -> type[Any] | None:
    try:
        from komos_source.destinations import direct_merge

        direct_merge.check_dlt(client_class)
    except (ImportError, AttributeError, TypeError):
        return None
    return type("DirectMergeClient", (direct_merge.DirectMerge, client_class), {})
