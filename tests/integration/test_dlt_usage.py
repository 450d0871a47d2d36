"""The source in a pipeline that a user creates, with a destination and options of dlt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.helpers import pipeline_drop

from komos_source import komos_source, tables
from komos_source.testing import Emulator, FakeKomos
from tests.conftest import LoadEnv, expected
from tests.integration.test_loads import add_finished_run
from tests.stores import make_store

RESOURCES = [table.name for table in tables.ARROW_TABLES]
REFILLED = [name for name in RESOURCES if name != tables.TASK_RUN_WINDOW_GAPS.name]
"""Tables that a load can fill again. A window gap is found only once."""
REFRESHES: Any = ["drop_data", "drop_resources"]


@dataclass
class OwnPipeline:
    """A pipeline as a user of dlt creates it."""

    directory: Path
    emulator: Emulator

    def __post_init__(self) -> None:
        self.pipeline = dlt.pipeline(
            "mine",
            destination=dlt.destinations.duckdb(f"duckdb:///{self.directory / 'mine.duckdb'}"),
            dataset_name="komos",
            pipelines_dir=str(self.directory / "pipelines"),
        )

    def run(self, *resources: str, refresh: Any = None, **options: Any) -> int:
        """Loads some resources, or (none named) all; returns how many requests that took."""
        before = len(self.emulator.requests)
        source = komos_source(
            api_key=self.emulator.api_key, base_url=self.emulator.base_url, **options
        )
        if resources:
            source = source.with_resources(*resources)
        self.pipeline.run(source, refresh=refresh)
        return len(self.emulator.requests) - before

    def content(self) -> Mapping[str, list[str]]:
        """The rows of each table, but for the times at which logs were read."""
        with duckdb.connect(str(self.directory / "mine.duckdb")) as connection:
            connection.execute("USE mine.komos")
            existing = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
            return {
                name: sorted(map(_text, connection.table(name).to_arrow_table().to_pylist()))
                for name in RESOURCES
                if name in existing
            }


def _text(row: dict[str, Any]) -> str:
    left_out = ("_dlt", "checked_at", "seen_at")
    return str({name: row[name] for name in sorted(row) if not name.startswith(left_out)})


@pytest.fixture
def own(tmp_path: Path, emulator: Emulator, world: FakeKomos) -> OwnPipeline:
    """Two tasks with settled runs, a running one, and entries that cannot be rows."""
    for name in ("Orders", "Invoices"):
        task = world.add_task(name)
        add_finished_run(world, task)
        add_finished_run(world, task, {}, {"id": 7}, {"timestamp": None})
    running = world.add_run(task)
    world.append(running, {}, "no entry")
    return OwnPipeline(tmp_path, emulator)


@pytest.mark.parametrize("first", REFILLED)
def test_run_of_one_resource_and_then_of_all_fills_all_tables(own: OwnPipeline, first: str) -> None:
    own.run(first)
    alone = own.content()[first]
    own.run()
    whole = own.content()
    assert alone == whole[first]
    assert all(whole[name] for name in REFILLED)
    own.run(refresh="drop_sources")
    assert own.content() == whole
    assert own.run() == 1 + 2 + 1  # tasks, a list each, the log of the running run


@pytest.mark.parametrize("full_refresh", [False, True])
def test_run_of_logs_alone_for_a_time_and_then_of_all_fills_all_tables(
    own: OwnPipeline, world: FakeKomos, tmp_path: Path, full_refresh: bool
) -> None:
    own.run()
    for _ in range(2):
        add_finished_run(world, world.tasks()[0]["id"], {}, {"id": None})
        own.run(tables.TASK_RUN_LOGS.name, full_refresh=full_refresh)
    assert own.run(tables.TASK_RUN_LOGS.name) == 1 + 2 + 1
    own.run()
    directory = tmp_path / "other"
    directory.mkdir()
    other = OwnPipeline(directory, own.emulator)
    other.run()
    assert own.content() == other.content()


def test_run_without_resources_that_need_logs_requests_no_log(own: OwnPipeline) -> None:
    assert own.run("tasks", "task_runs") == 1 + 2


@pytest.mark.parametrize("refresh", REFRESHES)
def test_refresh_of_all_resources_loads_everything_again(own: OwnPipeline, refresh: Any) -> None:
    own.run()
    whole = own.content()
    for _ in range(2):
        own.run(refresh=refresh)
        assert own.content() == whole


@pytest.mark.parametrize("refresh", REFRESHES)
@pytest.mark.parametrize("name", REFILLED)
def test_refresh_of_one_resource_loads_its_rows_again_and_keeps_the_others(
    own: OwnPipeline, name: str, refresh: Any
) -> None:
    own.run()
    whole = own.content()
    own.run(name, refresh=refresh)
    own.run()
    assert own.content() == whole
    assert own.run() == 1 + 2 + 1


@pytest.mark.parametrize("name", REFILLED)
def test_run_after_a_drop_of_one_resource_loads_its_rows_again(own: OwnPipeline, name: str) -> None:
    own.run()
    whole = own.content()
    pipeline_drop(own.pipeline, resources=[name])()
    assert not own.content().get(name)
    own.run()
    assert own.content() == whole


def test_run_of_chosen_tasks_after_a_drop_loads_them_again_and_later_the_others(
    own: OwnPipeline, world: FakeKomos
) -> None:
    own.run()
    whole = own.content()
    pipeline_drop(own.pipeline, resources=[tables.TASK_RUN_LOG_LOADS.name])()
    first = world.tasks()[0]["id"]
    own.run(task_ids=[first])
    assert len(own.content()[tables.TASK_RUN_LOG_LOADS.name]) == 2
    assert own.run(task_ids=[first]) == 1
    own.run()
    assert own.content() == whole


def test_run_after_a_run_has_left_the_window_settles_it(own: OwnPipeline, world: FakeKomos) -> None:
    own.run()
    task = world.tasks()[1]["id"]
    (running,) = (run["id"] for run in world.runs(task) if run["status"] == "RUNNING")
    world.clock.advance(timedelta(hours=1))
    for _ in range(49):
        world.add_run(task, status="COMPLETED", finished_at=world.clock.now())
    own.run()
    for _ in range(5):
        world.add_run(task, status="COMPLETED", finished_at=world.clock.now())
    world.append(running, {"message": "last"})
    world.finish(running)
    world.clock.advance(timedelta(hours=1))
    own.run()
    assert running in "".join(row for row in own.content()["task_run_logs"] if "'last'" in row)
    own.emulator.requests.clear()
    own.run()
    assert own.emulator.count(running) == 0


@pytest.mark.parametrize("pipeline_name", ["other_name", "komos_task_run_logs"])
def test_load_into_tables_of_a_pipeline_of_ones_own_goes_on_with_them(
    home: LoadEnv, world: FakeKomos, pipeline_name: str
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    own = dlt.pipeline(
        "other_name",
        destination=dlt.destinations.duckdb(str(home.file)),
        dataset_name="komos",
        pipelines_dir=str(home.directory / "pipelines"),
    )
    own.run(komos_source(home.emulator.api_key, home.emulator.base_url))
    world.append(run_id, {})
    result = home.load(pipeline_name=pipeline_name)
    assert (result.exit_code, result.notes) == (0, ())
    assert home.table() == expected(world)


_RUN_IN_NEW_PROCESS = """
import sys, time
import dlt
from komos_source import komos_source

class SlowImport:
    def find_spec(self, name, path, target=None):
        if name == "pandas.core.api":
            time.sleep(0.3)

sys.meta_path.insert(0, SlowImport())
dlt.pipeline("mine", destination="postgres", dataset_name="komos").run(komos_source())
"""


def test_first_and_later_run_in_a_new_process_load_each_entry_once_into_postgres(
    tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    # More than a log that is decoded on the event loop: another thread imports pandas.
    world.append(run_id, *({"message": "x" * 50_000} for _ in range(6)))
    world.append(run_id, "no entry")
    store = make_store("postgres", tmp_path, request)
    for entries in (6, 7):
        process = store.start(emulator, "-c", _RUN_IN_NEW_PROCESS)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert len(store.table()) == entries
        world.append(run_id, {})
    store.load(emulator)
    assert len(store.table()) == 8
