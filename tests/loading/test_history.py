"""`komos_loads`: a row per load, in the destination."""

from __future__ import annotations

import json
from pathlib import Path

import dlt
import pytest
import sqlalchemy

from komos_source import __version__
from komos_source.destinations.locking import lock_pipeline
from komos_source.exceptions import AuthenticationError, DestinationError, LockedError
from komos_source.loading import history
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv
from tests.integration.test_webhook_loads import Inbox

LOADS = "SELECT exit_code, entries_loaded, requests FROM komos_loads ORDER BY started_at"


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    return run_id


def test_load_with_nothing_new_adds_a_row_and_no_load_package(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    home.load()
    world.finish(run_id)
    world.clock.advance(3600)
    home.load()
    packages = home.value("SELECT COUNT(*) FROM _dlt_loads")
    home.load()
    assert home.rows(LOADS) == [(0, 2, 3), (0, 0, 3), (0, 0, 2)]
    assert home.value("SELECT COUNT(*) FROM _dlt_loads") == packages, "a row needs no load package"


def test_load_row_has_pipeline_times_version_and_load_ids(home: LoadEnv, run_id: str) -> None:
    report = home.load()
    row = "pipeline_name, seconds >= ?, ended_at > started_at, problems, komos_source_version"
    assert home.rows(f"SELECT {row.replace('?', str(report.seconds))} FROM komos_loads") == [
        ("komos_task_run_logs", True, True, None, __version__)
    ]
    load_ids = json.loads(home.value("SELECT load_ids FROM komos_loads"))
    assert home.rows("SELECT DISTINCT _dlt_load_id FROM task_run_logs") == [tuple(load_ids)]


def test_load_row_has_the_runs_that_could_not_be_fetched(home: LoadEnv, run_id: str) -> None:
    home.emulator.faults.add("/logs", "status", status=500)
    home.load()
    assert home.value("SELECT exit_code FROM komos_loads") == 3
    (problem,) = json.loads(home.value("SELECT problems FROM komos_loads"))
    assert problem.startswith(f"run {run_id}: ")


def test_problem_is_stored_without_characters_that_databases_refuse() -> None:
    stored = history._columns_of(DestinationError("a\0b\ud800"))["problems"]
    assert stored == '["a\ufffdb\ufffd"]'


def test_load_with_a_refused_key_adds_a_row_with_exit_code_1(home: LoadEnv, run_id: str) -> None:
    home.load()
    with pytest.raises(AuthenticationError):
        home.load(api_key="sk_live_canary_1b2c")
    assert home.rows(LOADS)[1] == (1, None, None)
    (problem,) = json.loads(home.value("SELECT problems FROM komos_loads WHERE exit_code = 1"))
    assert "the API refused the key" in problem
    assert "canary" not in problem


def test_load_of_a_locked_pipeline_adds_no_row(home: LoadEnv, run_id: str) -> None:
    home.load()
    directory = home.directory / "pipelines"
    with (
        lock_pipeline(directory, "komos_task_run_logs", timeout=1),
        pytest.raises(LockedError),
    ):
        home.load(lock_timeout=0.1)
    assert len(home.rows(LOADS)) == 1


def test_load_into_a_dataset_of_an_older_version_creates_the_table(
    home: LoadEnv, world: FakeKomos, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("komos_source.loading.history.table_if_missing", lambda *_: [])
        home.load()
    world.finish(run_id)
    world.clock.advance(3600)
    home.load()
    home.load()
    assert home.rows(LOADS) == [(0, 0, 3), (0, 0, 2)]


def test_load_into_postgres_adds_a_row(
    home: LoadEnv, run_id: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    for _ in range(2):
        home.load(destination="postgres")
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET search_path TO komos")
        assert list(connection.exec_driver_sql(LOADS)) == [(0, 2, 3), (0, 0, 3)]
    engine.dispose()


def test_load_into_files_adds_a_row(
    home: LoadEnv, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("SOURCES__KOMOS__TABLE_FORMAT", "parquet")
    for _ in range(2):
        home.load(destination="filesystem")
    pipeline = dlt.attach("komos_task_run_logs", pipelines_dir=str(home.directory / "pipelines"))
    loads = pipeline.dataset()["komos_loads"].df().sort_values("started_at")
    assert loads["exit_code"].tolist() == [0, 0]
    assert loads["entries_loaded"].tolist() == [2, 0]


def test_loads_of_deliveries_within_a_minute_share_one_row(
    home: LoadEnv, world: FakeKomos, run_id: str, tmp_path: Path
) -> None:
    inbox = Inbox(f"sqlite:///{tmp_path / 'spool.db'}", world)
    spool = inbox.spool.name
    home.load()
    for position in range(3):
        world.append(run_id, {})
        inbox.entries(run_id, 2 + position)
        home.load(poll=False, spool=spool)
    columns = "requests > 0, exit_code, entries_loaded, ended_at > started_at"
    assert home.rows(f"SELECT {columns} FROM komos_loads ORDER BY started_at") == [
        (True, 0, 2, True),
        (False, 0, 3, True),
    ]
