"""Lists tasks and runs, and decides whose logs to read. Only `discover` does I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.api.models import Answer, Run, Task
from komos_source.exceptions import RequestError
from komos_source.extract.cursor import RunCursor
from komos_source.extract.failures import as_request_error
from komos_source.extract.options import Choice
from komos_source.extract.state import State, StateChanges, TrackedRun, Window, outcome_digest
from komos_source.shard import Shard

T = TypeVar("T")

_QUIET_AFTER = timedelta(seconds=settings.QUIET_AFTER)
_FORGET_AFTER = timedelta(seconds=settings.FORGET_TASK_AFTER)


@dataclass(frozen=True, slots=True)
class Target:
    """A run whose log is to be read.

    Attributes:
        run_id: The run.
        tracked: What is known of it; None for a run that was named by id.
        cursor: How far its log has been loaded.
        listed: Whether a list of runs shows it, or may show it (the list could not be read).
    """

    run_id: str
    tracked: TrackedRun | None
    cursor: RunCursor | None
    listed: bool = True


@dataclass(slots=True)
class Discovery:
    """What one look at tasks and runs found.

    Attributes:
        listed: The runs in each task's list, by task id.
        looked_up: Runs looked up one by one because they have left their task's list.
        gaps: Rows of ``task_run_window_gaps``.
        problems: What went wrong, in sentences.
        targets: Logs to read.
        failed: Runs that could not be looked up, and why.
        runs_seen: How many runs were listed or are tracked.
    """

    tasks: list[Task] = field(default_factory=list)
    listed: dict[str, list[Run]] = field(default_factory=dict)
    looked_up: list[Run] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    changes: StateChanges = field(default_factory=StateChanges)
    targets: list[Target] = field(default_factory=list)
    failed: list[tuple[Target, RequestError]] = field(default_factory=list)
    runs_seen: int = 0

    def drop_targets(self, run_ids: Set[str]) -> None:
        """Removes runs whose logs are not to be requested now; what is known of them stays."""
        self.targets = [each for each in self.targets if each.run_id not in run_ids]
        self.failed = [each for each in self.failed if each[0].run_id not in run_ids]
        for run_id in self.changes.tracked.keys() & run_ids:
            del self.changes.tracked[run_id]

    def drop_runs(self, run_ids: Set[str]) -> list[str]:
        """Removes what was found of some runs; their tasks' windows still show them.

        Returns:
            Those of them that would have been requested.
        """
        dropped = [each.run_id for each in self.targets if each.run_id in run_ids]
        self.drop_targets(run_ids)
        self.listed = {
            task_id: [run for run in runs if run.id not in run_ids]
            for task_id, runs in self.listed.items()
        }
        return dropped


def named_runs(run_ids: Sequence[str], state: State) -> Discovery:
    """Runs named by id: their logs are read each time they are named, whatever is known of them."""

    def cursor(run_id: str) -> RunCursor | None:
        tracked = state.tracked.get(run_id)
        return state.by_id.get(run_id) or (tracked.cursor if tracked else None)

    # A lost run that can be read again is tracked again.
    targets = [Target(run_id, state.lost.get(run_id), cursor(run_id)) for run_id in run_ids]
    return Discovery(targets=targets, runs_seen=len(targets))


async def discover(
    client: KomosClient, state: State, choice: Choice, shard: Shard | None = None
) -> Discovery:
    """Lists runs and decides whose logs to read.

    Args:
        client: The API.
        state: What earlier loads left.
        choice: Which tasks; and since when: older runs are tracked, but their logs not read now.
        shard: Only the tasks in this bucket; None for all.

    Raises:
        RequestError: The tasks cannot be listed.
    """
    now = datetime.now(UTC)
    found = Discovery()
    task_ids = choice.task_ids
    if task_ids is None:
        pages = [page async for page in client.tasks()]
        found.problems += [problem for page in pages for problem in page.skipped]
        tasks = {task.id: task for page in pages for task in page.tasks}
        found.tasks = [task for task in tasks.values() if not shard or shard.holds(task.id)]
        task_ids = [task.id for task in found.tasks]
        if tasks and not found.problems:  # else the list may be incomplete
            _add_missing_tasks(found.changes, state, tasks, now)
    not_listed = set()
    for task_id, listing in zip(task_ids, await _gather(client.task_runs, task_ids), strict=True):
        if isinstance(listing, RequestError):
            not_listed.add(task_id)
            found.problems.append(f"the runs of task {task_id} could not be listed: {listing}")
        else:
            found.problems += listing.skipped
            _add_list(found, state, task_id, listing, now)
    chosen = None if choice.task_ids is None or choice.tracked_only else {*choice.task_ids}
    left = {
        run_id: run
        for run_id, run in state.tracked.items()
        if run_id not in found.changes.tracked and (chosen is None or run.task_id in chosen)
    }
    in_windows = {
        run_id for task_id in found.listed for run_id in found.changes.windows[task_id].runs
    }
    found.runs_seen = len(in_windows | left.keys())

    def target(run_id: str, run: TrackedRun) -> Target:
        may_be_listed = run.task_id in not_listed or (run.task_id is None and bool(not_listed))
        return Target(run_id, run, run.cursor, listed=run_id in in_windows or may_be_listed)

    due = {run_id: run for run_id, run in left.items() if is_due(run, now)}
    running = [run_id for run_id, run in due.items() if run.finished_at is None]
    for run_id, answer in zip(running, await _gather(client.task_run, running), strict=True):
        if isinstance(answer, RequestError):
            found.failed.append((target(run_id, due.pop(run_id)), answer))
        else:
            found.looked_up.append(answer.value)
            due[run_id] = track(answer.value, due[run_id], answer.served_at, now)
    found.changes.tracked.update(due)
    found.targets = [
        target(run_id, run)
        for run_id, run in found.changes.tracked.items()
        if choice.since is None or run.created_at is None or run.created_at >= choice.since
    ]
    runs = [*(run for runs in found.listed.values() for run in runs), *found.looked_up]
    found.changes.statuses = new_statuses(runs, state.statuses)
    found.problems += [
        f"the API shows runs with the status {status!r}, which is not documented: they count as "
        "ended once they have an end"
        for status in sorted(found.changes.statuses)
    ]
    return found


def _add_list(
    found: Discovery, state: State, task_id: str, listing: Answer[list[Run]], now: datetime
) -> None:
    """Adds one task's list of runs to what was found."""
    runs, before = listing.value, state.windows.get(task_id)
    settled = state.settled_in(task_id)
    found.listed[task_id] = runs
    found.changes.tracked.update(
        (run.id, track(run, state.tracked.get(run.id), listing.served_at, now))
        for run in runs
        if settled.get(run.id) != outcome_digest(run)
    )
    if before and has_gap(before, runs, len(runs) + len(listing.skipped)):
        found.gaps.append(
            {
                "task_id": task_id,
                "detected_at": listing.served_at or now,
                "oldest_visible_at": min(_created(runs), default=None),
                "newest_known_at": before.newest_created_at,
                "runs_recovered": 0,
            }
        )
    found.changes.windows[task_id] = next_window(before, runs)


