"""Loads of deliveries and by polling into the same tables: real HTTP, a real spool, DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.exceptions import ApiUnreachableError, ConfigurationError, DestinationError
from komos_source.testing import FakeKomos
from komos_source.testing.webhooks import signed_headers
from komos_source.testing.world import iso
from komos_source.webhooks import Spool, drain, verify
from tests.conftest import LoadEnv, expected
from tests.receiver import SECRET


class Inbox:
    """A spool, into which a test puts signed deliveries as a receiver would."""

    def __init__(self, url: str, world: FakeKomos) -> None:
        self.spool = Spool(url)
        self.world = world

    def put(self, event: str, value: Any) -> None:
        body = json.dumps(value).encode()
        headers = signed_headers(SECRET, event, body)
        self.spool.put([verify(headers, body, secrets=[SECRET])])

    def entries(self, run_id: str, *which: int) -> None:
        """Puts a delivery of the entries at these indexes of a log."""
        log = self.world.log(run_id)
        self.put("task-run.log", {"runId": run_id, "logEntries": [log[place] for place in which]})

    def event(self, run_id: str, event: str = "completed") -> None:
        self.put(f"task-run.{event}", self.world.run(run_id))


@pytest.fixture
def inbox(home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    url = f"sqlite:///{home.directory / 'spool.db'}"
    monkeypatch.setenv("SOURCES__KOMOS__SPOOL", url)
    opened = Inbox(url, world)
    yield opened
    opened.spool.close()


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    now = world.clock.now()
    world.append(run_id, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(6)))
    return run_id


def positions(home: LoadEnv) -> list[int | None]:
    return [row[0] for row in home.rows("SELECT position FROM task_run_logs ORDER BY timestamp")]


def test_load_without_polling_stores_pushed_entries_and_polling_adds_their_positions(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    inbox.entries(run_id, 2, 3)
    report = home.load(poll=False)
    assert (report.entries_loaded, report.requests) == (2, 0)
    assert positions(home) == [None, None]
    assert inbox.spool.waiting() == 0
    home.load()
    assert home.table() == expected(world)


def test_load_of_entries_pushed_and_polled_stores_each_once(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    inbox.entries(run_id, 0, 1)
    inbox.entries(run_id, 1, 2)
    assert home.load().entries_loaded == 6
    assert home.table() == expected(world)
    assert inbox.spool.waiting() == 0


def test_load_of_a_late_delivery_keeps_the_positions_of_loaded_entries(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    home.load()
    inbox.entries(run_id, 0, 5)
    assert home.load(poll=False).entries_loaded == 0
    assert home.table() == expected(world)
    world.append(run_id, {"timestamp": iso(world.clock.now() + timedelta(hours=1))})
    inbox.entries(run_id, 1, 6)
    home.load(poll=False)
    assert positions(home) == [0, 1, 2, 3, 4, 5, None]
    home.load()
    assert home.table() == expected(world)


def test_load_of_an_entry_pushed_before_the_api_returns_it_adds_its_position_later(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    home.load()
    now = world.clock.now()
    for seconds in (1.5, 99):
        (early,) = world.append(
            run_id,
            {"timestamp": iso(now + timedelta(seconds=seconds))},
            persisted_at=now + timedelta(minutes=5),
        )
        entry = {"id": early, "timestamp": iso(now + timedelta(seconds=seconds)), "message": ""}
        inbox.put("task-run.log", {"runId": run_id, "logEntries": [entry]})
    home.load()
    assert sorted(positions(home), key=str) == [0, 1, 2, 3, 4, 5, None, None]
    world.clock.advance(timedelta(minutes=6))
    home.load()
    assert home.table() == expected(world)


def test_load_with_the_api_down_loads_pushed_entries(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    inbox.entries(run_id, 0, 1)
    report = home.load(base_url="http://127.0.0.1:9")
    assert (report.entries_loaded, report.exit_code) == (2, 3)
    assert "cannot be reached" in report.problems[0]
    with pytest.raises(ApiUnreachableError):
        home.load(base_url="http://127.0.0.1:9")
    inbox.entries(run_id, 2)
    home.emulator.faults.add("/tasks", "status", status=503)
    assert home.load().entries_loaded == 1
    home.emulator.faults.clear()
    home.load()
    assert home.table() == expected(world)


def test_load_of_an_event_keeps_the_status_that_the_api_returns(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    inbox.event(run_id, "started")
    world.finish(run_id, "FAILED")
    home.load()
    assert home.value("SELECT status FROM task_runs") == "FAILED"
    inbox.event(run_id, "failed")
    inbox.put("task-run.started", {**world.run(run_id), "status": "RUNNING"})
    home.load()
    assert home.value("SELECT status FROM task_runs") == "FAILED"


def test_load_with_new_pushed_entries_of_a_settled_run_reads_it_again(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    world.finish(run_id)
    world.clock.advance(timedelta(minutes=11))
    home.load()
    assert home.value("SELECT settled FROM task_run_log_loads")
    world.append(run_id, {"timestamp": iso(world.clock.now()), "message": "much too late"})
    inbox.entries(run_id, 6)
    assert home.load().runs_fetched == 1
    assert home.table() == expected(world)
    home.emulator.requests.clear()
    inbox.entries(run_id, 1, 2, 6)  # nothing new: no request is needed
    assert home.load().runs_fetched == 0
    assert home.emulator.count("/logs") == 0
    assert home.table() == expected(world)


def test_load_of_events_of_runs_outside_the_window_loads_them_and_counts_them_as_recovered(
    home: LoadEnv, world: FakeKomos, inbox: Inbox
) -> None:
    task = world.add_task("Orders")
    world.add_run(task, status="COMPLETED", finished_at=world.clock.now())
    home.load()
    runs = []
    for _ in range(100):
        world.clock.advance(1)
        runs.append(world.add_run(task))
        world.append(runs[-1], {})
    inbox.event(runs[3], "started")
    inbox.entries(runs[4], 0)
    home.load()
    gaps = "SELECT runs_recovered FROM task_run_window_gaps"
    assert home.rows(gaps) == [(2,)]
    inbox.event(runs[3], "completed")
    inbox.event(runs[5], "completed")
    home.load()
    assert home.rows(gaps) == [(3,)]
    assert home.value("SELECT COUNT(*) FROM task_runs") == 54


def test_load_of_a_hundred_new_runs_is_complete_with_webhooks_and_has_a_window_gap_without(
    home: LoadEnv, world: FakeKomos, inbox: Inbox
) -> None:
    with_webhooks, without = world.add_task("With"), world.add_task("Without")
    for task in (with_webhooks, without):
        world.add_run(task)
    home.load()
    for task in (with_webhooks, without):
        for _ in range(100):
            world.clock.advance(1)
            run = world.add_run(task)
            world.append(run, {}, {})
            if task == with_webhooks:
                inbox.event(run, "started")
    assert home.load().window_gaps == 2
    runs = "SELECT COUNT(*) FROM task_runs WHERE created_at IS NOT NULL AND task_id = "
    assert home.value(f"{runs}'{with_webhooks}'") == 101
    assert home.value(f"{runs}'{without}'") == 51
    gaps = dict(home.rows("SELECT task_id, runs_recovered FROM task_run_window_gaps"))
    assert gaps == {with_webhooks: 50, without: 0}
    loaded = {run_id for run_id, _ in home.table()}
    assert {run["id"] for run in world.runs(with_webhooks)[:100]} <= loaded


def test_load_of_unknown_events_and_invalid_entries_rejects_them_with_their_content(
    home: LoadEnv, inbox: Inbox, world: FakeKomos, run_id: str
) -> None:
    inbox.put("task.created", {"id": run_id})
    inbox.put("task-run.log", {"runId": run_id, "logEntries": "?"})
    inbox.put("task-run.log", {"runId": run_id, "logEntries": [{"id": 7}]})
    inbox.put("task-run.updated", [1, 2])
    report = home.load()
    assert (report.entries_rejected, report.exit_code) == (4, 0)
    rows = home.rows("SELECT reason, raw FROM task_run_logs_rejected ORDER BY seen_at, reason, raw")
    assert sorted(raw for _, raw in rows) == [
        "[1, 2]",
        f'{{"id": "{run_id}"}}',
        '{"id": 7}',
        f'{{"runId": "{run_id}", "logEntries": "?"}}',
    ]
    assert "a webhook 'task.created'" in " ".join(reason for reason, _ in rows)
    assert inbox.spool.waiting() == 0


def test_load_of_a_delivery_whose_run_is_not_found_requests_it_until_it_is_lost(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    foreign = world.new_id()
    entries = [{"id": world.new_id(), "message": "from elsewhere"} for _ in range(6)]
    inbox.put("task-run.log", {"runId": foreign, "logEntries": entries})
    for _ in range(2):
        assert home.load(give_up_after=0).failures == {foreign: "404 run_not_found"}
    assert home.value(f"SELECT COUNT(*) FROM task_run_logs WHERE run_id = '{foreign}'") == 6
    assert foreign in home.load(give_up_after=0).problems[0]
    home.emulator.requests.clear()
    assert home.load(give_up_after=0).exit_code == 0
    assert home.emulator.count(foreign) == 0
    inbox.put("task-run.log", {"runId": foreign, "logEntries": [{"id": world.new_id()}]})
    assert home.load(give_up_after=0).failures == {foreign: "404 run_not_found"}


def test_load_of_a_long_spool_takes_bounded_batches(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(run_id, *({} for _ in range(94)))
    for place in range(100):
        inbox.entries(run_id, place)
    takes = []
    take = Spool.take

    def bounded(spool: Spool) -> Any:
        takes.append(len(taken := take(spool, deliveries=30)))
        return taken

    monkeypatch.setattr(Spool, "take", bounded)
    assert home.load(poll=False).entries_loaded == 100
    assert takes == [30, 30, 30, 10, 0]
    home.load()
    assert home.table() == expected(world)


def test_load_that_crashes_keeps_its_deliveries_in_the_spool(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dlt

    inbox.entries(run_id, 0, 1)

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("made to fail")

    for owner, name in ((dlt.Pipeline, "normalize"), (dlt.Pipeline, "load"), (Spool, "delete")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, crash)
            with pytest.raises(Exception, match="made to fail"):
                home.load(poll=False)
        assert inbox.spool.waiting() == 1
    home.load(poll=False)
    assert inbox.spool.waiting() == 0
    assert len(home.table()) == 2


def test_load_with_missing_rows_keeps_their_deliveries_in_the_spool(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komos_source.loading import load_package as loading

    other = world.add_run(world.add_task("Other"))
    world.append(other, {})
    inbox.entries(run_id, 0, 1)
    inbox.entries(other, 0)
    count = loading.count_loaded_rows
    monkeypatch.setattr(loading, "count_loaded_rows", lambda *args: count(*args) | {run_id: 1})
    report = home.load(poll=False)
    assert report.failures == {run_id: "2 entries were emitted, 1 were loaded"}
    assert [each.run_id for each in inbox.spool.take()] == [run_id]
    monkeypatch.setattr(loading, "count_loaded_rows", count)
    assert home.load().exit_code == 0
    assert inbox.spool.waiting() == 0
    assert home.table() == expected(world)


def test_load_of_chosen_runs_leaves_the_spool_alone(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    inbox.entries(run_id, 0)
    home.load(run_ids=[run_id])
    home.load(task_ids=[world.tasks()[0]["id"]])
    assert inbox.spool.waiting() == 1
    home.load()
    assert inbox.spool.waiting() == 0
    assert home.table() == expected(world)


def test_load_reports_an_unreachable_spool_and_reads_the_api(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    report = home.load(spool="sqlite:////nowhere/spool.db")
    assert report.exit_code == 3
    assert "/nowhere/spool.db" in report.problems[0]
    assert home.table() == expected(world)


def test_load_with_a_spool_but_without_its_libraries_names_what_to_install(
    home: LoadEnv, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "komos_source.webhooks.spool")
    with pytest.raises(ConfigurationError, match=r"pip install .*\[webhooks\]"):
        home.load()


def test_load_drains_the_default_spool_if_it_exists_and_creates_none(
    home: LoadEnv, world: FakeKomos, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.directory)
    home.load()
    assert not Path("komos_spool.db").exists()
    world.append(run_id, {"timestamp": iso(world.clock.now() + timedelta(hours=1))})
    inbox = Inbox("sqlite:///komos_spool.db", world)
    inbox.entries(run_id, 6)
    home.load(poll=False)
    assert inbox.spool.waiting() == 0
    assert len(home.table()) == 7


def test_load_into_another_dataset_leaves_the_spool_alone_unless_it_is_given(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    home.load()  # the spool then belongs to this dataset, although it is empty
    inbox.entries(run_id, 0)
    result = home.load(dataset_name="scratch", pipeline_name="scratch")
    assert "the spool" in result.problems[0]
    assert "dataset komos, and" in result.problems[0]
    assert inbox.spool.waiting() == 1
    assert home.load(poll=False).exit_code == 0
    assert inbox.spool.waiting() == 0
    inbox.entries(run_id, 1)
    home.load(dataset_name="scratch", pipeline_name="scratch", spool=inbox.spool.name)
    assert inbox.spool.waiting() == 0


def test_load_sets_a_delivery_that_postgres_refuses_aside_and_loads_the_rest(
    home: LoadEnv, world: FakeKomos, run_id: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy as sa

    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    inbox = Inbox(postgres_url, world)
    inbox.entries(run_id, 0)
    assert home.load(destination="postgres", spool=postgres_url).exit_code == 0
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE komos.task_run_logs ADD CHECK (message NOT LIKE '%%refused%%')"
        )
    world.append(run_id, {"timestamp": iso(world.clock.now() + timedelta(hours=1))})
    refused = {"id": world.new_id(), "message": "refused"}
    inbox.put("task-run.log", {"runId": world.new_id(), "logEntries": [refused]})
    inbox.entries(run_id, 6)
    result = home.load(destination="postgres", spool=postgres_url)
    assert result.exit_code == 3
    assert "komos_deliveries_failed" in "".join(result.problems)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id FROM komos.task_run_logs").all()
        failed = connection.exec_driver_sql("SELECT reason FROM komos_deliveries_failed").all()
    assert {id for (id,) in rows} == {entry["id"] for _, _, entry in world.entries()}
    assert len(failed) == 1
    assert failed[0][0]
    assert inbox.spool.waiting() == 0
    assert home.load(destination="postgres", spool=postgres_url).exit_code == 3
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE komos.task_run_logs DROP CONSTRAINT task_run_logs_message_check"
        )
    assert home.load(destination="postgres", spool=postgres_url).problems == ()
    with engine.connect() as connection:
        query = "SELECT COUNT(*) FROM komos.task_run_logs WHERE message = 'refused'"
        assert connection.exec_driver_sql(query).scalar() == 1
    engine.dispose()
    inbox.spool.close()


def test_load_after_the_repair_of_a_table_stores_deliveries_that_it_refused(
    home: LoadEnv, world: FakeKomos, run_id: str, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MAX_REFUSED", 2)
    home.load()
    home.rows("UPDATE task_run_logs SET node_id = 'node'")
    home.rows("ALTER TABLE task_run_logs ALTER node_id SET NOT NULL")
    for place in range(6, 12):
        world.append(run_id, {"timestamp": iso(world.clock.now() + timedelta(hours=place))})
        inbox.entries(run_id, place)
    with pytest.raises(DestinationError):
        home.load(poll=False)
    assert inbox.spool.waiting() == 4
    home.rows("ALTER TABLE task_run_logs ALTER node_id DROP NOT NULL")
    home.rows("UPDATE task_run_logs SET node_id = NULL")
    assert home.load(poll=False).exit_code == 0
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


def test_load_reports_a_spool_that_hangs_and_reads_the_api(
    home: LoadEnv, world: FakeKomos, run_id: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy as sa

    from komos_source.webhooks import spool_database

    Spool(postgres_url).close()
    monkeypatch.setattr(spool_database, "SPOOL_TIMEOUT", 0.5)
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE komos_deliveries IN ACCESS EXCLUSIVE MODE")
        result = home.load(spool=postgres_url)
    engine.dispose()
    assert "statement timeout" in result.problems[0]
    assert home.table() == expected(world)


def test_load_of_a_delivery_with_a_byte_order_mark_stores_its_entries(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    for event, value in (
        ("task-run.log", {"runId": run_id, "logEntries": world.log(run_id)[:2]}),
        ("other", {"a": 1}),
    ):
        body = b"\xef\xbb\xbf" + json.dumps(value).encode()
        headers = signed_headers(SECRET, event, body)
        inbox.spool.put([verify(headers, body, secrets=[SECRET])])
    result = home.load(poll=False)
    assert (result.entries_loaded, result.entries_rejected) == (2, 1)
    assert home.rows("SELECT raw FROM task_run_logs_rejected") == [('{"a": 1}',)]


def test_load_into_postgres_from_a_spool_in_postgres_stores_each_entry_once(
    home: LoadEnv, world: FakeKomos, run_id: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy as sa

    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    inbox = Inbox(postgres_url, world)
    inbox.entries(run_id, 0, 1)
    home.load(destination="postgres", spool=postgres_url)
    inbox.entries(run_id, 1, 2)
    home.load(destination="postgres", spool=postgres_url)
    assert inbox.spool.waiting() == 0
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, position FROM komos.task_run_logs").all()
    engine.dispose()
    assert dict(tuple(row) for row in rows) == {e["id"]: n for _, n, e in world.entries()}


def test_load_whose_maintenance_fails_reports_it_and_records_the_load(
    home: LoadEnv, world: FakeKomos, inbox: Inbox, run_id: str
) -> None:
    home.load()
    home.rows("ALTER TABLE task_run_window_gaps ALTER newest_known_at TYPE BOOLEAN")
    world.append(run_id, {})
    report = home.load()
    assert report.exit_code == 3
    assert home.table() == expected(world)
    assert any("old states or counts in its tables were not" in each for each in report.problems)
    assert home.rows("SELECT exit_code FROM komos_loads ORDER BY started_at") == [(0,), (3,)]
