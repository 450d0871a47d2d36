"""Shards: loaded in parallel, killed, retried, and refused if their number changes."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.exceptions import UsageError
from komos_source.loading.shards import after_shards, load_shard
from komos_source.settings import RUNS_WINDOW
from komos_source.testing import Emulator, FakeKomos
from komos_source.testing.world import iso
from komos_source.webhooks import Spool
from komos_source.webhooks.signature import Delivery
from tests.conftest import LoadEnv, expected
from tests.integration.test_loads import add_finished_run
from tests.stores import Store, make_store

WORKERS = 4
LOADER = str(Path(__file__).parent / "load_shards.py")


@pytest.fixture
def postgres(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return make_store("postgres", tmp_path, request)


def add_tasks(world: FakeKomos, tasks: int, entries: int) -> None:
    """Adds tasks with two runs each, one of them ended; `entries` is the total of all runs."""
    now = world.clock.now()
    for number in range(tasks):
        task = world.add_task(f"Task {number}")
        for age in (2, 3):
            run = world.add_run(task, created_at=now - timedelta(hours=age))
            moments = (now + timedelta(seconds=n) for n in range(entries // tasks // 2))
            world.append(run, *({"timestamp": iso(moment)} for moment in moments))
        world.finish(run, at=now - timedelta(hours=1))


def start(store: Store, emulator: Emulator, buckets: int, worker: int) -> subprocess.Popen[str]:
    assigned = map(str, range(worker, buckets, WORKERS))
    return store.start(emulator, LOADER, store.destination, str(buckets), *assigned)


def finish(worker: subprocess.Popen[str]) -> None:
    _, error = worker.communicate(timeout=3_600)
    assert worker.returncode == 0, error


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", ["postgres", "ducklake-postgres"])
def test_shards_loaded_by_four_processes_with_one_killed_hold_each_entry_once(
    name: str, tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    full = request.config.getoption("--full-size")
    buckets, tasks, entries = (64, 256, 200_000) if full else (6, 16, 4_000)
    add_tasks(world, tasks, entries)
    store = make_store(name, tmp_path, request)
    workers = [start(store, emulator, buckets, number) for number in range(WORKERS)]
    killed = random.randrange(WORKERS)
    output = workers[killed].stdout
    assert output is not None
    assert output.readline(), workers[killed].communicate()
    time.sleep(random.uniform(0, 1))  # anywhere in the next bucket
    workers[killed].kill()
    workers[killed].communicate()
    workers[killed] = start(store, emulator, buckets, killed)
    for worker in workers:
        finish(worker)
    table = store.table()
    assert table == expected(world)
    store.load(emulator, "--dataset", "whole")
    assert store.table("whole") == table


def test_shards_loaded_again_add_each_new_entry_once(
    postgres: Store, emulator: Emulator, world: FakeKomos
) -> None:
    add_tasks(world, 6, 120)
    load_all(postgres, emulator, 3)
    later = iso(world.clock.now() + timedelta(hours=1))
    running = world.run_ids()[::2]
    for run in running:
        world.append(run, {"timestamp": later}, {"timestamp": None})
    assert load_all(postgres, emulator, 3) >= 2 * len(running)
    assert postgres.table() == expected(world)
    assert postgres.query("komos", "SELECT COUNT(*), COUNT(DISTINCT id) FROM {tasks}") == [(6, 6)]


def test_shards_of_named_runs_are_divided_by_run_id(
    postgres: Store, emulator: Emulator, world: FakeKomos
) -> None:
    add_tasks(world, 2, 120)
    names = [option for run in world.run_ids() for option in ("--run-id", run)]
    load_all(postgres, emulator, 3, *names)
    assert postgres.table() == expected(world)
    assert emulator.count("/logs") == len(emulator.requests) == len(world.run_ids())


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["--shard", "0/2"], ["--shard", "0/3"], "'komos' is loaded in 2 shards"),
        (["--shard", "0/2"], [], "load each shard, 0/2 to 1/2"),
        (["--shard", "0/2"], ["--pipeline-name", "other"], "'komos' is loaded in 2 shards"),
        ([], ["--shard", "0/2"], "'komos' has been loaded without shards"),
    ],
    ids=["another number", "no shards", "no shards, another name", "shards too late"],
)
def test_load_with_another_number_of_shards_than_the_first_is_refused(
    postgres: Store,
    emulator: Emulator,
    world: FakeKomos,
    first: list[str],
    second: list[str],
    message: str,
) -> None:
    add_tasks(world, 2, 40)
    postgres.load(emulator, *first)
    before = postgres.table()
    emulator.requests.clear()
    assert message in postgres.load(emulator, *second, exit_code=2)["error"]
    assert not emulator.requests
    assert postgres.table() == before


def test_load_of_a_shard_into_files_is_refused(
    tmp_path: Path, emulator: Emulator, request: pytest.FixtureRequest
) -> None:
    files = make_store("delta", tmp_path, request)
    refused = files.load(emulator, "--shard", "0/2", exit_code=2)
    assert "filesystem cannot be loaded in shards" in refused["error"]
    assert not emulator.requests


def load_all(store: Store, emulator: Emulator, of: int, *options: str) -> int:
    reports: list[Mapping[str, Any]] = [
        store.load(emulator, "--shard", f"{bucket}/{of}", *options) for bucket in range(of)
    ]
    return sum(report["entries_loaded"] for report in reports)


def test_after_shards_creates_the_views_and_names_a_shard_never_loaded(
    postgres: Store, emulator: Emulator, world: FakeKomos
) -> None:
    add_tasks(world, 6, 120)
    command = ("-m", "komos_source", "after-shards", "--destination", "postgres")
    for bucket, code, text in (("0", 3, "shard 1/2 has never been loaded"), ("1", 0, "up to date")):
        postgres.load(emulator, "--shard", f"{bucket}/2")
        process = postgres.start(emulator, *command)
        output, error = process.communicate(timeout=60)
        assert process.returncode == code, error
        assert text in output + error
    rows = (
        "SELECT exit_code, problems FROM {komos_loads}"
        " WHERE pipeline_name = 'komos_task_run_logs_after_shards' ORDER BY started_at"
    )
    never = '["shard 1/2 has never been loaded"]'
    assert postgres.query("komos", rows) == [(3, never), (0, None)]
    nodes = "SELECT SUM(entries) FROM {node_health}"
    assert postgres.query("komos", nodes) == [(60,)]  # of the runs that have ended
    postgres.load(emulator, "--shard", "0/2")
    refused = postgres.load(emulator, exit_code=2)
    assert "is loaded in 2 shards" in refused["error"]


def test_shards_after_a_change_of_their_number_hold_each_entry_once(
    postgres: Store, emulator: Emulator, world: FakeKomos
) -> None:
    add_tasks(world, 6, 120)
    load_all(postgres, emulator, 2)
    world.append(world.run_ids()[0], {"timestamp": iso(world.clock.now() + timedelta(hours=1))})
    unsettled = postgres.query("komos", "SELECT run_id FROM {task_run_log_loads} WHERE NOT settled")
    postgres.query("komos", "UPDATE {task_run_shards} SET buckets = 3 RETURNING buckets")
    load_all(postgres, emulator, 3)
    load_all(postgres, emulator, 3, *(part for (run,) in unsettled for part in ("--run-id", run)))
    assert postgres.table() == expected(world)
    assert "loaded in 3 shards" in postgres.load(emulator, "--shard", "0/2", exit_code=2)["error"]


def test_shards_loaded_in_turn_into_duckdb_hold_each_entry_once(
    home: LoadEnv, world: FakeKomos
) -> None:
    add_tasks(world, 6, 120)
    options = {
        "api_key": home.emulator.api_key,
        "base_url": home.emulator.base_url,
        "pipelines_dir": str(home.directory / "pipelines"),
    }
    for bucket in range(2):
        assert load_shard(bucket, 2, **options).exit_code == 0
    assert after_shards(pipelines_dir=options["pipelines_dir"]).problems == ()
    assert home.table() == expected(world)
    with pytest.raises(UsageError, match="is loaded in 2 shards"):
        home.load()


def test_after_shards_reads_runs_that_deliveries_name_and_no_list_shows(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    for number in range(RUNS_WINDOW):
        add_finished_run(world, task, age_hours=1 + number)
    old = add_finished_run(world, task, age_hours=1_000)
    spool_url = f"sqlite:///{home.directory / 'spool.db'}"
    spool = Spool(spool_url)
    body = json.dumps(world.run(old)).encode()
    spool.put([Delivery("task-run.completed", old, body, "0" * 64)])
    spool.close()
    options = {
        "api_key": home.emulator.api_key,
        "base_url": home.emulator.base_url,
        "pipelines_dir": str(home.directory / "pipelines"),
    }
    for bucket in range(2):
        assert load_shard(bucket, 2, **options).exit_code == 0
    assert after_shards(spool=spool_url, **options).exit_code == 0
    assert home.table() == expected(world)
    assert home.value(f"SELECT status FROM task_runs WHERE id = '{old}'") == "COMPLETED"
    home.emulator.requests.clear()
    assert after_shards(spool=spool_url, **options).exit_code == 0
    assert not home.emulator.requests  # the run is settled


def test_after_shards_of_a_dataset_without_shards_is_refused(home: LoadEnv) -> None:
    home.load()
    with pytest.raises(UsageError, match="is not loaded in shards"):
        after_shards(pipelines_dir=str(home.directory / "pipelines"))
