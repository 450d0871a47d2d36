"""`komos prune`: whole runs are deleted, their daily rates stay, and no load brings them back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from komos_source import prune
from komos_source.analytics import open_database, query
from komos_source.analytics.database import fetch
from komos_source.exceptions import NotLoadedError
from komos_source.load_result import LoadResult
from komos_source.loading.prune import PruneResult
from komos_source.testing import FakeKomos, WorldClock
from komos_source.testing.webhooks import signed_headers
from komos_source.testing.world import iso
from komos_source.webhooks import Spool, verify
from tests import warm
from tests.cli.conftest import Komos, komos_here
from tests.conftest import THOROUGH, LoadEnv
from tests.receiver import SECRET

__all__ = ["komos_here"]  # a fixture

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
HALF_A_YEAR = timedelta(days=180)
TABLES = {
    "task_runs": "id",
    "task_run_logs": "run_id",
    "task_run_log_loads": "run_id",
    "task_run_logs_rejected": "run_id",
}


@pytest.fixture
def world() -> FakeKomos:
    """Two tasks with runs of a year; some failed, one goes on, one has an entry of no use."""
    world = FakeKomos(WorldClock(NOW))
    for name in ("Orders", "Claims"):
        task = world.add_task(name)
        for number in range(10):
            created = NOW - timedelta(days=40 * number, hours=3 * (number % 2))
            failed = number % 3 == 1
            run = world.add_run(task, created_at=created)
            for second, node in enumerate(("login", "search", None, "login")):
                time = created + timedelta(seconds=second)
                level = "warning" if (number + second) % 4 == 0 else "info"
                world.append(run, {"timestamp": iso(time), "nodeId": node, "level": level})
            if failed:
                world.append(run, {"timestamp": iso(created), "level": "error", "nodeId": "pay"})
            if number == 7:
                world.append(run, 7)
            if number != 8:
                status = "FAILED" if failed else "COMPLETED"
                world.finish(run, status, at=created + timedelta(minutes=1))
    return world


@dataclass
class Store:
    """A destination that has been loaded, and what prune and later loads do there."""

    home: LoadEnv
    destination: str

    def load(self, **options: Any) -> LoadResult:
        return self.home.load(destination=self.destination, **options)

    def prune(self, older_than: timedelta = HALF_A_YEAR, **options: Any) -> PruneResult:
        return prune(
            older_than,
            destination=self.destination,
            pipelines_dir=str(self.home.directory / "pipelines"),
            **options,
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query, in which braces stand around names of tables."""
        return fetch(open_database(self.destination), sql)[1]

    def runs(self) -> dict[str, set[str]]:
        """The runs that have rows, by table."""
        return {
            table: {row[0] for row in self.rows(f"SELECT DISTINCT {column} FROM {{{table}}}")}
            for table, column in TABLES.items()
        }

    def pruned(self) -> set[str]:
        try:
            return {row[0] for row in self.rows("SELECT run_id FROM {pruned_runs}")}
        except NotLoadedError:
            return set()

    def view(self, name: str, order: str = "1, 2, 3") -> list[tuple[Any, ...]]:
        return self.rows(f"SELECT * FROM {{{name}}} ORDER BY {order}")

    def query(self, name: str, since: datetime) -> list[str]:
        """The rows of a query over the runs since then."""
        found = query(open_database(self.destination), name, since=since)
        return sorted(map(str, found.itertuples(index=False)))

    def start(self, number: int, *command: str) -> warm.Started:
        """Starts a process of `kill_at_statement`."""
        script = os.path.join(os.path.dirname(__file__), "kill_at_statement.py")
        arguments = (script, str(number), *command, "--destination", self.destination)
        directories = {"DLT_DATA_DIR": str(self.home.directory)}
        return warm.start(arguments, self.home.directory, os.environ | directories)


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    store = Store(home, request.param)
    assert store.load().exit_code == 0
    return store


def ended_before(world: FakeKomos, moment: datetime) -> set[str]:
    return {
        run_id
        for run_id in world.run_ids()
        if (end := world.run(run_id)["timestamps"]["finishedAt"])
        and datetime.fromisoformat(end) < moment
    }


