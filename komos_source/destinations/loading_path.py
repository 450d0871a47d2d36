"""Which way rows are merged: straight from the files of a load package, or as dlt does it."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import dlt

from komos_source import settings

LoadingPath = Literal["direct merge", "dlt"]


def loading_path(pipeline: dlt.Pipeline) -> LoadingPath:
    """Returns how a pipeline merges rows into its destination.

    `direct merge` is faster; what is in the tables afterwards is the same.
    """
    client_class = pipeline.destination.client_class
    return "direct merge" if getattr(client_class, "merges_directly", False) else "dlt"


def with_direct_merge(client_class: Any) -> Any:
    """Returns a subclass of a DuckDB job client of dlt's that merges directly, where that works.

    Returns the class itself if ``SOURCES__KOMOS__DIRECT_MERGE`` is false, or if the installed dlt
    lacks something that the direct merge builds on.
    """
    if dlt.config.get(f"sources.{settings.SOURCE_NAME}.direct_merge", bool) is False:
        return client_class
    return _direct(client_class) or client_class


@cache
def _direct(client_class: Any) -> type[Any] | None:
    try:
        from komos_source.destinations import direct_merge

        direct_merge.check_dlt(client_class)
    except (ImportError, AttributeError, TypeError):
        return None
    return type("DirectMergeClient", (direct_merge.DirectMerge, client_class), {})
