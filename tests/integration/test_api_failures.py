"""Whole loads from an API with odd values, failing resources and a rate limit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv, expected


def add_runs(world: FakeKomos, count: int = 3) -> list[str]:
    task = world.add_task("Orders")
    runs = [world.add_run(task) for _ in range(count)]
    for run in runs:
        world.append(run, {"message": "one"}, {"message": "two"})
    return runs


@pytest.mark.parametrize("step", [10**30, 10**5000], ids=["30 digits", "5000 digits"])
def test_load_with_a_progress_beyond_64_bits_loads_everything(
    home: LoadEnv, world: FakeKomos, step: int
) -> None:
    run = add_runs(world)[0]

    def set_progress(_: str, body: bytes) -> bytes:
        digits = f"1{'0' * (30 if step == 10**30 else 5000)}".encode()
        return body.replace(b'"progress": null', b'"progress": {"currentStep": %s}' % digits)

    home.emulator.faults.add("/runs", "rewrite", rewrite=set_progress)
    report = home.load()
    assert report.exit_code == 0
    assert home.table() == expected(world)
    found = home.value(f"SELECT progress_current_step FROM task_runs WHERE id = '{run}'")
    assert found is None


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999999 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0100"]
)
def test_load_with_a_date_beyond_the_calendar_loads_everything(
    home: LoadEnv, world: FakeKomos, date: str
) -> None:
    run = add_runs(world)[0]
    home.emulator.faults.add(run, "headers", headers={"Date": date})
    assert home.load().exit_code == 0
    assert home.table() == expected(world)


@pytest.mark.parametrize("status", [401, 403])
def test_load_with_one_run_that_the_key_may_not_read_loads_the_others(
    home: LoadEnv, world: FakeKomos, status: int
) -> None:
    forbidden, *others = add_runs(world)
    home.emulator.faults.add(f"{forbidden}/logs", "status", status=status, detail="legal_hold")
    report = home.load()
    assert report.exit_code == 3
    assert list(report.failures) == [forbidden]
    assert f"{status} legal_hold" in report.failures[forbidden]
    assert {row[0] for row in home.rows("SELECT run_id FROM task_run_logs")} == set(others)


def test_load_with_several_runs_that_answer_401_at_once_loads_the_others(
    home: LoadEnv, world: FakeKomos
) -> None:
    first, second, *others = add_runs(world, 8)
    for run in (first, second):
        home.emulator.faults.add(f"{run}/logs", "status", status=401)
    report = home.load()
    assert report.failures.keys() == {first, second}
    assert {row[0] for row in home.rows("SELECT run_id FROM task_run_logs")} == set(others)


def test_load_of_named_runs_whose_first_answer_is_401_loads_the_others(
    home: LoadEnv, world: FakeKomos
) -> None:
    forbidden, other = add_runs(world, 2)
    home.emulator.faults.add(f"{forbidden}/logs", "status", status=401)
    assert home.load(run_ids=[forbidden, other]).failures.keys() == {forbidden}


def test_load_whose_check_of_the_key_fails_for_a_passing_reason_loads_the_others(
    home: LoadEnv, world: FakeKomos
) -> None:
    forbidden, *others = add_runs(world, 3)

    def fail_checks(_: str, body: bytes) -> bytes:
        home.emulator.faults.add("/tasks?limit=1", "status", status=503)
        return body

    home.emulator.faults.add("/tasks?limit=100", "rewrite", times=1, rewrite=fail_checks)
    home.emulator.faults.add(f"{forbidden}/logs", "status", status=401)
    assert home.load().failures.keys() == {forbidden}
    assert {row[0] for row in home.rows("SELECT run_id FROM task_run_logs")} == set(others)


def test_load_with_a_task_of_3000_fields_keeps_them_in_one_column(
    home: LoadEnv, world: FakeKomos
) -> None:
    fields: dict[str, Any] = {f"field_{number}": number for number in range(3_000)}
    task = world.add_task("Wide", **fields)
    add_runs(world)
    assert home.load().exit_code == 0
    assert home.table() == expected(world)
    assert json.loads(home.value(f"SELECT extra FROM tasks WHERE id = '{task}'")) == fields


def test_load_with_fields_that_change_their_type_keeps_the_columns(
    home: LoadEnv, world: FakeKomos
) -> None:
    tasks = "SELECT column_name FROM information_schema.columns WHERE table_name = 'tasks'"
    task = world.new_id()
    for every in (30, 1.5, "never", {"days": 1}):
        world.add_task("Orders", task_id=task, every=every)
        assert home.load().exit_code == 0
        assert json.loads(home.value(f"SELECT extra FROM tasks WHERE id = '{task}'")) == {
            "every": every
        }
        columns = [name for (name,) in home.rows(tasks) if not name.startswith("_dlt")]
        assert sorted(set(columns)) == ["extra", "id", "name", "status"]


def test_load_with_odd_members_of_lists_loads_the_others(home: LoadEnv, world: FakeKomos) -> None:
    add_runs(world)

    def add_task(_: str, body: bytes) -> bytes:
        answer = json.loads(body)
        return json.dumps({"tasks": [{"name": "no id"}, *answer["tasks"]]}).encode()

    def add_run(_: str, body: bytes) -> bytes:
        return json.dumps({"runs": [{"id": "odd"}, *json.loads(body)["runs"]]}).encode()

    home.emulator.faults.add("/tasks?", "rewrite", rewrite=add_task)
    home.emulator.faults.add("/runs", "rewrite", rewrite=add_run)
    report = home.load()
    assert report.exit_code == 3
    assert [problem.split(":")[0] for problem in report.problems] == [
        "a task has been skipped",
        f"a run of task {world.tasks()[0]['id']} has been skipped",
    ]
    assert home.table() == expected(world)


def test_load_below_a_rate_limit_slows_down_and_loads_everything(
    home: LoadEnv, world: FakeKomos
) -> None:
    for number in range(70):
        world.append(world.add_run(world.add_task(f"Task {number}")), {"message": "one"})
    limit = home.emulator.faults.limit_rate(60, 1.0)
    report = home.load()
    assert (report.exit_code, report.failures, report.problems) == (0, {}, ())
    assert home.table() == expected(world)
    assert report.requests == 1 + 70 + 70 + limit.refused


def test_load_with_50_failing_runs_of_one_task_reads_the_runs_of_the_next(
    home: LoadEnv, world: FakeKomos
) -> None:
    bad = add_runs(world, 50)
    good = add_runs(world, 20)
    for run in bad:
        home.emulator.faults.add(f"{run}/logs", "status", status=500)
    report = home.load()
    assert report.exit_code == 3
    assert sorted(report.failures) == sorted(bad)
    assert home.value("SELECT count(DISTINCT run_id) FROM task_run_logs") == len(good)
    assert report.requests < 2 * (3 + 50 + 20)


def test_load_from_an_api_that_goes_down_ends_soon(home: LoadEnv, world: FakeKomos) -> None:
    add_runs(world, 45)
    world.add_task("Other")
    add_runs(world, 45)
    home.emulator.faults.add("limit=100", "headers")  # the list of tasks is there
    home.emulator.faults.add("/runs", "headers")
    home.emulator.faults.add("/", "reset")
    report = home.load()
    assert report.exit_code == 3
    assert len(report.failures) == 90
    assert report.requests < 90


def test_load_with_a_body_beyond_the_limit_loads_the_others(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = add_runs(world)[0]
    world.append(large, {"message": "x" * 200_000})
    monkeypatch.setenv("SOURCES__KOMOS__MAX_BODY", "100000")
    report = home.load()
    assert report.exit_code == 3
    assert "100,000 bytes" in report.failures[large]
    assert "SOURCES__KOMOS__MAX_BODY" in report.failures[large]
    assert home.value("SELECT count(DISTINCT run_id) FROM task_run_logs") == 2


@pytest.mark.parametrize("body", [b'{"runs": null}', b'{"tasks": null}'])
def test_load_of_a_list_that_is_null_loads_nothing(
    home: LoadEnv, world: FakeKomos, body: bytes
) -> None:
    add_runs(world)
    home.emulator.faults.add("/runs" if b"runs" in body else "/tasks?", "body", body=body)
    assert home.load().exit_code == 0
