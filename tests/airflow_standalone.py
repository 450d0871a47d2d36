"""Runs `pipelines/airflow_dag.py` under `airflow standalone`, against the emulator; `make airflow`.

Not a test of the suite: Airflow is too heavy to install there. Exits with 0 when a scheduled run
has loaded everything and all its tasks have ended well.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from komos_source.testing import Emulator, World

_DAG = Path(__file__).parents[1] / "pipelines" / "airflow_dag.py"
_PATIENCE = 600.0


def main() -> int:
    world = World()
    for name in ("Orders", "Prices", "Stock"):
        task_id = world.add_task(name)
        for _ in range(10):
            world.append(world.add_run(task_id), *[{}] * 20)
    with tempfile.TemporaryDirectory() as directory, Emulator(world) as emulator:
        home = Path(directory)
        (home / "dags").mkdir()
        shutil.copy(_DAG, home / "dags")
        with (home / "airflow.log").open("w") as log:
            airflow = subprocess.Popen(
                [str(Path(sys.executable).with_name("airflow")), "standalone"],
                cwd=home,
                env=_environment(home, emulator),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            tasks = _ended_tasks(home / "airflow.db")
        finally:
            os.killpg(airflow.pid, signal.SIGINT)
            try:
                airflow.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(airflow.pid, signal.SIGKILL)
        with duckdb.connect(str(home / "komos.duckdb")) as connection:
            rows = connection.sql("SELECT id FROM komos.komos.task_run_logs").fetchall()
        wanted = {entry["id"] for _, _, entry in world.entries()}
    for task, state in tasks:
        print(task, state)
    print(f"world {len(wanted)} entries, table {len(rows)} rows")
    well = all(state == "success" for _, state in tasks)
    return 0 if well and sorted(row[0] for row in rows) == sorted(wanted) else 1


def _environment(home: Path, emulator: Emulator) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "SOURCES__KOMOS__API_KEY": emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": emulator.base_url,
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{home / 'komos.duckdb'}",
        "DLT_DATA_DIR": str(home / "dlt"),
    }


def _ended_tasks(database: Path) -> list[tuple[str, str]]:
    """Tasks of the first run that has ended, with their states."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        time.sleep(2)
        try:
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        except sqlite3.Error:
            continue  # Airflow has not made it yet
        try:
            ended = connection.execute(
                "SELECT run_id FROM dag_run WHERE state IN ('success', 'failed')"
            ).fetchone()
            if ended:
                return connection.execute(
                    "SELECT task_id || ' ' || map_index, state FROM task_instance"
                    " WHERE run_id = ? ORDER BY 1",
                    ended,
                ).fetchall()
        except sqlite3.Error:
            continue
        finally:
            connection.close()
    raise SystemExit(f"no run of the DAG has ended within {_PATIENCE:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
