"""Emulated data written directly into DuckDB, for tests that need a lot of it and no HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import duckdb

from komos_source import tables
from komos_source.destinations.pipeline import make_pipeline
from komos_source.testing import FakeKomos
from komos_source.timestamps import parse_timestamp


def rows_of(world: FakeKomos) -> dict[str, list[dict[str, Any]]]:
    """The rows that a complete load stores in the tables that analyses read."""
    runs = [run for task in world.tasks() for run in world.runs(task["id"])]
    return {
        "task_runs": [
            {
                "id": run["id"],
                "task_id": run["taskId"],
                "status": run["status"],
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
            }
            for run_id, position, entry in world.entries()
        ],
    }


def _moment(text: str | None) -> Any:
    return None if text is None else parse_timestamp(text)


def pipeline_over(world: FakeKomos, directory: Path, monkeypatch: Any) -> dlt.Pipeline:
    """A pipeline whose DuckDB file has all data of an emulated organisation."""
    file = directory / "komos_task_run_logs.duckdb"
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{file}")
    rows = rows_of(world)
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS komos; USE komos")
        for table in tables.ARROW_TABLES:
            given = table.from_rows(rows.get(table.name, []))
            connection.register("given", given)
            connection.execute(f"CREATE OR REPLACE TABLE {table.name} AS FROM given")
            connection.unregister("given")
    return make_pipeline(pipelines_dir=str(directory / "pipelines"))
