"""A dlt source for Komos: task runs and the log entries of their nodes.

    import dlt
    from komos_source import komos_source

    pipeline = dlt.pipeline("komos_task_run_logs", destination="duckdb", dataset_name="komos")
    pipeline.run(komos_source())

`load` does the same with locking, crash recovery, webhook deliveries, reconciliation, views and a
load history. Names are imported when they are first used: dlt takes half a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komos_source.api.client import KomosClient
    from komos_source.destinations.pipeline import make_pipeline
    from komos_source.exceptions import (
        AnswerError,
        ApiUnreachableError,
        AuthenticationError,
        ConfigurationError,
        DestinationError,
        KomosError,
        LockedError,
        NotVisibleError,
        RequestError,
        SpoolError,
        UsageError,
    )
    from komos_source.load_result import LoadResult
    from komos_source.loading.follow import follow
    from komos_source.loading.load import load
    from komos_source.loading.prune import PruneResult, prune
    from komos_source.loading.redact_tables import RedactResult, redact
    from komos_source.loading.shards import after_shards, load_shard
    from komos_source.source import komos_source

__version__ = "0.1.0"
__all__ = [
    "AnswerError",
    "ApiUnreachableError",
    "AuthenticationError",
    "ConfigurationError",
    "DestinationError",
    "KomosClient",
    "KomosError",
    "LoadResult",
    "LockedError",
    "NotVisibleError",
    "PruneResult",
    "RedactResult",
    "RequestError",
    "SpoolError",
    "UsageError",
    "__version__",
    "after_shards",
    "follow",
    "komos_source",
    "load",
    "load_shard",
    "make_pipeline",
    "prune",
    "redact",
]

_MODULES = {
    "KomosClient": "api.client",
    "LoadResult": "load_result",
    "PruneResult": "loading.prune",
    "RedactResult": "loading.redact_tables",
    "after_shards": "loading.shards",
    "follow": "loading.follow",
    "komos_source": "source",
    "load": "loading.load",
    "load_shard": "loading.shards",
    "make_pipeline": "destinations.pipeline",
    "prune": "loading.prune",
    "redact": "loading.redact_tables",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'exceptions')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
