"""The load history, ``komos_loads``: one row a load, written at its end.

The row is one INSERT and not a load package, which would take as long as a whole load with nothing
new. dlt creates the table with the first package of a load that finds none, so that the types are
the destination's. Where nothing can be inserted (Parquet, Delta, Iceberg) each row is a package.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from komos_source import __version__
from komos_source.destinations.loading_path import loading_path
from komos_source.destinations.write_disposition import adapt_to_destination
from komos_source.extract.resources import rows_resource, source_of
from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.tables import KOMOS_LOADS
from komos_source.text import json_text

_MAX_PROBLEMS = 100
_ONE_ROW_FOR = timedelta(minutes=1)
_SUMMED = ("seconds", "runs_seen", "entries_loaded", "entries_rejected")


def table_if_missing(pipeline: dlt.Pipeline, lost: Sequence[str] = ()) -> list[Any]:
    """The source that creates the table, or the columns that an older version did not have.

    Args:
        pipeline: The pipeline, with the schema of the destination.
        lost: Tables of the schema that are missing in the destination.
    """
    exists = _has_table(pipeline) and KOMOS_LOADS.name not in lost
    is_complete = exists and pipeline.default_schema.tables[KOMOS_LOADS.name]["columns"].keys() >= {
        *KOMOS_LOADS.schema.names
    }
    return [] if is_complete else [source_of(rows_resource(KOMOS_LOADS))]


def _has_table(pipeline: dlt.Pipeline) -> bool:
    known = pipeline.default_schema_name is not None
    return known and KOMOS_LOADS.name in pipeline.default_schema.tables


def write(
    pipeline: dlt.Pipeline,
    metrics: LoadMetrics,
    outcome: LoadResult | Exception,
    path: str | None = None,
    redaction: str | None = None,
) -> None:
    """Writes the row of one load; does nothing where no load has created the table yet.

    Args:
        pipeline: The pipeline of the load.
        metrics: When the load began, and the ids of its load packages.
        outcome: What the load returned or raised.
        path: What ``loading_path`` says; the way in which loads merge if None.
        redaction: The version of the rules; None without rules.

    Raises:
        Exception: Whatever the destination raised; the data is loaded all the same.
    """
    row = {
        "id": str(uuid.uuid4()),
        "pipeline_name": pipeline.pipeline_name,
        "started_at": metrics.started_at,
        "ended_at": datetime.now(UTC),
        **_columns_of(outcome),
        "seconds": metrics.seconds,
        "load_ids": json.dumps(metrics.load_ids),
        "loading_path": path or loading_path(pipeline),
        "host": platform.node(),
        "pid": os.getpid(),
        "komos_source_version": __version__,
        "dlt_version": version("dlt"),
        "duckdb_version": version("duckdb"),
    }
    if redaction:  # a table that an older version made may lack the column
        row["redaction"] = redaction
    with pipeline.destination_client() as client:
        if isinstance(client, SqlJobClientBase):
            # dlt adds this column to every table. A load with nothing new has no package.
            row["_dlt_load_id"] = metrics.load_ids[-1] if metrics.load_ids else ""
            # The database is asked: a load with nothing new does not know the schema.
            with contextlib.suppress(DatabaseUndefinedRelation):
                if not _add_to_last_row(client.sql_client, row):
                    _insert(client.sql_client, row)
            return
    if not _has_table(pipeline):
        return
    source = source_of(rows_resource(KOMOS_LOADS, [row]))
    pipeline.extract(adapt_to_destination(source, pipeline))
    pipeline.normalize()
    pipeline.load()


def _columns_of(outcome: LoadResult | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"exit_code": 1, "problems": json_text([str(outcome)])}
    failures = [f"run {run_id}: {reason}" for run_id, reason in outcome.failures.items()]
    problems = [*outcome.problems, *outcome.notes, *failures]
    if (more := len(problems) - _MAX_PROBLEMS) > 0:
        problems[_MAX_PROBLEMS:] = [f"and {more} more: see task_run_log_loads"]
    return outcome.to_json() | {
        "exit_code": outcome.exit_code,
        "problems": json_text(problems) if problems else None,
    }


def _insert(client: SqlClientBase[Any], row: Mapping[str, Any]) -> None:
    names = ", ".join(client.capabilities.escape_identifier(name) for name in row)
    places = ", ".join(["%s"] * len(row))
    client.execute_sql(
        f"INSERT INTO {_table(client)} ({names}) VALUES ({places})",  # noqa: S608 - names of tables.Table
        *row.values(),
    )


def _add_to_last_row(client: SqlClientBase[Any], row: Mapping[str, Any]) -> bool:
    """Adds a load of deliveries to the row of the last such load of this process.

    A follower may load deliveries every second; it writes one row a minute for them.

    Returns:
        Whether there was such a row.
    """
    if row.get("requests") != 0 or row["exit_code"] or row["problems"]:
        return False
    found = client.execute_sql(
        f"SELECT id FROM {_table(client)} WHERE pipeline_name = %s AND host = %s AND pid = %s "  # noqa: S608 - names of tables.Table
        "AND requests = 0 AND exit_code = 0 AND started_at > %s ORDER BY started_at DESC",
        *(row[name] for name in ("pipeline_name", "host", "pid")),
        row["started_at"] - _ONE_ROW_FOR,
    )
    if not found:
        return False
    sums = ", ".join(f"{name} = {name} + %s" for name in _SUMMED)
    client.execute_sql(
        f"UPDATE {_table(client)} SET ended_at = %s, load_ids = %s, {sums} WHERE id = %s",  # noqa: S608 - constant names, values are parameters
        row["ended_at"],
        row["load_ids"],
        *(row[name] for name in _SUMMED),
        found[0][0],
    )
    return True


def _table(client: SqlClientBase[Any]) -> str:
    return client.make_qualified_table_name(KOMOS_LOADS.name)
