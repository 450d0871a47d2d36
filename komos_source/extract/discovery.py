"""Tasks -> runs -> which logs to read; and which runs may have slipped by unseen."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from komos_source.api.client import Answer, KomosClient
from komos_source.api.models import Run
from komos_source.exceptions import RequestError
from komos_source.extract.cursor import RunCursor
from komos_source.extract.state import State, TrackedRun, Window
from komos_source.metrics import LoadMetrics
from komos_source.settings import RUNS_WINDOW
from komos_source.shard import Shard

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """A log to read.

    Attributes:
        run_id: The run.
        tracked: What is known of it; None for a run that was named by id.
        cursor: How far its log has been loaded.
        failure: Why its log cannot be read: that the run itself could not be fetched.
    """

    run_id: str
    tracked: TrackedRun | None
    cursor: RunCursor | None
    failure: RequestError | None = None


@dataclass(slots=True)
class Discovery:
    """What one look at tasks and runs found.

    Attributes:
        tasks: Rows of ``tasks`` that are new or have changed.
        digests: Their digests, by task id.
        runs: Runs whose row is new or may have changed.
        gaps: Rows of ``task_run_window_gaps``.
        windows: Each listed task's runs as seen now.
        tracked: Runs that are not settled.
        targets: Logs to read.
    """

    tasks: list[dict[str, Any]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    windows: dict[str, Window] = field(default_factory=dict)
    tracked: dict[str, TrackedRun] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


def named_targets(run_ids: Sequence[str], state: State) -> Iterable[Target]:
    """Logs of runs named by id: read each time they are named, whatever is known of them."""
    for run_id in run_ids:
        tracked = state.tracked.get(run_id)
        cursor = state.given.get(run_id) or (tracked.cursor if tracked else None)
        yield Target(run_id, None, cursor)


async def discover(
    client: KomosClient,
    state: State,
    metrics: LoadMetrics,
    *,
    task_ids: Sequence[str] | None = None,
    since: datetime | None = None,
    full_refresh: bool = False,
    shard: Shard | None = None,
) -> Discovery:
    """Lists runs and decides whose logs to read.

    Args:
        client: The API.
        state: What earlier loads left.
        metrics: Told of tasks that cannot be listed, and of gaps.
        task_ids: Only these tasks; None for all of the organisation.
        since: Runs created before are tracked, but their logs are not read now.
        full_refresh: Read settled runs too, as far as they are visible.
        shard: Only the tasks in this bucket; None for all.

    Raises:
        RequestError: The tasks cannot be listed.
    """
    found = Discovery()
    wanted = task_ids
    if wanted is None:
        pages = [page async for page in client.tasks()]
        metrics.problems += [problem for page in pages for problem in page.odd]
        tasks = {
            task.id: task.to_row()
            for page in pages
            for task in page.tasks
            if shard is None or shard.holds(task.id)
        }
        for task_id, task in tasks.items():
            if state.tasks.get(task_id) != (digest := _digest(task)):
                found.tasks.append(task)
                found.digests[task_id] = digest
        wanted = list(tasks)
    for task_id, listing in zip(wanted, await _gather(client.task_runs, wanted), strict=True):
        if isinstance(listing, RequestError):
            metrics.problems.append(f"the runs of task {task_id} could not be listed: {listing}")
        else:
            metrics.problems += listing.odd
            _take_listing(found, task_id, listing, state, full_refresh=full_refresh)
    followed = {
        run_id: run
        for run_id, run in state.tracked.items()
        if run_id not in found.tracked and (task_ids is None or run.task_id in task_ids)
    }
    failures = await _follow(client, found, followed)
    found.targets = [
        Target(run_id, run, run.cursor, failures.get(run_id))
        for run_id, run in found.tracked.items()
        if since is None or run.created_at is None or run.created_at >= since
    ]
    metrics.window_gaps += len(found.gaps)
    metrics.runs_seen = len(
        set[str]().union(*(w.run_ids for w in found.windows.values()), followed)
    )
    return found


def _digest(task: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:16]


def _take_listing(
    found: Discovery,
    task_id: str,
    listing: Answer[list[Run]],
    state: State,
    *,
    full_refresh: bool,
) -> None:
    """Takes one task's list of runs into the findings."""
    runs = listing.value
    before = state.windows.get(task_id)
    settled = before.run_ids - state.tracked.keys() if before and not full_refresh else frozenset()
    for run in runs:
        if run.id not in settled:
            found.runs.append(run)
            found.tracked[run.id] = _track(run, state.tracked.get(run.id), listing.served_at)
    created = [run.created_at for run in runs if run.created_at is not None]
    if before and runs_slipped_by(before, runs):
        found.gaps.append(
            {
                "task_id": task_id,
                "detected_at": listing.served_at or datetime.now(UTC),
                "oldest_visible_at": min(created, default=None),
                "newest_known_at": before.newest_created_at,
                "runs_recovered": 0,
            }
        )
    newest = max(created, default=before.newest_created_at if before else None)
    found.windows[task_id] = Window(frozenset(run.id for run in runs), newest)


def runs_slipped_by(before: Window, runs: Sequence[Run]) -> bool:
    """Whether runs of a task may have come and gone between two looks at its list.

    A list that is full and shares no run with the one before may have had more in between.
    """
    return len(runs) >= RUNS_WINDOW and before.run_ids.isdisjoint(run.id for run in runs)


def _track(run: Run, known: TrackedRun | None, served_at: datetime | None) -> TrackedRun:
    """What to remember of a run, given what was known of it and when the API showed it."""
    finished_at = None
    if run.is_terminal:
        # An ended run without an end: it had ended when it was first seen so.
        first_seen = known.finished_at if known and known.finished_at else served_at
        finished_at = run.finished_at or first_seen
    return TrackedRun(run.task_id, run.created_at, finished_at, known.cursor if known else None)


async def _follow(
    client: KomosClient, found: Discovery, followed: dict[str, TrackedRun]
) -> dict[str, RequestError]:
    """Looks up runs that are not settled and have left their task's list.

    Returns:
        Why a run could not be looked up, by run id.
    """
    found.tracked.update(followed)
    failures: dict[str, RequestError] = {}
    running = [run_id for run_id, run in followed.items() if run.finished_at is None]
    for run_id, answer in zip(running, await _gather(client.task_run, running), strict=True):
        if isinstance(answer, RequestError):
            failures[run_id] = answer
        else:
            found.runs.append(answer.value)
            found.tracked[run_id] = _track(answer.value, followed[run_id], answer.served_at)
    return failures


async def _gather(
    fetch: Callable[[str], Awaitable[T]], ids: Sequence[str]
) -> list[T | RequestError]:
    """Fetches all concurrently. A failed request is its own result; a fatal error is raised."""

    async def attempt(identity: str) -> T | RequestError:
        try:
            return await fetch(identity)
        except RequestError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(identity)) for identity in ids]
    return [task.result() for task in tasks]
