"""Each destination: loaded, reloaded, crashed at every step of a load, and read back."""

from __future__ import annotations

import random
import shutil
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.tables import TASK_RUN_LOGS
from komos_source.testing import Emulator, FakeKomos
from komos_source.testing.world import iso
from tests.conftest import THOROUGH, expected
from tests.integration import kill_at
from tests.stores import make_store

KILL_AT = str(Path(kill_at.__file__))


ALL = list(kill_at.STEPS)
FILES = [step for step in ALL if step != kill_at.WITHIN_THE_MERGE]
AT_THE_DESTINATION = [step for step in FILES if "marker" in step or "before" in step]
DATABASE = ALL if THOROUGH else [*AT_THE_DESTINATION, kill_at.WITHIN_THE_MERGE]
TABLES = FILES if THOROUGH else AT_THE_DESTINATION
MATRIX = {
    "duckdb": ALL,
    "duckdb-dlt": DATABASE,
    "postgres": DATABASE,
    "delta": TABLES,
    "iceberg": TABLES,
    "parquet": [step for step in AT_THE_DESTINATION if "merge" not in step],
    "ducklake-sqlite": DATABASE,
    "ducklake-postgres": DATABASE,
}
"""The steps at which loads are killed. Up to the staging commit nothing has reached the
destination, and after the package has been marked nothing is left to do: by default only DuckDB is
killed there, too."""


def add_runs(world: FakeKomos) -> list[str]:
    """Adds nine runs of three tasks, three of them ended; returns their ids."""
    tasks = [world.add_task(f"Task {number}") for number in range(3)]
    now = world.clock.now()
    runs = [world.add_run(task, created_at=now - timedelta(hours=2)) for task in tasks * 3]
    for run in runs:
        world.append(run, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(20)))
    for run in runs[:3]:
        world.finish(run, at=now - timedelta(hours=1))
    return runs


def add_changes(world: FakeKomos, runs: list[str], number: int) -> None:
    """Adds entries with later, earlier and no timestamps, and a new run of an earlier day."""
    now = world.clock.now()
    world.append(
        runs[3 + number % 6],
        {"timestamp": iso(now + timedelta(hours=number + 1)), "region": {"name": "eu"}},
        {"timestamp": iso(now + timedelta(seconds=3)), "message": f"late {number} ü 'quoted' \\"},
        {"timestamp": None, "level": "error", "nodeId": "login"},
    )
    run = world.add_run(world.tasks()[0]["id"], created_at=now - timedelta(days=3))
    world.append(run, *({"timestamp": iso(now - timedelta(days=9))} for _ in range(30)))
    world.finish(run, at=now - timedelta(hours=2))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", MATRIX)