def check_that_nothing_comes_back(store: Store, old: set[str]) -> None:
    """Loads as usual, whole, on a new machine, without a state, and by id."""
    kept = store.runs()
    store.home.emulator.requests.clear()
    assert store.load().exit_code == 0
    assert store.load(full_refresh=True).exit_code == 0
    shutil.rmtree(store.home.directory / "pipelines")
    assert store.load(full_refresh=True).notes == ()
    with open_database(store.destination).pipeline.sql_client() as client:
        client.execute_sql(f"DELETE FROM {client.make_qualified_table_name('_dlt_pipeline_state')}")
    assert store.load().exit_code == 0
    named = sorted(old)[0]
    result = store.load(run_ids=[named.upper()])
    assert result.notes == (f"run {named} was pruned and is not loaded again",)
    assert store.runs() == kept
    asked = {
        request.path.split("/task-runs/")[-1].split("/")[0]
        for request in store.home.emulator.requests
        if "/task-runs/" in request.path
    }
    assert not asked & old


def test_prune_deletes_whole_runs_keeps_daily_rates_and_no_load_brings_them_back(
    store: Store, world: FakeKomos
) -> None:
    old = ended_before(world, datetime.now(UTC) - HALF_A_YEAR)
    before, daily = store.runs(), store.view("node_health_daily")
    outcomes = store.view("run_outcomes", "run_id")
    since = NOW - timedelta(days=100)
    recent = store.query("node_health_daily", since), store.query("node_health", since)
    entries = sum(len(world.log(run_id)) for run_id in old) - 2  # of which two are rejected

    planned = store.prune(dry_run=True)
    assert (planned.runs, planned.entries) == (len(old), entries)
    assert store.runs() == before
    result = store.prune()
    assert (result.runs, result.entries) == (len(old), entries)
    assert {"duckdb": "MiB of the DuckDB file are free", "postgres": "`VACUUM FULL`"}[
        store.destination
    ] in str(result.note)

    assert store.runs() == {table: ids - old for table, ids in before.items()}
    assert store.view("node_health_daily") == daily
    assert store.view("run_outcomes", "run_id") == [row for row in outcomes if row[1] not in old]
    assert (store.query("node_health_daily", since), store.query("node_health", since)) == recent
    assert store.prune().runs == 0
    path = "SELECT problems, exit_code FROM {komos_loads} WHERE loading_path = 'prune'"
    told = [json.loads(problems)[0] for problems, code in store.rows(path) if code == 0]
    assert sorted(each.split(" that ")[0] for each in told) == [
        "pruned 0 runs",
        f"pruned {len(old)} runs",
    ]
    check_that_nothing_comes_back(store, old)
    assert store.view("node_health_daily") == daily


def test_prune_killed_before_statements_leaves_each_run_whole_or_pruned(
    store: Store, world: FakeKomos
) -> None:
    before, daily = store.runs(), store.view("node_health_daily")
    killed = 0
    for number in itertools.count(1, 1 if THOROUGH else 8):
        process = store.start(number, "prune", "--older-than", "180d")
        output, error = process.communicate(timeout=120)
        pruned = store.pruned()
        assert store.runs() == {table: ids - pruned for table, ids in before.items()}
        assert store.view("node_health_daily") == daily
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
        killed += 1
    assert killed >= 4
    assert pruned == ended_before(world, datetime.now(UTC) - HALF_A_YEAR)
    assert ("`VACUUM FULL`" in output) is (store.destination == "postgres")


@pytest.fixture
def duckdb_store(home: LoadEnv) -> Store:
    store = Store(home, "duckdb")
    assert store.load().exit_code == 0
    return store


def test_prune_keeps_what_options_keep(duckdb_store: Store, world: FakeKomos) -> None:
    old = ended_before(world, datetime.now(UTC) - HALF_A_YEAR)
    runs = {run_id: world.run(run_id) for run_id in old}
    failed = {run_id for run_id, run in runs.items() if run["status"] == "FAILED"}
    orders = world.tasks()[0]["id"]
    of_orders = {run_id for run_id, run in runs.items() if run["taskId"] == orders}
    completed = next(iter(old - failed))
    with duckdb.connect(str(duckdb_store.home.file)) as connection:
        connection.execute(
            "UPDATE komos.task_run_logs SET level = 'error' WHERE run_id = ?", [completed]
        )
    for options, count in (
        ({"keep_failed": True}, len(old - failed)),
        ({"keep_errors": True}, len(old - failed) - 1),
        ({"task_ids": [orders]}, len(of_orders)),
        ({"task_ids": [orders], "keep_failed": True}, len(of_orders - failed)),
    ):
        assert duckdb_store.prune(dry_run=True, **options).runs == count
    assert duckdb_store.pruned() == set()
    assert duckdb_store.prune(keep_errors=True, keep_failed=True).runs == len(old - failed) - 1
    assert duckdb_store.pruned() == old - failed - {completed}


