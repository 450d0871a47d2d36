"""Emulated data written directly into a database, for tests that need a lot of it and no HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg
import pyarrow as pa

from komos_source import tables
from komos_source.destinations.pipeline import make_pipeline
from komos_source.settings import PIPELINE_NAME
from komos_source.testing import FakeKomos
from komos_source.timestamps import parse_timestamp
from tests.engines import postgres_columns

_DOCUMENTED = {"id", "timestamp", "level", "message", "nodeId"}


def rows_of(world: FakeKomos) -> dict[str, list[dict[str, Any]]]:
    """The rows that a complete load stores in the tables that analyses read."""
    runs = [run for task in world.tasks() for run in world.runs(task["id"])]
    return {
        "tasks": [
            {"id": task["id"], "name": task["name"], "status": task["status"]}
            for task in world.tasks()
        ],
        "task_runs": [
            {
                "id": run["id"],
                "task_id": run["taskId"],
                "status": run["status"],
                "trigger_type": run["triggerType"],
                "created_at": _moment(run["timestamps"]["createdAt"]),
                "started_at": _moment(run["timestamps"]["startedAt"]),
                "finished_at": _moment(run["timestamps"]["finishedAt"]),
            }
            for run in runs
        ],
        "task_run_log_loads": [
            {"run_id": run["id"], "settled": True, "outcome": "ok"} for run in runs
        ],
        "task_run_logs": [
            {
                "id": entry["id"],
                "run_id": run_id,
                "position": position,
                "timestamp": _moment(entry["timestamp"]),
                "level": entry["level"],
                "message": entry["message"],
                "node_id": entry["nodeId"],
                "extra": _extra(entry),
            }
            for run_id, position, entry in world.entries()
        ],
    }


def _extra(entry: dict[str, Any]) -> str | None:
    extra = {name: entry[name] for name in entry.keys() - _DOCUMENTED}
    return json.dumps(extra) if extra else None


def load_rows(world: FakeKomos, days: int) -> list[dict[str, Any]]:
    """Rows of ``komos_loads``: a complete load each hour of the last days, the last one now."""
    now = world.clock.now()
    return [
        {
            "id": str(hour),
            "pipeline_name": PIPELINE_NAME,
            "started_at": now - timedelta(hours=hour),
            "ended_at": now - timedelta(hours=hour),
            "exit_code": 0,
            "requests": 9,
            "entries_loaded": 100,
            "entries_rejected": 0,
        }
        for hour in range(24 * days)
    ]


def _moment(text: str | None) -> Any:
    return None if text is None else parse_timestamp(text)


def pipeline_over(
    world: FakeKomos, directory: Path, monkeypatch: Any, loads: int | None = None
) -> dlt.Pipeline:
    """A pipeline whose DuckDB file has all data of an emulated organisation.

    Args:
        world: The organisation.
        directory: Where the file is.
        monkeypatch: Sets the variable that names it.
        loads: Days of hourly loads in ``komos_loads``; None for no such table.
    """
    file = directory / "komos_task_run_logs.duckdb"
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{file}")
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS komos; USE komos")
        for table, given in _tables(world, loads):
            connection.register("given", given)
            connection.execute(f"CREATE OR REPLACE TABLE {table.name} AS FROM given")
            connection.unregister("given")
    return make_pipeline(pipelines_dir=str(directory / "pipelines"))


def postgres_over(
    world: FakeKomos, url: str, directory: Path, monkeypatch: Any, loads: int | None = None
) -> dlt.Pipeline:
    """The same with a Postgres database, whose tables are replaced."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS komos CASCADE; CREATE SCHEMA komos")
        for table, given in _tables(world, loads):
            name, columns = f"komos.{table.name}", ", ".join(postgres_columns(table))
            cursor.execute(f"CREATE TABLE {name} ({columns})")
            with cursor.copy(f"COPY {name} FROM STDIN") as copy:
                for row in given.to_pylist():
                    copy.write_row(list(row.values()))
    return make_pipeline("postgres", pipelines_dir=str(directory / "pipelines"))


def _tables(world: FakeKomos, loads: int | None) -> Iterator[tuple[tables.Table, pa.Table]]:
    rows = rows_of(world)
    for table in tables.ARROW_TABLES:
        yield table, table.from_rows(rows.get(table.name, []))
    if loads is not None:
        yield tables.KOMOS_LOADS, tables.KOMOS_LOADS.from_rows(load_rows(world, loads))
