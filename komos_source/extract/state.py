"""What one load leaves for the next: kept in dlt's source state, in the destination.

It is a cache that makes loading cheap. A run that is in a task's window and not tracked is settled;
one that is in neither is new. Losing all of it costs requests, never data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from komos_source.extract.cursor import RunCursor
from komos_source.settings import GIVEN_CURSORS

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Window:
    """A task's list of runs as last seen.

    Attributes:
        run_ids: At most 50.
        newest_created_at: When the newest of them was created.
    """

    run_ids: frozenset[str]
    newest_created_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run that is not settled.

    Attributes:
        task_id: Its task.
        created_at: When it was created.
        finished_at: When it ended, once that is known.
        cursor: How far its log has been loaded; None if it never was.
    """

    task_id: str | None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    cursor: RunCursor | None = None


@dataclass(slots=True)
class Changes:
    """What the rows of one batch change in the state.

    Attributes:
        tasks: Digests of tasks as seen now.
        windows: Lists of runs as seen now.
        tracked: Runs to track, in place of what was known of them.
        settled: Runs to track no longer.
        given: Cursors of runs that were named by id.
    """

    tasks: dict[str, str] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    tracked: dict[str, TrackedRun] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    given: dict[str, RunCursor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The state as values; made from, and applied to, dlt's dict of JSON values.

    Attributes:
        tasks: Digests of tasks as loaded, by task id.
        windows: By task id.
        tracked: By run id.
        given: Cursors of runs that were named by id, by run id, oldest first.
    """

    tasks: dict[str, str] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    tracked: dict[str, TrackedRun] = field(default_factory=dict)
    given: dict[str, RunCursor] = field(default_factory=dict)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `apply` wrote; anything else (a newer version's) counts as nothing known."""
        if stored.get("version") != _VERSION:
            return cls()
        return cls(
            tasks=dict(stored["tasks"]),
            windows={
                task_id: Window(frozenset(window["run_ids"]), _moment(window["newest_created_at"]))
                for task_id, window in stored["windows"].items()
            },
            tracked={
                run_id: TrackedRun(
                    task_id=run["task_id"],
                    created_at=_moment(run["created_at"]),
                    finished_at=_moment(run["finished_at"]),
                    cursor=RunCursor.from_state(run["cursor"]) if run["cursor"] else None,
                )
                for run_id, run in stored["tracked"].items()
            },
            given={
                run_id: RunCursor.from_state(cursor) for run_id, cursor in stored["given"].items()
            },
        )

    def without_cursors(self) -> State:
        """The same as if no log had been read: what a full refresh starts from."""
        tracked = {run_id: replace(run, cursor=None) for run_id, run in self.tracked.items()}
        return State(windows=self.windows, tracked=tracked)


def apply(changes: Changes, stored: MutableMapping[str, Any]) -> None:
    """Writes changes into dlt's dict."""
    if stored.get("version") != _VERSION:
        stored.clear()
        stored.update({"version": _VERSION, "tasks": {}, "windows": {}, "tracked": {}, "given": {}})
    stored["tasks"].update(changes.tasks)
    for task_id, window in changes.windows.items():
        stored["windows"][task_id] = {
            "run_ids": sorted(window.run_ids),
            "newest_created_at": _text(window.newest_created_at),
        }
    for run_id, run in changes.tracked.items():
        stored["tracked"][run_id] = {
            "task_id": run.task_id,
            "created_at": _text(run.created_at),
            "finished_at": _text(run.finished_at),
            "cursor": run.cursor.to_state() if run.cursor else None,
        }
    for run_id in changes.settled:
        stored["tracked"].pop(run_id, None)
    for run_id, cursor in changes.given.items():
        stored["given"].pop(run_id, None)  # so that it goes to the end: the oldest are in front
        stored["given"][run_id] = cursor.to_state()
    for run_id in list(stored["given"])[: max(0, len(stored["given"]) - GIVEN_CURSORS)]:
        del stored["given"][run_id]


def reset_cursors(run_ids: Iterable[str], stored: MutableMapping[str, Any]) -> None:
    """Forgets how far runs have been loaded: the next load reads their logs as if never seen."""
    tracked = State.read(stored).tracked
    changes = Changes()
    for run_id in run_ids:
        stored["given"].pop(run_id, None)
        known = tracked.get(run_id, TrackedRun(task_id=None))
        changes.tracked[run_id] = replace(known, cursor=None)
    apply(changes, stored)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