def test_load_killed_at_any_step_is_exact_after_the_next_load(
    name: str, tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    runs = add_runs(world)
    store = make_store(name, tmp_path, request)
    store.load(emulator)
    assert store.table() == expected(world)
    for number, step in enumerate(MATRIX[name]):
        add_changes(world, runs, number)
        # A full refresh deletes rows that a later load does not read again: they are lost for good
        # unless the merge is one transaction.
        whole = ["--full-refresh"] if step == kill_at.WITHIN_THE_MERGE else []
        process = store.start(emulator, KILL_AT, step, *store.command(), *whole)
        _, error = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL, f"{step}: {error}"
        if number % 2:
            shutil.rmtree(tmp_path / "pipelines")  # as on a machine that keeps no files
        store.load(emulator)
        assert store.table() == expected(world), step


def without_empty_texts(table: dict[tuple[str, str], tuple[Any, ...]]) -> dict[Any, Any]:
    """Empty texts as null, as which dlt's COPY into Postgres reads them."""
    return {key: tuple(value or None for value in row) for key, row in table.items()}


OWN_PIPELINE = (
    [step for step in ALL if step != kill_at.WITHIN_THE_MERGE]
    if THOROUGH
    else ["after extract", "between the staging commit and dlt's marker"]
)
"""dlt merges without a transaction, so nothing is committed within the merge."""


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", ["duckdb", "postgres"])
def test_pipeline_of_ones_own_killed_at_any_step_is_exact_after_the_pending_package_and_a_run(
    name: str, tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    store = make_store(name, tmp_path, request)

    def run(step: str) -> int | None:
        process = store.start(emulator, KILL_AT, step, "run", store.destination)
        _, error = process.communicate(timeout=600)
        assert process.returncode in {0, -signal.SIGKILL}, error
        return process.returncode

    runs = add_runs(world)
    for number, step in enumerate(OWN_PIPELINE):
        add_changes(world, runs, number)
        assert run(step) == -signal.SIGKILL, step
        if number % 2:
            shutil.rmtree(tmp_path / "pipelines")  # as on a machine that keeps no files
        else:
            assert run("0") == 0  # loads the pending package, if there is one, and reads nothing
        assert run("0") == 0
        assert without_empty_texts(store.table()) == without_empty_texts(expected(world)), step
        filled = "SELECT (SELECT COUNT(*) FROM {tasks}), (SELECT COUNT(*) FROM {task_runs})"
        assert store.query("komos", filled) == [(3, len(world.run_ids()))]
        logs = "SELECT run_id FROM {task_run_log_loads}"
        assert sorted(id_ for (id_,) in store.query("komos", logs)) == sorted(world.run_ids())


def test_load_into_postgres_creates_indexes_on_the_key_and_on_the_load_id(
    postgres_url: str,
    tmp_path: Path,
    emulator: Emulator,
    world: FakeKomos,
    request: pytest.FixtureRequest,
) -> None:
    add_runs(world)
    store = make_store("postgres", tmp_path, request)
    store.load(emulator)
    indexes = "SELECT schemaname, indexdef FROM pg_indexes WHERE tablename = 'task_run_logs'"
    found = store.query("komos", indexes)
    assert {schema for schema, _ in found} == {"komos"}
    columns = [definition.split("(")[1].strip(")").split(", ") for _, definition in found]
    assert sorted(map(sorted, columns)) == [["_dlt_load_id"], sorted(TASK_RUN_LOGS.key)]


def test_load_into_postgres_with_an_id_too_long_for_an_index_rejects_it_and_loads_the_others(
    postgres_url: str,
    tmp_path: Path,
    emulator: Emulator,
    world: FakeKomos,
    request: pytest.FixtureRequest,
) -> None:
    too_long = random.Random(1).randbytes(4_000).hex()  # random: Postgres compresses what it can
    longest = "".join(chr(0x10000 + n) for n in range(255))  # four bytes a character
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {"id": too_long}, {"id": longest}, {"id": "short"})
    store = make_store("postgres", tmp_path, request)
    report = store.load(emulator)
    assert (report["entries_loaded"], report["entries_rejected"]) == (2, 1)
    assert store.table().keys() == {(run_id, longest), (run_id, "short")}
    (reason,) = store.query("komos", "SELECT reason FROM komos.task_run_logs_rejected")[0]
    assert reason == "'id' is longer than 255 characters"


def test_load_into_files_leaves_the_spool_alone_and_reports_it(
    tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    add_runs(world)
    store = make_store("delta", tmp_path, request)
    spool = {"SOURCES__KOMOS__SPOOL": f"sqlite:///{tmp_path / 'spool.db'}"}
    store = replace(store, environment={**store.environment, **spool})
    process = store.start(emulator, "-m", "komos_source", *store.command(), "--json")
    _, error = process.communicate(timeout=600)
    assert process.returncode == 3, error
    assert "webhook deliveries were not loaded" in error
    assert store.table() == expected(world)


def test_load_with_an_unknown_table_format_is_refused(
    tmp_path: Path, emulator: Emulator, request: pytest.FixtureRequest
) -> None:
    refused = make_store("orc", tmp_path, request).load(emulator, exit_code=1)
    assert "set it to delta, iceberg or parquet" in refused["error"]
