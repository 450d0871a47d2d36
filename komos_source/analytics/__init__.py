"""Analyses of loaded data: which node fails, since when, and whether the change is more than noise.

    from komos_source.analytics import incidents, node_regressions, open_database, query

    database = open_database()
    query(database, "node_health", since=datetime(2025, 10, 1, tzinfo=UTC))
    node_regressions(database)
    incidents(database)

Each ``*.sql`` file is one documented query. `komos load` creates most of them as views, and
``create_views(pipeline)`` does so for a dlt pipeline of your own. The other functions do what
portable SQL cannot; they return pandas DataFrames.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from komos_source.extras import requires_extra

if TYPE_CHECKING:
    from komos_source.analytics.bursts import incidents
    from komos_source.analytics.checks import CheckResult, Limits, run_checks
    from komos_source.analytics.database import Database, open_database
    from komos_source.analytics.precursors import failure_precursors
    from komos_source.analytics.queries import query
    from komos_source.analytics.regressions import node_regressions
    from komos_source.analytics.views import create_views

_MODULES = {
    "CheckResult": "checks",
    "Limits": "checks",
    "Database": "database",
    "create_views": "views",
    "failure_precursors": "precursors",
    "incidents": "bursts",
    "node_regressions": "regressions",
    "open_database": "database",
    "query": "queries",
    "run_checks": "checks",
}
__all__ = [
    "CheckResult",
    "Database",
    "Limits",
    "create_views",
    "failure_precursors",
    "incidents",
    "node_regressions",
    "open_database",
    "query",
    "run_checks",
]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: a load that creates views does not import pandas."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with requires_extra("analysis", "analyses"):
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
