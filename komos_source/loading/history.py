"""``komos_loads``: one row a load, written when the load has ended.

The row is one INSERT, not a package of its own: a package takes about as long as a whole load with
nothing new. The table itself is made by dlt, with the first package of a load that finds none, so
that its types are the destination's and dlt knows of it. Only where nothing can be inserted (files:
Parquet, Delta, Iceberg) is each row a package.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from komos_source import __version__, settings
from komos_source.destinations.write_disposition import adapt_to_destination
from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.tables import KOMOS_LOADS

_MAX_PROBLEMS = 100
_COUNTS = (
    "exit_code",
    "runs_seen",
    "runs_fetched",
    "entries_loaded",
    "entries_rejected",
    "runs_failed",
    "window_gaps",
    "requests",
)


def succeeded(report: LoadResult) -> dict[str, Any]:
    """What a load that came to its end says in its row."""
    failures = [f"run {run_id}: {reason}" for run_id, reason in report.failures.items()]
    counts = {name: getattr(report, name) for name in _COUNTS}
    return counts | _problems([*report.problems, *failures])


def failed(error: Exception) -> dict[str, Any]:
    """What a load that could do nothing says in its row."""
    return {"exit_code": 1} | _problems([str(error)])


def _problems(sentences: Sequence[str]) -> dict[str, Any]:
    kept = [*sentences[:_MAX_PROBLEMS]]
    if len(sentences) > len(kept):
        kept.append(f"and {len(sentences) - len(kept)} more: see task_run_log_loads")
    return {"problems": json.dumps(kept, ensure_ascii=False) if kept else None}


def table_if_missing(pipeline: dlt.Pipeline) -> list[Any]:
    """The source that makes the table, where the destination's schema does not have it yet."""
    return [] if _has_table(pipeline) else [_source([])]


def resource(rows: list[dict[str, Any]]) -> Any:
    """The table as a resource of dlt's."""
    hints = {**KOMOS_LOADS.hints(), "write_disposition": "append"}
    return dlt.resource([KOMOS_LOADS.from_rows(rows)], **hints)


def _has_table(pipeline: dlt.Pipeline) -> bool:
    known = pipeline.default_schema_name is not None
    return known and KOMOS_LOADS.name in pipeline.default_schema.tables


def write(pipeline: dlt.Pipeline, metrics: LoadMetrics, outcome: Mapping[str, Any]) -> None:
    """Writes the row of one load; does nothing where no load has made the table yet.

    Args:
        pipeline: The pipeline that the load ran in.
        metrics: When the load began, and which packages it loaded.
        outcome: From `succeeded` or `failed`.

    Raises:
        Exception: Whatever the destination raised; the data is loaded all the same.
    """
    row = {
        "id": str(uuid.uuid4()),
        "pipeline_name": pipeline.pipeline_name,
        "started_at": metrics.started_at,
        "ended_at": datetime.now(UTC),
        "seconds": metrics.seconds,
        **outcome,
        "load_ids": json.dumps(metrics.load_ids),
        "host": platform.node(),
        "pid": os.getpid(),
        "komos_source_version": __version__,
        "dlt_version": version("dlt"),
        "duckdb_version": version("duckdb"),
    }
    with pipeline.destination_client() as client:
        if isinstance(client, SqlJobClientBase):
            # The column that dlt gives every table. A load with nothing new has no package.
            row["_dlt_load_id"] = metrics.load_ids[-1] if metrics.load_ids else ""
            names = ", ".join(client.capabilities.escape_identifier(name) for name in row)
            places = ", ".join(["%s"] * len(row))
            table = client.sql_client.make_qualified_table_name(KOMOS_LOADS.name)
            # Asked of the database: a load that found nothing to do knows no schema.
            with contextlib.suppress(DatabaseUndefinedRelation):
                client.sql_client.execute_sql(
                    f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608 - names of ours
                    *row.values(),
                )
            return
    if not _has_table(pipeline):
        return
    pipeline.extract(adapt_to_destination(_source([row]), pipeline))
    pipeline.normalize()
    pipeline.load()


def _source(rows: list[dict[str, Any]]) -> Any:
    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def history() -> Any:
        return resource(rows)

    return history()
