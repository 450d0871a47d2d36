"""What is kept between loads: values in, JSON of dlt's state out, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source import settings
from komos_source.api.models import Run, Task, parse_run
from komos_source.extract.cursor import RunCursor
from komos_source.extract.state import (
    State,
    StateChanges,
    TrackedRun,
    Window,
    apply,
    changed_runs,
    changed_tasks,
    forget,
    outcome_digest,
    reset_cursors,
)

NOW = datetime(2025, 10, 14, tzinfo=UTC)
CURSOR = RunCursor(3, NOW, 2, 2)
TRACKED = TrackedRun("task", NOW, NOW, CURSOR, NOW, NOW, NOW, 2)


def make_run(number: int, status: str = "COMPLETED", finished: str | None = None) -> Run:
    run_id = f"9c77d908-7bf4-4e7f-9a20-{number:012d}"
    body = {
        "id": run_id,
        "taskId": "task",
        "status": status,
        "timestamps": {"finishedAt": finished},
    }
    return parse_run(json.dumps({"run": body}).encode(), run_id)


def stored_after(*changes: StateChanges) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for each in changes:
        apply(each, stored)
        stored = json.loads(json.dumps(stored))
    return stored


@pytest.mark.parametrize("run", [TRACKED, TrackedRun(None), replace(TRACKED, cursor=None)])
def test_apply_then_read_gives_the_same_values(run: TrackedRun) -> None:
    changes = StateChanges(
        windows={"task": Window({"a": "1", "b": "2"}, NOW), "other": Window({}, None)},
        tracked={"a": run},
        lost={"l": run},
        by_id={"c": CURSOR},
        statuses={"PAUSED"},
        api="https://api.komos.ai",
    )
    assert State.read(stored_after(changes)) == State(
        changes.windows, changes.tracked, changes.lost, changes.by_id, {"PAUSED"}, changes.api
    )


@pytest.mark.parametrize("stored", [{}, {"version": 1, "tasks": {}}, {"version": 99}])
def test_read_of_another_version_is_an_empty_state(stored: dict[str, Any]) -> None:
    assert State.read(stored) == State()


@pytest.mark.parametrize(
    ("change", "tracked", "lost"),
    [
        (StateChanges(settled={"a"}), {}, {}),
        (StateChanges(lost={"a": TRACKED}), {}, {"a": TRACKED}),
        (StateChanges(tracked={"a": TRACKED}), {"a": TRACKED}, {}),
        (StateChanges(), {"a": TrackedRun("task")}, {}),
    ],
    ids=["settled", "lost", "tracked", "nothing"],
)
def test_apply_moves_a_run_between_tracked_settled_and_lost(
    change: StateChanges, tracked: dict[str, TrackedRun], lost: dict[str, TrackedRun]
) -> None:
    state = State.read(stored_after(StateChanges(tracked={"a": TrackedRun("task")}), change))
    assert (state.tracked, state.lost) == (tracked, lost)


def test_apply_of_a_tracked_run_that_was_lost_tracks_it_again() -> None:
    state = State.read(
        stored_after(StateChanges(lost={"a": TRACKED}), StateChanges(tracked={"a": TRACKED}))
    )
    assert (state.tracked, state.lost) == ({"a": TRACKED}, {})


def test_apply_keeps_a_bounded_number_of_lost_runs_and_of_cursors_by_id() -> None:
    names = [str(number) for number in range(settings.MAX_KEPT_RUNS + 5)]
    first = StateChanges(lost=dict.fromkeys(names, TRACKED), by_id=dict.fromkeys(names, CURSOR))
    state = State.read(stored_after(first, StateChanges(by_id={"5": CURSOR, "new": CURSOR})))
    assert list(state.lost) == names[5:]
    assert list(state.by_id) == [*names[7:], "5", "new"]


def test_forget_drops_what_is_kept_of_a_task() -> None:
    stored: dict[str, Any] = {}
    changes = StateChanges(windows={"a": Window({}, NOW, missing_since=NOW), "b": Window({}, NOW)})
    apply(changes, stored)
    assert State.read(stored).windows == changes.windows
    apply(StateChanges(forgotten={"a", "unknown"}), stored)
    assert State.read(stored).windows.keys() == {"b"}
    for stored in ({"digests": {"a": 1, "b": 2}}, {"filled": {"a": 1, "b": 2}}):
        forget({"a", "unknown"}, stored)
        assert [*stored.values()] == [{"b": 2}]
    forget({"a"}, {})


def test_settled_in_gives_the_runs_of_the_window_that_are_not_tracked() -> None:
    state = State({"task": Window({"a": "1", "b": "2"}, NOW)}, {"a": TRACKED, "c": TRACKED})
    assert state.settled_in("task") == {"b": "2"}
    assert state.settled_in("unknown") == {}


def test_without_logs_of_some_tasks_leaves_the_others() -> None:
    window = Window({"a": "1"}, NOW)
    tracked = {"x": TRACKED, "y": replace(TRACKED, task_id="other")}
    state = State({"task": window, "other": window}, tracked, lost={"l": TRACKED})
    after = state.without_logs({"task"})
    assert after.windows == {"task": Window({"a": ""}, NOW), "other": window}
    assert after.tracked == {"x": replace(TRACKED, cursor=None), "y": tracked["y"]}
    assert after.lost == state.lost


def test_without_logs_of_all_tasks_tracks_lost_runs_again() -> None:
    after = State(tracked={"x": TRACKED}, lost={"l": TRACKED}).without_logs()
    assert after.tracked == dict.fromkeys(["x", "l"], replace(TRACKED, cursor=None))


def test_reset_cursors_makes_runs_be_read_whole_whatever_was_known() -> None:
    stored = stored_after(StateChanges(tracked={"a": TRACKED}, by_id={"a": CURSOR, "b": CURSOR}))
    reset_cursors(["a", "b", "c"], stored)
    state = State.read(stored)
    nothing = TrackedRun(None)
    assert state.tracked == {"a": replace(TRACKED, cursor=None), "b": nothing, "c": nothing}
    assert not state.by_id


def test_changed_tasks_gives_each_version_of_a_task_once() -> None:
    stored: dict[str, Any] = {}
    first, second = Task("a", "A", None, None), Task("b", "B", None, None)
    assert changed_tasks([first, second], stored) == [first, second]
    assert changed_tasks([first, second], stored) == []
    renamed = replace(first, name="C")
    assert changed_tasks([renamed], stored) == [renamed]
    assert changed_tasks([], stored) == changed_tasks([second], stored) == []


def test_changed_runs_gives_each_version_of_a_run_once() -> None:
    stored: dict[str, Any] = {}
    runs = [make_run(1, "RUNNING"), make_run(2)]
    assert changed_runs({"task": runs}, stored) == runs
    assert changed_runs({"task": runs}, stored) == []
    ended = make_run(1)
    assert changed_runs({"task": [make_run(3), ended, runs[1]]}, stored) == [make_run(3), ended]
    assert changed_runs({"task": []}, stored) == []
    assert changed_runs({"task": [ended]}, stored) == []
    assert len(stored["digests"]["task"]) == 1  # bounded by the list


def test_outcome_digest_differs_with_status_and_end_only() -> None:
    end = "2025-10-14T18:00:00Z"
    ended = outcome_digest(make_run(1, finished=end))
    assert outcome_digest(make_run(2, finished=end)) == ended
    later = (datetime.fromisoformat(end) + timedelta(seconds=1)).isoformat()
    others = (make_run(1, finished=later), make_run(1), make_run(1, "RUNNING", end))
    assert len({ended, *map(outcome_digest, others)}) == 4
