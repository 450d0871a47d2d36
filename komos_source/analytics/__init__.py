"""Which node fails, since when, and whether it is noise: SQL and the few lines that run it.

    from komos_source.analytics import failure_precursors, node_regressions, query
    from komos_source.pipeline import make_pipeline

    pipeline = make_pipeline()
    query(pipeline, "node_health", since=datetime(2025, 10, 1, tzinfo=UTC))
    node_regressions(pipeline)

Each ``*.sql`` file is one documented query, and `komos_source.loading.load` creates most of them as
views. The functions are for what portable SQL cannot do; they return pandas DataFrames.
"""

from __future__ import annotations

from komos_source.analytics.precursors import failure_precursors
from komos_source.analytics.querying import query
from komos_source.analytics.regressions import node_regressions

__all__ = ["failure_precursors", "node_regressions", "query"]
