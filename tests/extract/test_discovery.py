"""Which runs are read, when a run has ended, and which may have been missed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from komos_source.api.client import KomosClient
from komos_source.api.models import Answer, Run, Task, TaskPage, parse_run
from komos_source.exceptions import NotVisibleError, RequestError
from komos_source.extract.discovery import (
    Discovery,
    discover,
    ended_at,
    has_gap,
    is_due,
    named_runs,
    new_statuses,
    next_window,
    track,
)
from komos_source.extract.options import Choice, check_selection
from komos_source.extract.state import State, StateChanges, TrackedRun, Window, outcome_digest
from komos_source.settings import RUNS_WINDOW
from komos_source.shard import Shard

NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = Choice(None, None, None)


def id_of(number: int) -> str:
    return f"9c77d908-7bf4-4e7f-9a20-{number:012d}"


def make_run(
    number: int,
    status: str | None = "COMPLETED",
    finished: datetime | None = NOW,
    created: datetime = NOW - HOUR,
) -> Run:
    times = {"createdAt": created.isoformat(), "finishedAt": finished and finished.isoformat()}
    body = {"id": id_of(number), "taskId": "task", "status": status, "timestamps": times}
    return parse_run(json.dumps({"run": body}).encode(), id_of(number))


class Api:
    """The answers of one moment, without HTTP: an exception is raised, anything else answered."""

    def __init__(
        self,
        lists: dict[str, Any],
        runs: dict[str, Any] | None = None,
        page: TaskPage | None = None,
    ) -> None:
        tasks = [Task(task_id, None, None, None) for task_id in lists]
        self.lists, self.runs, self.page = lists, runs or {}, page or TaskPage(tasks, None, [])
        self.looked_up: list[str] = []

    async def tasks(self) -> Any:
        yield self.page

    async def task_runs(self, task_id: str) -> Any:
        return self._answer(self.lists[task_id])

    async def task_run(self, run_id: str) -> Any:
        self.looked_up.append(run_id)
        return self._answer(self.runs[run_id])

    def _answer(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return Answer(value, NOW, [])


def look(api: Api, state: State | None = None, choice: Choice = ALL) -> Discovery:
    return asyncio.run(discover(cast(KomosClient, api), state or State(), choice))


def window(*runs: Run) -> Window:
    return next_window(None, runs)


def targets(found: Discovery) -> list[str]:
    return [target.run_id for target in found.targets]


SETTLED = State({"task": window(make_run(1), make_run(2))}, {id_of(2): TrackedRun("task")})
"""Run 1 is settled, run 2 is not."""


@pytest.mark.parametrize(
    ("listed", "read"),
    [
        ([make_run(1), make_run(2)], [2]),
        ([make_run(3), make_run(1), make_run(2)], [3, 2]),
        ([make_run(1, "RUNNING", None), make_run(2)], [1, 2]),
        ([make_run(1, "FAILED"), make_run(2)], [1, 2]),
        ([make_run(1, finished=NOW + HOUR), make_run(2)], [1, 2]),
    ],
    ids=["unchanged", "new run", "started again", "other status", "other end"],
)
def test_discover_reads_runs_that_are_new_unsettled_or_changed(
    listed: list[Run], read: list[int]
) -> None:
    assert targets(look(Api({"task": listed}), SETTLED)) == [id_of(number) for number in read]


def test_discover_of_a_run_that_started_again_reads_its_log_from_the_beginning() -> None:
    (target, _) = look(Api({"task": [make_run(1, "RUNNING", None), make_run(2)]}), SETTLED).targets
    assert target.cursor is None
    assert target.tracked
    assert target.tracked.finished_at is None


def test_discover_since_a_time_tracks_older_runs_without_reading_them() -> None:
    old = make_run(1, created=NOW - 48 * HOUR)
    found = look(Api({"task": [make_run(2), old]}), choice=Choice(None, None, NOW - 2 * HOUR))
    assert targets(found) == [id_of(2)]
    assert found.changes.tracked.keys() == {id_of(1), id_of(2)}


def test_discover_looks_up_running_runs_that_left_their_list_and_reads_all_that_did() -> None:
    left = {id_of(8): TrackedRun("task"), id_of(9): TrackedRun("task", finished_at=NOW)}
    api = Api({"task": [make_run(1)]}, {id_of(8): make_run(8)})
    found = look(api, State(tracked=left))
    assert api.looked_up == [id_of(8)]
    assert targets(found) == [id_of(1), id_of(8), id_of(9)]
    assert [run.id for run in found.looked_up] == [id_of(8)]
    assert found.changes.tracked[id_of(8)].finished_at == NOW
    assert found.runs_seen == 3


def test_discover_of_chosen_tasks_leaves_runs_of_others_alone() -> None:
    state = State(tracked={id_of(8): TrackedRun("other"), id_of(9): TrackedRun(None)})
    found = look(Api({"task": [make_run(1)]}), state, Choice(None, ["task"], None))
    assert targets(found) == [id_of(1)]
    assert not found.tasks


@pytest.mark.parametrize("error", [RequestError("500", 500), OverflowError("odd"), KeyError("x")])
def test_discover_with_one_list_that_fails_reports_it_and_reads_the_others(
    error: Exception,
) -> None:
    found = look(Api({"bad": error, "task": [make_run(1)]}))
    assert targets(found) == [id_of(1)]
    assert "task bad could not be listed" in found.problems[0]
    assert found.changes.windows.keys() == {"task"}


def test_discover_with_one_run_that_cannot_be_looked_up_reports_it_and_reads_the_others() -> None:
    error = NotVisibleError("404", 404)
    api = Api({"task": [make_run(1)]}, {id_of(8): error})
    found = look(api, State(tracked={id_of(8): TrackedRun("task")}))
    assert targets(found) == [id_of(1)]
    ((target, why),) = found.failed
    assert (target.run_id, target.listed, why) == (id_of(8), False, error)


@pytest.mark.parametrize(
    ("task_id", "listed"), [("task", False), ("bad", True), (None, True), ("deleted", False)]
)
def test_discover_takes_a_run_as_listed_where_the_list_could_not_be_read(
    task_id: str | None, listed: bool
) -> None:
    state = State(tracked={id_of(8): TrackedRun(task_id, finished_at=NOW)})
    found = look(Api({"task": [], "bad": RequestError("500", 500)}), state)
    (target,) = found.targets
    assert target.listed is listed


def test_discover_with_an_empty_list_keeps_the_window_and_reads_nothing_again() -> None:
    found = look(Api({"task": []}), State({"task": window(make_run(1))}))
    assert found.changes.windows["task"] == window(make_run(1))
    full = [make_run(number) for number in range(RUNS_WINDOW)]
    state = State({"task": window(*full)})
    empty = look(Api({"task": []}), state)
    again = look(Api({"task": full}), replace(state, windows=empty.changes.windows))
    assert (again.gaps, again.targets) == ([], [])


def test_discover_forgets_a_task_that_no_list_has_shown_for_a_week() -> None:
    gone = window(make_run(1))
    first = look(Api({"task": []}), State(windows={"gone": gone}))
    noted = first.changes.windows["gone"]
    assert noted.missing_since is not None
    assert first.changes.forgotten == set()
    again = look(Api({"task": []}), State(windows={"gone": noted}))
    assert "gone" not in again.changes.windows
    assert again.changes.forgotten == set()
    long_ago = replace(gone, missing_since=noted.missing_since - timedelta(days=7))
    assert look(Api({"task": []}), State(windows={"gone": long_ago})).changes.forgotten == {"gone"}
    back = look(Api({"gone": [make_run(1)]}), State(windows={"gone": long_ago}))
    assert back.changes.windows["gone"].missing_since is None
    assert back.changes.forgotten == set()


@pytest.mark.parametrize("lists", [{}, None], ids=["no tasks", "an odd list"])
def test_discover_forgets_no_task_if_the_list_may_be_incomplete(lists: Any) -> None:
    long_ago = replace(window(make_run(1)), missing_since=NOW - timedelta(days=700))
    api = Api(lists or {})
    if lists is None:
        page = TaskPage([Task("task", None, None, None)], 5, ["the API lists 1 tasks, not 5"])
        api = Api({"task": []}, page=page)
    assert look(api, State(windows={"gone": long_ago})).changes.forgotten == set()


def test_discover_reports_an_undocumented_status_once() -> None:
    api = Api({"task": [make_run(1, "TIMED_OUT"), make_run(2, "TIMED_OUT")]})
    found = look(api)
    assert len(found.problems) == 1
    assert "'TIMED_OUT'" in found.problems[0]
    assert not look(api, State(statuses=found.changes.statuses)).problems


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [
        (range(50), range(50, 100), True),
        (range(50), range(49, 99), False),
        (range(50), range(50, 99), False),
        (range(1), range(1, 51), True),
        (range(0), range(50), True),
    ],
    ids=["disjoint", "one in common", "not full", "after one", "after none"],
)
def test_has_gap_if_a_full_list_shares_no_run_with_the_one_before(
    before: range, after: range, gap: bool
) -> None:
    known = window(*(make_run(number) for number in before))
    runs = [make_run(number) for number in after]
    assert has_gap(known, runs, len(runs)) is gap


def test_has_gap_counts_runs_of_the_list_that_cannot_be_used() -> None:
    known = window(*(make_run(number) for number in range(50)))
    assert has_gap(known, [make_run(number) for number in range(50, 99)], 50)


@pytest.mark.parametrize(
    ("status", "finished", "known", "end"),
    [
        ("COMPLETED", NOW, None, NOW),
        ("CANCELLED", None, None, "served"),
        ("FAILED", None, NOW, NOW),
        ("RUNNING", None, None, None),
        ("RUNNING", NOW, None, None),
        ("PENDING", None, NOW, None),
        ("TIMED_OUT", NOW, None, NOW),
        ("PAUSED", None, None, None),
        (None, NOW, None, NOW),
        ("COMPLETED", datetime(1, 1, 1, tzinfo=UTC), None, "served"),
        ("COMPLETED", datetime(1970, 1, 1, tzinfo=UTC), None, "served"),
        ("COMPLETED", NOW - 2 * HOUR, NOW, NOW),
        ("TIMED_OUT", NOW - 2 * HOUR, None, None),
        ("COMPLETED", NOW - HOUR, None, NOW - HOUR),
    ],
)
def test_ended_at(
    status: str | None, finished: datetime | None, known: datetime | None, end: Any
) -> None:
    served_at = NOW + HOUR
    found = ended_at(make_run(1, status, finished), known, served_at)
    assert found == (served_at if end == "served" else end)


def test_track_keeps_what_is_known_and_notes_when_the_end_changed() -> None:
    known = TrackedRun("task", changed_at=NOW - HOUR, checked_at=NOW, failed_loads=2)
    running = track(make_run(1, "RUNNING", None), known, NOW, NOW)
    assert (running.changed_at, running.checked_at, running.failed_loads) == (NOW - HOUR, NOW, 2)
    assert track(make_run(1), known, NOW, NOW).changed_at == NOW
    assert track(make_run(1), None, NOW, NOW).changed_at == NOW


@pytest.mark.parametrize(
    ("quiet_hours", "hours_since_check", "due"),
    [
        (0.5, 0.001, True),
        (2, 0.05, False),
        (2, 0.11, True),
        (480, 23.9, False),
        (480, 24.1, True),
        (480, -1, True),
    ],
)
def test_is_due_ever_more_rarely_the_longer_nothing_has_changed(
    quiet_hours: float, hours_since_check: float, due: bool
) -> None:
    run = TrackedRun("task", checked_at=NOW, changed_at=NOW - quiet_hours * HOUR)
    assert is_due(run, NOW + hours_since_check * HOUR) is due


def test_is_due_if_the_last_attempt_failed_or_there_was_none() -> None:
    assert is_due(TrackedRun("task"), NOW)
    assert is_due(TrackedRun("task", changed_at=NOW - 480 * HOUR), NOW)


def test_new_statuses_is_bounded_in_number_and_length() -> None:
    runs = [make_run(number, f"S{number}" + "x" * 1000) for number in range(300)]
    found = new_statuses(runs, set())
    assert len(found) == 100
    assert max(map(len, found)) == 50
    assert not new_statuses(runs, set(map(str, range(100))))
    assert not new_statuses([make_run(1), make_run(2, "RUNNING"), make_run(3, None)], set())


def test_named_runs_are_read_from_where_they_were_left_whatever_is_known() -> None:
    state = State(tracked={id_of(1): TrackedRun("task")})
    found = named_runs([id_of(1), id_of(2)], state)
    assert targets(found) == [id_of(1), id_of(2)]
    assert found.changes == StateChanges()
    assert all(target.tracked is None for target in found.targets)


def test_discover_of_chosen_tasks_in_other_shards_requests_nothing() -> None:
    state = State(tracked={id_of(1): TrackedRun("task", finished_at=NOW)})
    shard = next(Shard(bucket, 2) for bucket in (0, 1) if not Shard(bucket, 2).holds("other"))
    elsewhere = check_selection(None, ["other"], None, shard)
    assert look(Api({}), state, elsewhere).targets == []
    tracked_only = check_selection(None, [], None)
    assert [each.run_id for each in look(Api({}), state, tracked_only).targets] == [id_of(1)]


def test_next_window_of_an_empty_list_keeps_the_runs_of_a_task_that_is_listed_again() -> None:
    before = replace(window(make_run(1)), missing_since=NOW)
    assert next_window(before, []) == window(make_run(1))


def test_next_window_keeps_the_newest_time_where_runs_have_none() -> None:
    before = Window({"a": "1"}, NOW)
    run = replace(make_run(1), created_at=None)
    assert next_window(before, [run]) == Window({run.id: outcome_digest(run)}, NOW)
