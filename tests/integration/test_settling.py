"""Which runs a load reads again, and when it stops: whole loads over HTTP into DuckDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source.testing import FakeKomos
from komos_source.testing.world import iso
from tests.conftest import LoadEnv, expected
from tests.integration.test_loads import add_finished_run


def outcome(home: LoadEnv, run_id: str) -> Any:
    return home.value(f"SELECT outcome FROM task_run_log_loads WHERE run_id = '{run_id}'")


@pytest.mark.parametrize("detail", ["Not Found", "run_not_found"])
def test_load_after_one_404_of_each_log_loads_them_all(
    home: LoadEnv, world: FakeKomos, detail: str
) -> None:
    task = world.add_task("Orders")
    for hours in range(5):
        add_finished_run(world, task, age_hours=24 + hours)
    home.emulator.faults.add("/logs", "status", status=404, detail=detail)
    report = home.load(give_up_after=0)
    assert (report.exit_code, report.runs_failed) == (3, 5)
    home.emulator.faults.clear()
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


def test_load_after_one_404_of_runs_that_left_the_window_loads_them(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    running = [world.add_run(task) for _ in range(3)]
    for run in running:
        world.append(run, {})
    home.load()
    world.clock.advance(60)
    for _ in range(49):
        world.add_run(task)
    home.load()
    for _ in range(5):
        world.add_run(task)
    for run in running:
        world.append(run, {"message": "written after it left"})
        home.emulator.faults.add(run, "status", status=404, detail="run_not_found")
    assert home.load().runs_failed == 3
    home.emulator.faults.clear()
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


def run_that_left_and_was_removed(home: LoadEnv, world: FakeKomos) -> str:
    """A run that the API does not show any more, after it has been loaded once."""
    task = world.add_task("Orders")
    run_id = world.add_run(task)
    world.append(run_id, {})
    home.load()
    add_finished_run(world, task)
    world.remove_run(run_id)
    return run_id


def test_load_of_a_run_the_api_no_longer_returns_loses_it_after_three_loads_and_reports_it_once(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = run_that_left_and_was_removed(home, world)
    for _ in range(2):
        report = home.load(give_up_after=0)
        assert (report.exit_code, report.failures) == (3, {run_id: "404 run_not_found"})
        assert outcome(home, run_id) == "not_visible"
    report = home.load(give_up_after=0)
    assert (report.exit_code, report.failures) == (3, {})
    assert [run_id in problem for problem in report.problems] == [True]
    assert outcome(home, run_id) == "lost"
    home.emulator.requests.clear()
    assert home.load(give_up_after=0).exit_code == 0
    assert home.emulator.count(run_id) == 0
    assert (run_id, home.rows("SELECT id FROM task_run_logs")[0][0]) in home.table()


def test_load_of_a_lost_run_requests_it_by_id_and_in_a_full_refresh(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = run_that_left_and_was_removed(home, world)
    for _ in range(3):
        home.load(give_up_after=0)
    home.emulator.requests.clear()
    assert home.load(run_ids=[run_id]).failures == {run_id: "404 run_not_found"}
    assert home.emulator.count(f"{run_id}/logs") == 1
    assert run_id in home.load(give_up_after=0, full_refresh=True).problems[0]
    assert home.emulator.count(run_id) == 2
    assert home.load(give_up_after=0).exit_code == 0
    assert home.emulator.count(run_id) == 2
    restored = world.add_run(world.tasks()[0]["id"], run_id=run_id)
    world.append(restored, {}, {})
    assert home.load(give_up_after=0, full_refresh=True).exit_code == 0
    assert outcome(home, run_id) == "ok"


def test_load_of_a_run_the_api_no_longer_returns_loses_it_only_after_a_day(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = run_that_left_and_was_removed(home, world)
    for _ in range(5):
        assert home.load().failures == {run_id: "404 run_not_found"}


def test_load_of_a_listed_run_whose_log_is_not_found_never_loses_it(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = add_finished_run(world, world.add_task("Orders"))
    home.emulator.faults.add("/logs", "status", status=404, detail="run_not_found")
    for _ in range(4):
        assert home.load(give_up_after=0).failures == {run_id: "404 run_not_found"}
    home.emulator.faults.clear()
    home.load()
    assert home.table() == expected(world)


@pytest.mark.parametrize(("status", "lost"), [(410, True), (422, True), (402, False), (500, False)])
def test_load_of_a_log_that_is_refused_for_good_loses_the_run_unless_it_changes(
    home: LoadEnv, world: FakeKomos, status: int, lost: bool
) -> None:
    task = world.add_task("Orders")
    run_id, other = add_finished_run(world, task), add_finished_run(world, task)
    home.emulator.faults.add(f"{run_id}/logs", "status", status=status)
    for _ in range(3):
        assert home.load(give_up_after=0).exit_code == 3
    home.emulator.requests.clear()
    assert home.load(give_up_after=0).exit_code == (0 if lost else 3)
    assert (home.emulator.count(f"{run_id}/logs") == 0) is lost
    assert outcome(home, run_id) == ("lost" if lost else "failed")
    assert outcome(home, other) == "ok"
    world.finish(run_id, "FAILED")
    home.emulator.faults.clear()
    assert home.load(give_up_after=0).exit_code == 0
    assert home.table() == expected(world)


@pytest.mark.parametrize("ahead", [timedelta(minutes=11), timedelta(days=9)])
def test_load_with_a_servers_clock_that_is_ahead_does_not_settle_a_run_too_early(
    home: LoadEnv, world: FakeKomos, ahead: timedelta
) -> None:
    real = datetime.now(UTC)
    world.clock.set(real + ahead)
    run_id = world.add_run(world.add_task("Orders"), created_at=real - timedelta(hours=1))
    world.append(run_id, {"timestamp": iso(real - timedelta(minutes=1))})
    world.finish(run_id, at=real - timedelta(seconds=30))
    home.load()
    world.append(run_id, {"timestamp": iso(real - timedelta(seconds=40)), "message": "late"})
    home.load()
    assert home.table() == expected(world)


def test_load_with_an_answer_that_holds_fewer_entries_than_known_does_not_settle_the_run(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    now = world.clock.now()
    world.append(run_id, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(60)))
    short = world.log_body(run_id)
    world.append(run_id, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(60, 100)))
    home.load()
    world.append(run_id, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(100, 120)))
    world.finish(run_id, at=now + timedelta(minutes=2))
    world.clock.advance(timedelta(minutes=14))
    home.emulator.faults.add("/logs", "body", body=short, times=1)
    assert home.load().exit_code == 0
    assert home.value("SELECT settled FROM task_run_log_loads") is False
    home.load()
    assert home.value("SELECT settled FROM task_run_log_loads") is True
    assert home.table() == expected(world)


def test_load_of_a_run_that_was_started_again_under_its_id_reads_it_again(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = add_finished_run(world, world.add_task("Orders"))
    home.load()
    world.finish(run_id, "RUNNING", at=None)
    world.append(run_id, {"message": "of the second start"})
    home.load()
    assert home.table() == expected(world)
    assert home.value("SELECT status FROM task_runs") == "RUNNING"
    world.append(run_id, {"message": "the end"})
    world.finish(run_id, "FAILED")
    world.clock.advance(timedelta(hours=1))
    home.load()
    assert home.table() == expected(world)
    assert home.rows("SELECT status FROM task_runs") == [("FAILED",)]
    home.emulator.requests.clear()
    home.load()
    assert home.emulator.count("/logs") == 0


def test_load_of_a_run_with_an_undocumented_status_and_an_end_settles_it_and_names_it_once(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = add_finished_run(world, world.add_task("Orders"))
    world.finish(run_id, "TIMED_OUT", at=world.clock.now() - timedelta(hours=1))
    report = home.load()
    assert "'TIMED_OUT'" in report.problems[0]
    assert home.value("SELECT settled FROM task_run_log_loads") is True
    assert home.load().exit_code == 0


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00"])
@pytest.mark.parametrize("status", ["RUNNING", "COMPLETED"])
def test_load_of_a_run_that_ended_in_year_1_does_not_settle_it_by_that(
    home: LoadEnv, world: FakeKomos, zero: str, status: str
) -> None:
    run_id = world.add_run(world.add_task("Orders"), status=status)
    world.append(run_id, {})
    run = world.run(run_id)
    assert run
    run["timestamps"]["finishedAt"] = zero
    home.emulator.faults.add("/runs", "body", body=json.dumps({"runs": [run]}).encode())
    home.load()
    world.append(run_id, {"message": "later"})
    home.load()
    assert home.table() == expected(world)


def test_load_with_a_list_that_is_empty_once_records_no_gap_and_reads_no_log_again(
    home: LoadEnv, world: FakeKomos
) -> None:
    task = world.add_task("Orders")
    for hours in range(50):
        add_finished_run(world, task, age_hours=24 + hours)
    home.load()
    home.emulator.faults.add("/runs", "body", body=b'{"runs": []}', times=1)
    home.emulator.requests.clear()
    for _ in range(2):
        report = home.load()
        assert (report.window_gaps, report.exit_code) == (0, 0)
    assert home.emulator.count("/logs") == 0
    assert home.value("SELECT COUNT(*) FROM task_run_window_gaps") == 0


def test_load_with_one_odd_list_loads_the_other_tasks(home: LoadEnv, world: FakeKomos) -> None:
    odd, good = world.add_task("Odd"), world.add_task("Good")
    add_finished_run(world, odd)
    run_id = add_finished_run(world, good)
    home.emulator.faults.add(f"{odd}/runs", "body", body=b'{"runs": 7}')
    assert home.load().exit_code == 3
    assert {found for found, _ in home.table()} == {run_id}


def test_full_refresh_of_a_named_run_loads_rows_that_were_deleted(
    home: LoadEnv, world: FakeKomos
) -> None:
    run = add_finished_run(world, world.add_task("Orders"))
    home.load(run_ids=[run])
    home.rows("DELETE FROM task_run_logs")
    home.load(run_ids=[run], full_refresh=True)
    assert home.table() == expected(world)


def test_lost_run_that_was_read_by_id_is_read_by_later_loads(
    home: LoadEnv, world: FakeKomos
) -> None:
    run = world.add_run(world.add_task("Orders"))
    world.append(run, {})
    home.emulator.faults.add("/logs", "status", status=410)
    for _ in range(3):
        home.load(give_up_after=0)
    assert outcome(home, run) == "lost"
    home.emulator.faults.clear()
    home.load(run_ids=[run])
    world.append(run, {})
    assert home.load().exit_code == 0
    assert home.table() == expected(world)
