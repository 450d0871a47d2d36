"""Runs `pipelines/airflow_dag.py` in Airflow, against the emulator; `make airflow`.

First by `airflow dags test`, then on its schedule under `airflow standalone`; without shards and
with two; and that a load which fails makes the run fail. Not a test of the suite: Airflow is too
heavy to install there. Exits with 0 when each run has loaded everything and all its tasks have
ended as they should.
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
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import duckdb

from komos_source.testing import Emulator, FakeKomos

_DAG = Path(__file__).parents[1] / "pipelines" / "airflow_dag.py"
_AIRFLOW = Path(sys.executable).with_name("airflow")
_TIMEOUT = 600.0
Tasks = list[tuple[str, str]]


def main() -> int:
    print("Airflow", version("apache-airflow"))
    passed = [_test_shards(shards) for shards in (1, 2)]
    return 0 if all(passed) else 1


def _test_shards(shards: int) -> bool:
    world = FakeKomos()
    tasks = [world.add_task(name) for name in ("Orders", "Prices", "Stock")]
    with tempfile.TemporaryDirectory() as directory, Emulator(world) as emulator:
        home = Path(directory)
        (home / "dags").mkdir()
        dag = Path(shutil.copy(_DAG, home / "dags"))
        environment = _environment(home, emulator, shards)

        test = ("dags", "test", "komos", "--dagfile-path", str(dag))
        _run(home, environment, "db", "migrate")

        _new_runs(world, tasks)
        _run(home, environment, *test)
        tested = _ended_tasks(home / "airflow.db", "manual")
        passed = [_is_complete(f"dags test, shards: {shards}", tested, home, world)]

        _new_runs(world, tasks)
        with _standalone(home, environment):
            scheduled = _ended_tasks(home / "airflow.db", "scheduled")
        passed.append(_is_complete(f"standalone, shards: {shards}", scheduled, home, world))

        _run(home, environment | {"SOURCES__KOMOS__API_KEY": "sk_live_wrong"}, *test, ends=1)
        refused = dict(_ended_tasks(home / "airflow.db", "manual"))
        print(f"key refused, shards: {shards}:", refused)
        wanted = {"load 0": "failed", "check -1": "success"}
        wanted |= dict.fromkeys(("finish -1", "complete -1"), "upstream_failed")
        return all(passed) and wanted.items() <= refused.items()


def _new_runs(world: FakeKomos, tasks: list[str]) -> None:
    for task in tasks:
        for _ in range(10):
            world.append(world.add_run(task), *[{}] * 20)


def _is_complete(what: str, tasks: Tasks, home: Path, world: FakeKomos) -> bool:
    """Prints the result of a run; returns whether tasks and table are as expected."""
    with duckdb.connect(str(home / "komos_task_run_logs.duckdb")) as connection:
        rows = connection.sql("SELECT id FROM komos.task_run_logs").fetchall()
    wanted = {entry["id"] for _, _, entry in world.entries()}
    print(f"{what}: world {len(wanted)} entries, table {len(rows)} rows;", *map(" ".join, tasks))
    ends = all(state == "success" for _, state in tasks)
    return ends and sorted(row[0] for row in rows) == sorted(wanted)


def _environment(home: Path, emulator: Emulator, shards: int) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "KOMOS_SHARDS": str(shards),
        "SOURCES__KOMOS__API_KEY": emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": emulator.base_url,
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{home / 'komos_task_run_logs.duckdb'}",
        "DLT_DATA_DIR": str(home / "dlt"),
    }


def _run(home: Path, environment: dict[str, str], *command: str, ends: int = 0) -> None:
    done = subprocess.run(
        [_AIRFLOW, *command],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != ends:
        raise SystemExit(f"airflow {' '.join(command)}: {done.returncode}\n{done.stdout}")


@contextmanager
def _standalone(home: Path, environment: dict[str, str]) -> Iterator[None]:
    with (home / "airflow.log").open("w") as log:
        airflow = subprocess.Popen(
            [_AIRFLOW, "standalone"],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(airflow.pid, signal.SIGINT)
        try:
            airflow.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(airflow.pid, signal.SIGKILL)


def _ended_tasks(database: Path, run_type: str) -> Tasks:
    """Tasks of the newest run of a type that has ended, with their states."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        time.sleep(2)
        try:
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        except sqlite3.Error:
            continue  # Airflow has not created it yet
        try:
            ended = connection.execute(
                "SELECT run_id FROM dag_run WHERE state IN ('success', 'failed') AND run_type = ?"
                " ORDER BY id DESC",
                (run_type,),
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
    raise SystemExit(f"no {run_type} run of the DAG has ended within {_TIMEOUT:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
