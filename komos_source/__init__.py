"""A dlt source for Komos: task runs and their log entries.

    import dlt
    from komos_source import komos_source

    pipeline = dlt.pipeline("komos_task_run_logs", destination="duckdb", dataset_name="komos")
    pipeline.run(komos_source())

`load` does the same with crash recovery, a lock, and a row count after each load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from komos_source.exceptions import (
    ApiUnreachableError,
    AuthenticationError,
    ConfigurationError,
    DestinationError,
    KomosError,
    LockedError,
    RequestError,
    SpoolError,
    UsageError,
)

if TYPE_CHECKING:
    from komos_source.api.client import KomosClient
    from komos_source.destinations.pipeline import make_pipeline
    from komos_source.load_result import LoadResult
    from komos_source.loading.follow import follow
    from komos_source.loading.load import load
    from komos_source.loading.shards import after_shards, load_shard
    from komos_source.source import komos_source

__version__ = "0.1.0"
__all__ = [
    "ApiUnreachableError",
    "AuthenticationError",
    "ConfigurationError",
    "DestinationError",
    "KomosClient",
    "KomosError",
    "LoadResult",
    "LockedError",
    "RequestError",
    "SpoolError",
    "UsageError",
    "after_shards",
    "follow",
    "komos_source",
    "load",
    "load_shard",
    "make_pipeline",
]

_MODULES = {
    "KomosClient": "api.client",
    "LoadResult": "load_result",
    "after_shards": "loading.shards",
    "follow": "loading.follow",
    "komos_source": "source",
    "load": "loading.load",
    "load_shard": "loading.shards",
    "make_pipeline": "destinations.pipeline",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: dlt takes half a second, which --help does not need."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