def _add_missing_tasks(
    changes: StateChanges, state: State, listed: Container[str], now: datetime
) -> None:
    """Records which known tasks the list of all tasks does not show, and since when.

    A task that comes back soon (the API's list lagged) keeps its window, and so its gaps are found.
    """
    for task_id, window in state.windows.items():
        if task_id in listed:
            continue
        if window.missing_since is None:
            changes.windows[task_id] = replace(window, missing_since=now)
        elif now - window.missing_since >= _FORGET_AFTER:
            changes.forgotten.add(task_id)


def next_window(before: Window | None, runs: Sequence[Run]) -> Window:
    """A task's window after its list has been read.

    A list that is empty once, where runs were known, is taken for a fault of the API: the window
    stays, so that the next list neither looks like a gap nor makes all logs be read again.
    """
    if before and not runs:
        return replace(before, missing_since=None)
    newest = max(_created(runs), default=before.newest_created_at if before else None)
    return Window({run.id: outcome_digest(run) for run in runs}, newest)


def has_gap(before: Window, runs: Iterable[Run], size: int) -> bool:
    """Whether runs of a task may have come and gone between two looks at its list.

    A list that is full and shares no run with the one before may have had more in between.

    Args:
        before: The list as it was.
        runs: The runs of the list as it is now.
        size: Its length, with runs that cannot be used.
    """
    return size >= settings.RUNS_WINDOW and all(run.id not in before.runs for run in runs)


def track(
    run: Run, known: TrackedRun | None, served_at: datetime | None, now: datetime
) -> TrackedRun:
    """What to keep of a run, given what was known of it and when the API showed it."""
    known = known or TrackedRun(run.task_id, changed_at=now)
    finished_at = ended_at(run, known.finished_at, served_at)
    return replace(
        known,
        task_id=run.task_id,
        created_at=run.created_at,
        finished_at=finished_at,
        changed_at=known.changed_at if finished_at == known.finished_at else now,
    )


def ended_at(run: Run, known_end: datetime | None, served_at: datetime | None) -> datetime | None:
    """When a run ended; None while it goes on.

    A run with a terminal status and no end had ended when it was first seen so. A status that is
    not documented counts as terminal if the run has an end. An end before the run's start, such as
    1970, counts as none: it would settle the run before its last entries have appeared.
    """
    if run.status in settings.OTHER_STATUSES:
        return None
    began = max((time for time in (run.created_at, run.started_at) if time), default=None)
    end = None if began and run.finished_at and run.finished_at < began else run.finished_at
    return end or known_end or served_at if run.is_terminal else end


def new_statuses(runs: Iterable[Run], known: set[str]) -> set[str]:
    """Statuses of runs that are neither documented nor known from earlier loads; bounded."""
    documented = settings.TERMINAL_STATUSES | settings.OTHER_STATUSES
    statuses = {run.status[:50] for run in runs if run.status and run.status not in documented}
    return set(sorted(statuses - known)[: settings.MAX_STATUSES - len(known)])


def is_due(run: TrackedRun, now: datetime) -> bool:
    """Whether to look up a run that has left its task's window.

    One that has not changed for long (it may never end) is looked up ever more rarely.
    """
    if run.checked_at is None or run.changed_at is None:
        return True
    quiet = run.checked_at - run.changed_at
    next_look = run.checked_at + quiet / settings.QUIET_SHARE
    return quiet < _QUIET_AFTER or not run.checked_at <= now < next_look


def _created(runs: Iterable[Run]) -> list[datetime]:
    return [run.created_at for run in runs if run.created_at is not None]


async def _gather(
    fetch: Callable[[str], Awaitable[T]], ids: Sequence[str]
) -> list[T | RequestError]:
    """Fetches all concurrently. A failed request is its own result; a fatal error is raised."""

    async def attempt(id_: str) -> T | RequestError:
        try:
            return await fetch(id_)
        except Exception as error:  # noqa: BLE001 - one task or run must not end the load
            return as_request_error(error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(id_)) for id_ in ids]
    return [task.result() for task in tasks]
