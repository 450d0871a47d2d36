"""Which node fails, since when, and whether it is noise: SQL and the few lines that run it.

    from komos_source.analytics import failure_precursors, node_regressions, query
    from komos_source.destinations.pipeline import make_pipeline

    pipeline = make_pipeline()
    query(pipeline, "node_health", since=datetime(2025, 10, 1, tzinfo=UTC))
    node_regressions(pipeline)

Each ``*.sql`` file is one documented query; a load creates most of them as views.
The functions are for what portable SQL cannot do; they return pandas DataFrames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komos_source.analytics.precursors import failure_precursors
    from komos_source.analytics.query import query
    from komos_source.analytics.regressions import node_regressions

__all__ = ["failure_precursors", "node_regressions", "query"]


def __getattr__(name: str) -> Any:
    """Imports a function when it is first asked for: a load that makes views needs no pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from komos_source.analytics import precursors, querying, regressions

    modules = (precursors, querying, regressions)
    return next(getattr(module, name) for module in modules if hasattr(module, name))
