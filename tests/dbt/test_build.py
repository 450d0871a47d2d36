"""The dbt package on DuckDB and a real Postgres: its models equal the views of `komos load`.

A project with `packages.yml` uses the package as users do. In DuckDB, its models are in a file of
their own, in Postgres in another schema of the same database.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import sqlalchemy

from komos_source import prune
from komos_source.testing import FakeKomos, WorldClock
from komos_source.testing.world import iso
from tests.conftest import LoadEnv

_ROOT = Path(__file__).parents[2]
_NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
_MODELS = ("node_health", "node_health_daily", "run_outcomes")
_PROJECT = {
    "name": "mine",
    "config-version": 2,
    "profile": "komos",
    "flags": {"send_anonymous_usage_stats": False},
}


class Dbt:
    """A process that runs dbt's commands in one project after the other."""

    def __init__(self) -> None:
        python = _ROOT / ".venv-dbt" / "bin" / "python"
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("run_dbt.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"DO_NOT_TRACK": "1"},
        )

    def invoke(self, project: Path, *command: str) -> dict[str, Any]:
        directories = ["--project-dir", str(project), "--profiles-dir", str(project)]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(
            json.dumps(["--quiet", "--no-write-json", *command, *directories]) + "\n"
        )
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._process.stdout.readline()
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def dbt() -> Iterator[Dbt]:
    with (_ROOT / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the suite may be creating it
        make = ["make", "--silent", f"PYTHON={sys.executable}", ".venv-dbt/.ready"]
        subprocess.run(make, cwd=_ROOT, check=True)
    running = Dbt()
    yield running
    running.close()


@dataclass
class Warehouse:
    """A loaded dataset, and a project of dbt that reads it."""

    home: LoadEnv
    destination: str
    dbt: Dbt
    profile: dict[str, Any]
    variables: dict[str, Any]

    def __post_init__(self) -> None:
        self.write("dbt_project.yml", _PROJECT | {"vars": self.variables})
        self.write("packages.yml", {"packages": [{"local": str(_ROOT / "dbt")}]})
        self.write("profiles.yml", {"komos": {"target": "t", "outputs": {"t": self.profile}}})

    @property
    def url(self) -> str:
        return os.environ["DESTINATION__POSTGRES__CREDENTIALS"]

    @property
    def project(self) -> Path:
        directory = self.home.directory / "project"
        directory.mkdir(exist_ok=True)
        return directory

    def write(self, name: str, content: dict[str, Any]) -> None:
        (self.project / name).write_text(json.dumps(content))  # JSON is YAML

    def load(self, *, days_ago: int) -> None:
        """Loads; the rows then look as if the load had begun so many days ago."""
        assert self.home.load(destination=self.destination).exit_code == 0
        ((load_id,),) = self.rows("SELECT MAX(_dlt_load_id) FROM {dataset}.task_run_logs")
        earlier = float(load_id) - timedelta(days=days_ago).total_seconds()
        update = (
            f"UPDATE komos.task_run_logs SET _dlt_load_id = '{earlier}' "
            f"WHERE _dlt_load_id = '{load_id}'"
        )
        if self.destination == "duckdb":
            with duckdb.connect(self.home.file) as connection:
                connection.execute(update)
        else:
            with psycopg.connect(self.url) as connection:
                connection.execute(update.encode())

    def prune(self, older_than: timedelta) -> int:
        directory = str(self.home.directory / "pipelines")
        return prune(older_than, destination=self.destination, pipelines_dir=directory).runs

    def run(self, *command: str) -> dict[str, Any]:
        answer = self.dbt.invoke(self.project, *command)
        failed = {
            name: node
            for name, node in answer["nodes"].items()
            if node["status"] not in {"success", "pass", "no-op"}
        }
        assert answer["success"], (failed, answer["error"])
        nodes: dict[str, Any] = answer["nodes"]
        return nodes

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query, with ``{dataset}`` and ``{models}`` in place of schemas."""
        if self.destination == "duckdb":
            with duckdb.connect(self.profile["path"]) as connection:
                connection.execute(f"ATTACH '{self.home.file}' AS loaded (READ_ONLY)")
                connection.execute("USE loaded.komos")  # the views name their tables only
                schemas = {"dataset": "loaded.komos", "models": "own.analytics"}
                return connection.execute(sql.format_map(schemas)).fetchall()
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                sql.format_map({"dataset": "komos", "models": "analytics"}).encode()
            ).fetchall()

    def check_models(self) -> None:
        """Compares each model with the view of its name."""
        for name in _MODELS:
            model, view = f"SELECT * FROM {{models}}.{name}", f"SELECT * FROM {{dataset}}.{name}"
            assert self.rows(f"{model} EXCEPT ALL {view}") == [], name
            assert self.rows(f"{view} EXCEPT ALL {model}") == [], name
        assert self.rows("SELECT * FROM {models}.node_health_daily")


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(
    request: pytest.FixtureRequest, home: LoadEnv, dbt: Dbt, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    if request.param == "duckdb":
        profile = {
            "type": "duckdb",
            "path": str(home.directory / "own.duckdb"),
            "schema": "analytics",
            "attach": [{"path": str(home.file), "alias": "loaded", "read_only": True}],
        }
        return Warehouse(home, "duckdb", dbt, profile, {"komos_database": "loaded"})
    credentials = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", credentials)
    url = sqlalchemy.make_url(credentials)
    profile = {
        "type": "postgres",
        "host": str(url.query["host"]),
        "port": 5432,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        "schema": "analytics",
    }
    return Warehouse(home, "postgres", dbt, profile, {})


@pytest.fixture
def world() -> FakeKomos:
    return FakeKomos(WorldClock(_NOW))


def _add_run(world: FakeKomos, task: str, days_ago: int, *nodes: str | None) -> str:
    """A finished run with a warning in its first node and an error in its last, if they are two."""
    created = _NOW - timedelta(days=days_ago)
    run = world.add_run(task, created_at=created)
    for number, node in enumerate(nodes):
        level = "info" if len(nodes) == 1 else ("warning", "info", "error")[number % 3]
        time = iso(created + timedelta(seconds=number))
        world.append(run, {"timestamp": time, "nodeId": node, "level": level})
    world.finish(run, at=created + timedelta(minutes=1))
    return run


def test_models_equal_the_views_after_incremental_runs_and_a_full_refresh(
    warehouse: Warehouse, world: FakeKomos
) -> None:
    orders, claims = world.add_task("Orders"), world.add_task("Claims")
    for day in range(6):
        _add_run(world, orders, 30 * day, "login", None, "pay")
        _add_run(world, claims, 30 * day, "login")
    quiet = world.add_run(orders, created_at=_NOW - timedelta(days=3))
    world.append(quiet, {"nodeId": "cleanup", "level": "error"})
    world.finish(quiet)
    goes_on = world.add_run(claims, created_at=_NOW - timedelta(days=2))
    world.append(goes_on, {"nodeId": "search"})
    warehouse.load(days_ago=30)
    warehouse.run("deps")
    warehouse.run("build")
    warehouse.check_models()
    assert warehouse.run("source", "freshness")["komos_loads"]["status"] == "pass"

    # Late entries among them. "cleanup" no longer writes only on trouble: all of its days change.
    late = {"timestamp": iso(_NOW - timedelta(days=3))}
    world.append(quiet, {"nodeId": "cleanup"} | late, {"nodeId": "pay"} | late)
    world.append(goes_on, {"nodeId": "search", "level": "error"})
    world.finish(goes_on, "FAILED")
    warehouse.load(days_ago=0)
    warehouse.run("run")
    warehouse.check_models()

    # A load that began before the one that was counted last, and runs that are pruned.
    world.append(quiet, {"nodeId": "pay", "level": "error"} | late)
    _add_run(world, orders, 0, "login", "login", "login", "pay")
    warehouse.load(days_ago=1)
    assert warehouse.prune(timedelta(days=100)) == 4
    counted = warehouse.run("run")["node_visits"]["message"]
    if warehouse.destination == "postgres":  # dbt-duckdb reports no number
        assert counted == "INSERT 0 5", "nodes of the three runs of the last two loads"
    warehouse.check_models()
    runs = "SELECT run_id FROM {models}.node_visits EXCEPT SELECT run_id FROM {dataset}."
    assert warehouse.rows(f"{runs}task_run_logs") == []

    warehouse.run("run", "--full-refresh")
    warehouse.check_models()


def test_models_in_the_schema_of_the_dataset_are_refused(home: LoadEnv, dbt: Dbt) -> None:
    profile = {"type": "duckdb", "path": str(home.file), "schema": "komos"}
    warehouse = Warehouse(home, "duckdb", dbt, profile, {})
    warehouse.run("deps")
    answer = dbt.invoke(warehouse.project, "run", "--select", "node_health_daily")
    assert not answer["success"]
    assert "Use another schema" in str(answer)