def test_load_after_all_runs_were_pruned_reports_no_missing_table(
    home: LoadEnv, world: FakeKomos
) -> None:
    ended = ended_before(world, datetime.now(UTC) - timedelta(days=1))
    for run_id in {*world.run_ids()} - ended:
        world.remove_run(run_id)
    store = Store(home, "duckdb")
    store.load()
    assert store.prune(timedelta(days=1)).runs == len(ended)
    assert not any(store.runs().values())
    result = store.load()
    assert (result.notes, result.runs_fetched) == ((), 0)


def test_load_of_deliveries_of_a_pruned_run_loads_nothing_and_empties_the_spool(
    duckdb_store: Store, world: FakeKomos
) -> None:
    duckdb_store.prune()
    kept = duckdb_store.runs()
    run_id = sorted(duckdb_store.pruned())[0]
    url = f"sqlite:///{duckdb_store.home.directory / 'spool.db'}"
    with contextlib.closing(Spool(url)) as spool:
        for event, value in (
            ("task-run.log", {"runId": run_id, "logEntries": [{"id": "new"}, 7]}),
            ("task-run.completed", world.run(run_id)),
        ):
            body = json.dumps(value).encode()
            headers = signed_headers(SECRET, event, body)
            spool.put([verify(headers, body, secrets=[SECRET])])
        for poll in (False, True):
            assert duckdb_store.load(spool=url, poll=poll).exit_code == 0
        assert spool.waiting() == 0
    assert duckdb_store.runs() == kept
    assert duckdb_store.home.emulator.count(run_id) == 1  # of the first load


def test_prune_of_a_run_that_came_back_by_hand_counts_its_rates_once(duckdb_store: Store) -> None:
    daily = duckdb_store.view("node_health_daily")
    with duckdb.connect(str(duckdb_store.home.file)) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE komos.copy_of_{table} AS FROM komos.{table}")
    duckdb_store.prune()
    with duckdb.connect(str(duckdb_store.home.file)) as connection:
        for table, column in TABLES.items():
            connection.execute(
                f"INSERT INTO komos.{table} BY NAME SELECT * FROM komos.copy_of_{table} "
                f"WHERE {column} IN (SELECT run_id FROM komos.pruned_runs)"
            )
    duckdb_store.prune()
    assert duckdb_store.view("node_health_daily") == daily


def test_prune_keeps_a_new_run_whose_end_is_in_1970(duckdb_store: Store, world: FakeKomos) -> None:
    task = world.add_task("Orders")
    run = world.add_run(task, finished_at=datetime(1970, 1, 1, tzinfo=UTC), status="COMPLETED")
    world.append(run, {"message": "kept"})
    duckdb_store.load()
    duckdb_store.prune()
    assert run not in duckdb_store.pruned()


def test_prune_without_views_creates_none(home: LoadEnv, world: FakeKomos) -> None:
    store = Store(home, "duckdb")
    store.load(views=False)
    store.prune()
    assert home.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal") == []
    result = query(open_database(), "node_health_daily")
    assert result["runs"].sum() > 0


def test_prune_command_prints_what_it_counted_and_deleted(
    duckdb_store: Store, komos_here: Komos
) -> None:
    command = ("prune", "--older-than", "180d")
    planned, done = komos_here(*command, "--dry-run"), komos_here(*command)
    for result, verb in ((planned, "Would prune"), (done, "Pruned")):
        assert (result.returncode, result.stderr) == (0, "")
        assert re.fullmatch(
            rf"{verb} 8 runs that ended before .*, and 34 entries, in .*\n(.*\n)?", result.stdout
        )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--older-than", "6 months"], 2, "'6 months' is not a duration"),
        (["--older-than", "6m"], 2, "at least 1d"),
        ([], 2, "--older-than"),
        (["--older-than", "1d", "--task-id", ""], 2, "is not a task id"),
        (["--older-than", "1d", "--destination", "filesystem"], 2, "DuckDB and Postgres"),
        (["--older-than", "1d"], 1, "there is no database"),
    ],
)
def test_prune_that_cannot_start_says_what_to_do(
    home: LoadEnv,
    komos_here: Komos,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(home.directory / "lake"))
    done = komos_here("prune", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert not home.file.exists()


def test_prune_of_an_empty_dataset_says_what_to_do(home: LoadEnv) -> None:
    duckdb.connect(str(home.file)).close()
    for dry_run in (True, False):
        with pytest.raises(NotLoadedError, match="run `komos load` first"):
            Store(home, "duckdb").prune(dry_run=dry_run)
