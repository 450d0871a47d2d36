"""Whole loads: real HTTP from the emulator, a real DuckDB file, read back with SQL."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from komos_source import settings
from komos_source.analytics.views import VIEWS
from komos_source.destinations import queries
from komos_source.destinations.locking import lock_pipeline
from komos_source.exceptions import AuthenticationError, LockedError, UsageError
from komos_source.extract import api_change
from komos_source.extract.log_reader import log_batch
from komos_source.testing import FakeKomos, api, make_sample_data
from komos_source.testing.world import iso
from tests.conftest import THOROUGH, LoadEnv, expected


def add_finished_run(world: FakeKomos, task_id: str, *entries: Any, age_hours: float = 24) -> str:
    created = world.clock.now() - timedelta(hours=age_hours)
    run_id = world.add_run(task_id, created_at=created)
    world.append(run_id, *(entries or ({"timestamp": iso(created)},)))
    world.finish(run_id, at=created + timedelta(minutes=1))
    return run_id


def test_load_repeated_while_logs_grow_stores_each_entry_once(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    running = world.add_run(task)
    world.append(running, {}, {"timestamp": None}, {"nodeId": "login", "level": "warning"})
    add_finished_run(world, task)
    for step in range(3):
        home.load()
        assert home.table() == expected(world)
        world.clock.advance(60)
        world.append(running, {"message": f"step {step}"}, {"timestamp": None})
        add_finished_run(world, task, age_hours=24 + step)
    home.load()
    assert home.table() == expected(world)
    assert home.value("SELECT COUNT(*) FROM task_run_logs WHERE timestamp IS NULL") == 4


def test_load_of_runs_found_later_with_older_entries_stores_all_entries(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    add_finished_run(world, task, age_hours=1)
    home.load()
    given = [add_finished_run(world, task, age_hours=500 + n) for n in range(3)]
    discovered = [add_finished_run(world, task, age_hours=600 + n) for n in range(2)]
    home.load(run_ids=given)
    home.load()
    assert home.table() == expected(world)
    assert len(discovered) == 2


def test_load_requests_no_log_of_a_settled_run(home: LoadEnv, world: FakeKomos) -> None:
    for number in range(5):
        task = world.add_task(f"Task {number}")
        for run in range(50):
            add_finished_run(world, task, age_hours=24 + run)
    assert home.load().runs_fetched == 250
    home.emulator.requests.clear()
    report = home.load()
    assert report.requests == len(home.emulator.requests) == 6
    assert report.entries_loaded == 0
    assert home.table() == expected(world)


def test_load_settles_a_run_once_settle_after_has_passed_since_its_end(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    world.finish(run_id)
    for minutes, settled in ((0, False), (9, False), (2, True)):
        world.clock.advance(timedelta(minutes=minutes))
        home.load()
        assert home.value("SELECT settled FROM task_run_log_loads") is settled
    home.emulator.requests.clear()
    home.load()
    assert home.emulator.count("/logs") == 0


def test_load_with_a_late_entry_stores_it_once(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    now = world.clock.now()
    world.append(run_id, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(5)))
    home.load()
    world.append(run_id, {"timestamp": iso(now + timedelta(seconds=2.5)), "message": "late"})
    home.load()
    assert home.table() == expected(world)


def test_load_reads_a_run_outside_the_window_until_it_is_settled(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    long_running = world.add_run(task)
    world.append(long_running, {})
    home.load()
    world.clock.advance(3600)
    for _ in range(49):
        world.add_run(task)
    home.load()
    for _ in range(5):
        world.add_run(task)
    world.append(long_running, {"message": "last words"})
    world.finish(long_running, "FAILED")
    world.clock.advance(timedelta(minutes=11))
    report = home.load()
    assert home.table() == expected(world)
    assert report.window_gaps == 0
    status = f"SELECT status FROM task_runs WHERE id = '{long_running}'"
    assert home.value(status) == "FAILED"
    home.emulator.requests.clear()
    home.load()
    assert home.emulator.count(long_running) == 0


def test_load_that_may_have_missed_runs_records_a_window_gap(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    add_finished_run(world, task)
    home.load()
    newest_known = home.value("SELECT MAX(created_at) FROM task_runs")
    for _ in range(100):
        world.add_run(task, status="COMPLETED", finished_at=world.clock.now())
    report = home.load()
    assert report.window_gaps == 1
    gap = "SELECT task_id, newest_known_at, runs_recovered FROM task_run_window_gaps"
    assert home.rows(gap) == [(task, newest_known, 0)]
    assert home.load().window_gaps == 0


def test_full_refresh_reads_settled_runs_again_and_keeps_rows_of_removed_runs(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    runs = [add_finished_run(world, task, age_hours=24 + n) for n in range(3)]
    home.load()
    before = home.table()
    world.remove_run(runs[0])
    assert home.load(full_refresh=True).runs_fetched == 2
    assert home.table() == before


def test_load_since_a_time_leaves_older_runs_to_a_later_load(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    add_finished_run(world, task, age_hours=1)
    add_finished_run(world, task, age_hours=100)
    day_ago = iso(world.clock.now() - timedelta(days=1))
    assert home.load(task_ids=[task], since=day_ago).runs_fetched == 1
    assert home.load().runs_fetched == 1
    assert home.table() == expected(world)


def test_load_by_run_id_requests_only_the_log_of_that_run(home: LoadEnv, world: FakeKomos) -> None:
    run_id = add_finished_run(world, world.add_task("Orders"))
    home.load(run_ids=[run_id])
    report = home.load(run_ids=[run_id])
    assert {request.path for request in home.emulator.requests} == {
        f"/public/v1/task-runs/{run_id}/logs"
    }
    assert report.requests == 1
    assert report.entries_loaded == 0


def test_load_with_a_run_id_in_upper_and_lower_case_stores_one_run(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"), run_id=world.new_id().upper())
    world.append(run_id, {}, {})
    lower_case_log = f"{run_id.lower()}/logs"
    home.emulator.faults.add(lower_case_log, "body", body=world.log_body(run_id))
    home.load()
    home.load(run_ids=[run_id])
    rows = home.rows("SELECT DISTINCT run_id FROM task_run_logs")
    assert rows == home.rows("SELECT id FROM task_runs") == [(run_id.lower(),)]
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 2


def test_load_with_one_entry_id_in_two_runs_keeps_an_entry_of_each(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    first = add_finished_run(world, task, {"id": "same", "message": "of the first"})
    second = add_finished_run(world, task, {"id": "same", "message": "of the second"}, {})
    for full_refresh in (False, False, True):
        assert home.load(full_refresh=full_refresh).exit_code == 0
        assert home.table() == expected(world)
    assert home.table().keys() >= {(first, "same"), (second, "same")}


def test_load_with_odd_entries_stores_or_rejects_each(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(
        run_id,
        {"id": "a", "level": "fatal", "message": ""},
        {"id": "b", "region": {"name": "eu"}},
        {"id": 7},
        "no entry at all",
    )
    report = home.load()
    assert (report.entries_loaded, report.entries_rejected, report.exit_code) == (2, 2, 0)
    assert home.rows("SELECT id, level, message, extra FROM task_run_logs ORDER BY id") == [
        ("a", "fatal", "", None),
        ("b", "info", "", '{"region":{"name":"eu"}}'),
    ]
    reasons = home.rows("SELECT position, reason, raw FROM task_run_logs_rejected ORDER BY 1")
    assert [row[:2] for row in reasons] == [
        (2, "'id' is not a string"),
        (3, "the entry is not an object"),
    ]
    home.load(full_refresh=True)
    assert home.value("SELECT COUNT(*) FROM task_run_logs_rejected") == 2


def test_load_with_unusual_timestamps_stores_all_entries(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    times = [
        "2016-12-31T23:59:60Z",
        "2025-10-14T24:00:00Z",
        "2025-10-15t00:00:00z",
        "",
        "0001-01-01T00:00:00Z",
    ]
    world.append(run_id, *({"id": f"at {time}", "timestamp": time} for time in times))
    report = home.load()
    assert (report.entries_loaded, report.entries_rejected, report.exit_code) == (5, 0, 0)
    days = home.rows(
        "SELECT strftime(timestamp AT TIME ZONE 'UTC', '%x') FROM task_run_logs ORDER BY id DESC"
    )
    assert [day for (day,) in days] == ["2025-10-15", "2025-10-15", "2017-01-01", None, None]


def test_load_of_a_null_log_stores_no_entry(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    null = b'\xef\xbb\xbf{"runId":"%s","logEntries":null}' % run_id.encode()
    home.emulator.faults.add(f"/task-runs/{run_id}/logs", "body", body=null)
    report = home.load()
    assert (report.entries_loaded, report.exit_code) == (0, 0)
    assert home.rows("SELECT entries, outcome FROM task_run_log_loads") == [(0, "ok")]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 404, "detail": "run_not_found"}, 404),
        ({"kind": "status", "status": 500}, 500),
        ({"kind": "reset"}, None),
        ({"kind": "truncate"}, None),
        ({"kind": "truncate_quietly"}, 200),
        ({"kind": "html"}, 200),
        ({"kind": "body", "body": b'{"runId": "x", "logEntries": []}'}, 200),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_load_with_a_run_that_cannot_be_fetched_stores_the_others_and_retries_it(
    home: LoadEnv, world: FakeKomos, fault: dict[str, Any], status: int | None
) -> None:
    task = world.add_task("Orders")
    runs = [add_finished_run(world, task, age_hours=0.05 + n / 100) for n in range(20)]
    bad = runs[7]
    home.emulator.faults.add(f"{bad}/logs", **fault)
    report = home.load()
    assert (report.runs_fetched, report.runs_failed, report.exit_code) == (19, 1, 3)
    assert list(report.failures) == [bad]
    assert {run_id for run_id, _ in home.table()} == set(runs) - {bad}
    row = f"SELECT outcome, settled, http_status FROM task_run_log_loads WHERE run_id = '{bad}'"
    assert home.rows(row) == [("not_visible" if status == 404 else "failed", False, status)]
    home.emulator.faults.clear()
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 429, "headers": {"Retry-After": "1"}}, {"kind": "reset"}],
    ids=["429", "reset"],
)
def test_load_with_a_transient_failure_retries_it_and_stores_all_runs(
    home: LoadEnv, world: FakeKomos, fault: dict[str, Any]
) -> None:
    task = world.add_task("Orders")
    runs = [add_finished_run(world, task, age_hours=1 + n) for n in range(20)]
    home.emulator.faults.add(runs[3], times=1, **fault)
    report = home.load()
    assert (report.exit_code, report.requests) == (0, 23)
    assert home.table() == expected(world)


@pytest.mark.parametrize(
    "odd",
    [
        2**63,
        10**30,
        {"deep": 10**30},
        functools.reduce(lambda inner, _: [inner], range(300), 0),
    ],
    ids=["beyond 63 bits", "beyond 64 bits", "beyond 64 bits, nested", "300 levels"],
)
def test_load_of_a_task_with_values_that_no_column_can_hold_keeps_them_in_extra(
    home: LoadEnv, world: FakeKomos, odd: Any
) -> None:
    add_finished_run(world, world.add_task("Orders", odd=odd))
    assert home.load().exit_code == 0
    assert json.loads(home.value("SELECT extra FROM tasks")) == {"odd": odd}


def test_load_with_a_failing_list_of_runs_reports_it_and_loads_the_other_tasks(
    home: LoadEnv, world: FakeKomos
) -> None:
    bad, good = world.add_task("Bad"), world.add_task("Good")
    add_finished_run(world, bad)
    add_finished_run(world, good)
    home.emulator.faults.add(f"/tasks/{bad}/runs", "status", status=500)
    report = home.load()
    assert report.exit_code == 3
    assert bad in report.problems[0]
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 1


@pytest.mark.parametrize("name", ["logs.prod.duckdb", "main.duckdb", "a-b c", ".logs"])
def test_load_into_a_duckdb_file_of_any_name_succeeds(
    home: LoadEnv, world: FakeKomos, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_finished_run(world, world.add_task("Orders"))
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(home.directory / name))
    assert home.load().entries_loaded == 1  # counted in that file
    assert (home.directory / name).exists()


def test_load_with_a_semicolon_in_the_working_directory_succeeds(
    home: LoadEnv, world: FakeKomos
) -> None:
    add_finished_run(world, world.add_task("Orders"))
    assert home.load(pipelines_dir=str(home.directory / "a;b")).entries_loaded == 1


def test_load_into_duckdb_creates_no_staging_schema(home: LoadEnv, world: FakeKomos) -> None:
    add_finished_run(world, world.add_task("Orders"))
    home.load()
    schemas = (
        "SELECT schema_name FROM duckdb_schemas() "
        "WHERE NOT internal AND database_name = current_database()"
    )
    assert home.rows(schemas) == [("komos",)]


def test_load_with_a_refused_key_raises_and_changes_no_row(home: LoadEnv, world: FakeKomos) -> None:
    add_finished_run(world, world.add_task("Orders"))
    home.load()
    before = home.table()
    with pytest.raises(AuthenticationError):
        home.load(api_key="sk_live_wrong")
    assert home.table() == before


@pytest.mark.parametrize("last_path", ["/tasks?", "/runs", "/logs"])
def test_load_with_a_key_revoked_during_the_load_raises_and_the_next_is_exact(
    home: LoadEnv, world: FakeKomos, last_path: str
) -> None:
    task = world.add_task("Orders")
    for number in range(20):
        add_finished_run(world, task, age_hours=1 + number)
    key = home.emulator.api_key

    def revoke(_: str, body: bytes) -> bytes:
        home.emulator.api_key = "sk_live_another"
        return body

    home.emulator.faults.add(last_path, "rewrite", rewrite=revoke)
    with pytest.raises(AuthenticationError):
        home.load(api_key=key)
    home.emulator.faults.clear()
    home.load()
    assert home.table() == expected(world)


def test_load_into_an_unknown_destination_is_refused_before_any_request(home: LoadEnv) -> None:
    with pytest.raises(UsageError, match="'nowhere'"):
        home.load(destination="nowhere")
    assert not home.emulator.requests


def test_load_with_missing_rows_reports_the_run_and_the_next_reads_it_again(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komos_source.loading import load_package as loading

    run_id = add_finished_run(world, world.add_task("Orders"), {"id": "a"}, {"id": "b"})
    count = loading.count_loaded_rows

    def delete_one(pipeline: Any, load_ids: Any) -> dict[str, int]:
        with pipeline.sql_client() as client:
            client.execute_sql("DELETE FROM task_run_logs WHERE id = 'a'")
        return count(pipeline, load_ids)

    monkeypatch.setattr(loading, "count_loaded_rows", delete_one)
    report = home.load()
    assert report.failures == {run_id: "2 entries were emitted, 1 were loaded"}
    assert home.value("SELECT outcome FROM task_run_log_loads") == "failed"
    monkeypatch.undo()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{home.file}")
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


def test_load_after_the_database_is_deleted_loads_everything_again(
    home: LoadEnv, world: FakeKomos
) -> None:
    add_finished_run(world, world.add_task("Orders"))
    home.load()
    home.file.unlink()
    home.load()
    assert home.table() == expected(world)


def test_load_into_two_databases_with_one_pipeline_name_uses_the_state_of_each(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = world.add_task("Orders")

    def load_into(name: str) -> None:
        file = home.directory / name
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{file}")
        home.load()

    add_finished_run(world, task)
    load_into("komos_task_run_logs.duckdb")
    for _ in range(3):
        add_finished_run(world, task)
        load_into("other.duckdb")
    load_into("komos_task_run_logs.duckdb")
    assert home.table() == expected(world)


def test_load_into_a_duckdb_file_open_in_another_process_waits_and_names_the_process(
    home: LoadEnv, world: FakeKomos
) -> None:
    add_finished_run(world, world.add_task("Orders"))
    home.load()
    script = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1], read_only=True);"
        "print('open', flush=True); time.sleep(float(sys.argv[2]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home.file), "60"], stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        with pytest.raises(LockedError, match=str(home.file)) as caught:
            home.load(lock_timeout=0.5)
        assert str(reader.pid) in str(caught.value)
        reader.kill()
    assert home.load().exit_code == 0


def test_load_from_a_slow_api_releases_the_duckdb_file_meanwhile(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = world.add_task("Orders")
    add_finished_run(world, task)
    home.load()
    add_finished_run(world, task)
    may_answer = threading.Event()
    respond = api.reply
    monkeypatch.setattr(
        "komos_source.testing.server.reply",
        lambda *args, **kwargs: may_answer.wait(60) and respond(*args, **kwargs),
    )
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(home.load)
        script = (
            "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('CREATE TABLE mine (n INT)')"
        )
        deadline = time.monotonic() + 30
        while subprocess.run(
            [sys.executable, "-c", script, str(home.file)], stderr=subprocess.DEVNULL, check=False
        ).returncode:
            assert time.monotonic() < deadline, "the file is never released"
        may_answer.set()
        assert loading.result(60).exit_code == 0
    assert home.table() == expected(world)


def test_load_during_another_load_waits_and_names_the_process(home: LoadEnv) -> None:
    import os

    directory = home.directory / "pipelines"
    with (
        lock_pipeline(directory, "komos_task_run_logs", 1.0),
        pytest.raises(LockedError, match=f"process {os.getpid()}"),
    ):
        home.load(lock_timeout=0.3)


def test_load_of_sample_data_in_steps_stores_all_entries(home: LoadEnv) -> None:
    world = make_sample_data(seed=3, days=6, runs_per_day=5)
    home.emulator.world = world
    end = world.clock.now()
    for days_before in (5, 3, 2, 1, 0):
        world.clock.set(end - timedelta(days=days_before) + timedelta(minutes=30))
        assert home.load().exit_code == 0
    assert home.table() == expected(world)


def test_load_creates_tables_with_the_documented_columns(home: LoadEnv, world: FakeKomos) -> None:
    add_finished_run(world, world.add_task("Orders"))
    home.load()
    with duckdb.connect(str(home.file)) as connection:
        columns = connection.execute(
            "SELECT table_name, list(column_name ORDER BY column_name) FROM"
            " information_schema.columns WHERE table_schema = 'komos'"
            " AND column_name NOT LIKE '\\_dlt%' ESCAPE '\\' GROUP BY ALL"
        ).fetchall()
    found = {name: set(names) for name, names in columns if not name.startswith("_dlt")}
    assert found["task_run_logs"] == {
        "id",
        "run_id",
        "position",
        "timestamp",
        "level",
        "message",
        "node_id",
        "extra",
    }
    assert found["task_run_log_loads"] == {
        "run_id",
        "entries",
        "last_timestamp",
        "checked_at",
        "settled",
        "outcome",
        "http_status",
        "detail",
    }
    assert found.keys() == {
        "tasks",
        "komos_loads",
        "task_runs",
        "task_run_logs",
        "task_run_log_loads",
        "task_run_logs_rejected",
        "task_run_window_gaps",
        *VIEWS,
    }


def test_load_deletes_old_states(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_STATES_KEPT", 3)
    task = world.add_task("Orders")
    for _ in range(8):
        add_finished_run(world, task)
        home.load(views=False)
    states = "SELECT COUNT(*), MAX(version) FROM _dlt_pipeline_state"
    kept, newest = home.rows(states)[0]
    assert newest > 6
    assert kept < 6
    home.load()
    assert home.table() == expected(world)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_load_with_unusable_lock_timeout_raises_usage_error(home: LoadEnv, timeout: float) -> None:
    with pytest.raises(UsageError, match="lock_timeout"):
        home.load(lock_timeout=timeout)


def test_load_limits_batches_by_the_bytes_of_rejected_entries(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def recorded(results: Any) -> Any:
        sizes.append(len(results))
        return log_batch(results)

    monkeypatch.setattr("komos_source.extract.extraction.log_batch", recorded)
    monkeypatch.setattr(settings, "BYTES_PER_BATCH", 1_000)
    task = world.add_task("Orders")
    for _ in range(3):
        add_finished_run(world, task, {"message": {"screenshot": "x" * 2_000}})
    assert home.load().entries_rejected == 3
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize("options", [{}, *([{"full_refresh": True}, {"named": True}] * THOROUGH)])
def test_load_in_packages_of_limited_size_requests_each_log_once(
    home: LoadEnv, world: FakeKomos, options: dict[str, Any]
) -> None:
    task = world.add_task("Orders")
    runs = [add_finished_run(world, task, {"message": "x" * 5_000}) for _ in range(3)]
    runs.append(world.add_run(task))
    world.append(runs[-1], {"message": "y" * 5_000})
    home.emulator.faults.add(f"{runs[0]}/logs", "status", status=422, times=1)
    named = runs if options.pop("named", None) else None
    result = home.load(max_bytes=7_000, max_concurrency=1, run_ids=named, **options)
    assert (result.runs_fetched, result.runs_failed) == (3, 1)
    assert home.emulator.count("/logs") == 4
    packages = "SELECT COUNT(DISTINCT _dlt_load_id) FROM task_run_logs"
    assert home.value(packages) == 2
    assert home.load().exit_code == 0
    assert home.table() == expected(world)
    assert home.load().requests == 1 + 1 + 1  # tasks, runs, the log of the running run


def test_load_without_the_direct_merge_limits_the_size_of_packages(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__DIRECT_MERGE", "false")
    monkeypatch.setattr(settings, "BYTES_PER_PACKAGE", 5_000)
    task = world.add_task("Orders")
    for _ in range(2):
        add_finished_run(world, task, {"message": "x" * 5_000})
    home.load(max_concurrency=1)
    assert home.table() == expected(world)
    assert home.value("SELECT COUNT(DISTINCT _dlt_load_id) FROM task_run_logs") == 2


def test_load_of_the_api_into_a_dataset_of_the_emulator_warns_once(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    assert home.load().notes == ()
    monkeypatch.setattr(api_change, "is_loopback", lambda host: host == "127.0.0.1")
    elsewhere = home.emulator.base_url.replace("127.0.0.1", "localhost")
    (note,) = home.load(base_url=elsewhere).notes
    assert "if one of them serves sample data" in note
    assert home.load(base_url=elsewhere).notes == ()
