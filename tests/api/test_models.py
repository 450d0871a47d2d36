from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.api.models import (
    Run,
    Task,
    is_task_id,
    parse_json,
    parse_run,
    parse_runs,
    parse_task_page,
)
from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.tables import TASK_RUNS, TASKS

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"


def run_of(**fields: Any) -> Run:
    (run,), skipped = parse_runs(json.dumps({"runs": [{"id": RUN, **fields}]}).encode(), "task")
    assert skipped == []
    return run


def task_of(**fields: Any) -> Task:
    page = parse_task_page(json.dumps({"tasks": [{"id": "task", **fields}]}).encode())
    assert page.skipped == []
    return page.tasks[0]


def test_parse_runs_reads_the_documented_fields() -> None:
    run = run_of(
        taskId="other",
        status="COMPLETED",
        triggerType="api",
        timestamps={"createdAt": "2025-10-14T18:22:03.489Z", "startedAt": None},
        progress={"currentStep": 1, "stepsTotal": 2},
        inputs={"a": 1},
        outputs={},
        logsUrl="/logs",
        error="text",
        cancelReason=None,
    )
    assert run == Run(
        id=RUN,
        task_id="other",
        status="COMPLETED",
        trigger_type="api",
        created_at=datetime(2025, 10, 14, 18, 22, 3, 489000, UTC),
        started_at=None,
        finished_at=None,
        progress_current_step=1,
        progress_steps_total=2,
        inputs='{"a":1}',
        outputs="{}",
        logs_url="/logs",
        error='"text"',
        cancel_reason=None,
        extra=None,
    )


def test_parse_runs_keeps_undocumented_fields_in_extra() -> None:
    run = run_of(priority=1, timestamps={"queuedAt": "now"}, progress={"percent": 30.5})
    assert json.loads(run.extra or "") == {
        "priority": 1,
        "timestamps": {"queuedAt": "now"},
        "progress": {"percent": 30.5},
    }


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**63, True, 1.5, "1", None, [], 10**4000])
def test_parse_runs_with_an_odd_number_keeps_the_run(number: Any) -> None:
    assert run_of(progress={"currentStep": number}).progress_current_step is None


def test_parse_runs_with_a_number_too_long_for_python_keeps_the_run() -> None:
    body = f'{{"runs": [{{"id": "{RUN}", "progress": {{"currentStep": 1{"0" * 5000}}}}}]}}'
    (run,), _ = parse_runs(body.encode(), "task")
    assert run.progress_current_step is None


@pytest.mark.parametrize(
    "text",
    ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z", "99999-01-01", "", "soon", 5, None, {}],
)
def test_parse_runs_with_an_odd_date_keeps_the_run(text: Any) -> None:
    assert run_of(timestamps={"finishedAt": text}).finished_at is None


@pytest.mark.parametrize("field", ["inputs", "outputs", "error", "status", "unknown"])
def test_parse_runs_with_a_deeply_nested_value_keeps_the_other_fields(field: str) -> None:
    nested = "[" * 800 + "]" * 800
    body = f'{{"runs": [{{"id": "{RUN}", "logsUrl": "/logs", "{field}": {nested}}}]}}'
    (run,), skipped = parse_runs(body.encode(), "task")
    assert (run.logs_url, skipped) == ("/logs", [])


@pytest.mark.parametrize("bad", [None, 1, "x", [], {}, {"id": None}, {"id": "x"}, {"id": 1}])
def test_parse_runs_with_an_odd_member_returns_the_others(bad: Any) -> None:
    body = json.dumps({"runs": [bad, {"id": RUN.upper()}]}).encode()
    runs, skipped = parse_runs(body, "task 1")
    assert [run.id for run in runs] == [RUN]
    assert len(skipped) == 1
    assert skipped[0].startswith("a run of task task 1 has been skipped: ")


@pytest.mark.parametrize("body", [b"{}", b"[]", b"1", b'{"runs": {}}', b'{"runs": "x"}'])
def test_parse_runs_without_a_list_is_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_runs(body, "task")


def test_parse_runs_of_null_is_empty() -> None:
    assert parse_runs(b'{"runs": null}', "task") == ([], [])


def test_parse_run_of_another_run_is_an_error() -> None:
    with pytest.raises(AnswerError, match="another run"):
        parse_run(json.dumps({"run": {"id": RUN}}).encode(), RUN.replace("9", "8"))


def test_parse_task_page_keeps_all_other_fields_in_extra() -> None:
    task = task_of(name="Orders", status="READY", schedule={"every": 30}, owner=None)
    assert (task.name, task.status) == ("Orders", "READY")
    assert json.loads(task.extra or "") == {"schedule": {"every": 30}, "owner": None}
    assert task_of(name="Orders").extra is None


def test_parse_task_page_with_thousands_of_fields_returns_one_row() -> None:
    task = task_of(**{f"field_{number}": number for number in range(3_000)})
    assert len(TASKS.from_rows([asdict(task)]).column_names) == 4


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        ("a", True),
        ("a/b c", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("", False),
        (".", False),
        ("..", False),
        ("a\x00", False),
        ("a\ud800", False),
        (None, False),
        (1, False),
    ],
)
def test_is_task_id_refuses_what_no_path_or_index_can_hold(value: Any, usable: bool) -> None:
    assert is_task_id(value) == usable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
run_fields = st.sampled_from(
    ["id", "taskId", "status", "timestamps", "progress", "inputs", "error", "logsUrl", "more"]
)
task_fields = st.sampled_from(["id", "name", "status", "more"])


@given(st.lists(st.dictionaries(run_fields, json_values) | json_values, max_size=4))
def test_parse_runs_of_any_members_returns_storable_rows(members: list[Any]) -> None:
    runs, skipped = parse_runs(json.dumps({"runs": [*members, {"id": RUN}]}).encode(), "task")
    assert len(runs) + len(skipped) == len(members) + 1
    TASK_RUNS.from_rows([asdict(run) for run in runs])
    for text in (run.extra for run in runs if run.extra):
        json.loads(text, parse_constant=lambda _: pytest.fail("not JSON"))


@given(st.lists(st.dictionaries(task_fields, json_values) | json_values, max_size=4))
def test_parse_task_page_of_any_members_returns_storable_rows(members: list[Any]) -> None:
    page = parse_task_page(json.dumps({"tasks": [*members, {"id": "task"}]}).encode())
    assert len(page.tasks) + len(page.skipped) == len(members) + 1
    TASKS.from_rows([asdict(task) for task in page.tasks])


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[" * 100_000, b"\xff"])
def test_parse_json_of_something_else_is_an_error_that_shows_its_beginning(body: bytes) -> None:
    with pytest.raises(NotJsonError) as caught:
        parse_json(body)
    assert len(str(caught.value)) < 400
    assert caught.value.__cause__ is None
