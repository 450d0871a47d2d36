"""What one load keeps for the next, in dlt's state of each resource; dlt stores it with the data.

The state is a cache that makes loading cheap. Losing it, all of it or that of one resource, costs
requests, never data. It stays bounded: runs that are not settled, and the runs in a task's window
(the list of its 50 newest runs).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Self

from komos_source.api.models import Run, Task
from komos_source.extract.cursor import RunCursor
from komos_source.settings import MAX_KEPT_RUNS
from komos_source.tables import TASK_RUNS

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Window:
    """A task's list of runs as last seen.

    Attributes:
        runs: Digest of each run's status and end (`outcome_digest`) by run id; at most 50.
        newest_created_at: When the newest of them was created.
        missing_since: Since when no list of tasks shows the task; None if the last one does.
    """

    runs: Mapping[str, str]
    newest_created_at: datetime | None
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run whose log is not settled. Times but the first two are by this machine's clock.

    Attributes:
        task_id: Its task; None for a run that only a webhook has named so far.
        created_at: When it was created.
        finished_at: When it ended, once that is known.
        cursor: How far its log has been loaded; None if it never was.
        checked_at: When its log was last read; None if the last attempt failed.
        changed_at: When its end or its log was last found changed.
        failing_since: The first of the loads in which the API refused it for good.
        failed_loads: How many such loads there were.
    """

    task_id: str | None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    cursor: RunCursor | None = None
    checked_at: datetime | None = None
    changed_at: datetime | None = None
    failing_since: datetime | None = None
    failed_loads: int = 0

    @classmethod
    def from_state(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `to_state` wrote."""
        values: dict[str, Any] = {
            name: datetime.fromisoformat(value) if name.endswith(("_at", "_since")) else value
            for name, value in stored.items()
        }
        if "cursor" in values:
            values["cursor"] = RunCursor.from_state(values["cursor"])
        return cls(**{"task_id": None, **values})

    def to_state(self) -> dict[str, Any]:
        """The attributes that are set, as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _to_json(value) for name, value in values.items() if value}


@dataclass(slots=True)
class State:
    """The state of ``task_run_logs`` as values.

    Attributes:
        windows: Lists of runs as last seen, by task id.
        tracked: Runs that are not settled, by run id.
        lost: Runs that are not requested any more because the API does not show them.
        by_id: Cursors of runs that were named by id.
        statuses: Undocumented statuses of runs that have been reported.
        api: Base URL of the API that was loaded from last; None if it is not known.
    """

    windows: dict[str, Window] = field(default_factory=dict)
    tracked: dict[str, TrackedRun] = field(default_factory=dict)
    lost: dict[str, TrackedRun] = field(default_factory=dict)
    by_id: dict[str, RunCursor] = field(default_factory=dict)
    statuses: set[str] = field(default_factory=set)
    api: str | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `apply` wrote; anything else (a newer version's) counts as nothing known."""
        if stored.get("version") != _VERSION:
            return cls()
        return cls(
            windows={
                task_id: _read_window(window) for task_id, window in stored["windows"].items()
            },
            tracked=_read_runs(stored["tracked"]),
            lost=_read_runs(stored["lost"]),
            by_id={run_id: RunCursor.from_state(each) for run_id, each in stored["by_id"].items()},
            statuses=set(stored["statuses"]),
            api=stored.get("api"),
        )

    def settled_in(self, task_id: str) -> Mapping[str, str]:
        """The runs in a task's window that are settled (or lost), as `Window.runs` has them.

        A listed run is tracked until it is settled, so each run in the window that is not tracked
        is settled.
        """
        window = self.windows.get(task_id)
        return {
            run_id: digest
            for run_id, digest in (window.runs.items() if window else ())
            if run_id not in self.tracked
        }

    def without_runs(self, run_ids: Set[str]) -> State:
        """The same without what is tracked of some runs."""
        return replace(
            self,
            tracked={id_: run for id_, run in self.tracked.items() if id_ not in run_ids},
            lost={id_: run for id_, run in self.lost.items() if id_ not in run_ids},
        )

    def without_logs(self, task_ids: Container[str | None] | None = None) -> State:
        """The same as if no log had been read: of these tasks, or (None) of all.

        Of all, lost runs are tracked again, too, and runs named by id are read whole. Windows keep
        their run ids, so that a gap between two lists is still detected.
        """

        def applies(task_id: str | None) -> bool:
            return task_ids is None or task_id in task_ids

        tracked = {**(self.lost if task_ids is None else {}), **self.tracked}
        return replace(
            self,
            windows={
                task_id: replace(each, runs=dict.fromkeys(each.runs, ""))
                if applies(task_id)
                else each
                for task_id, each in self.windows.items()
            },
            tracked={
                run_id: replace(run, cursor=None) if applies(run.task_id) else run
                for run_id, run in tracked.items()
            },
            by_id={} if task_ids is None else self.by_id,
        )


@dataclass(slots=True)
class StateChanges:
    """What the rows of one batch add to the state of ``task_run_logs``, or replace or drop in it.

    Attributes:
        windows: Lists of runs as seen now, by task id.
        tracked: Runs to track from now on, by run id.
        lost: Runs that are not requested any more.
        by_id: Cursors of runs that were named by id.
        statuses: Undocumented statuses of runs that are reported.
        settled: Runs to track no longer.
        forgotten: Tasks whose windows are dropped.
        api: Base URL of the API, if it is another one than before.
    """

    windows: dict[str, Window] = field(default_factory=dict)
    tracked: dict[str, TrackedRun] = field(default_factory=dict)
    lost: dict[str, TrackedRun] = field(default_factory=dict)
    by_id: dict[str, RunCursor] = field(default_factory=dict)
    statuses: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    api: str | None = None


def apply(changes: StateChanges, stored: MutableMapping[str, Any]) -> None:
    """Writes changes into dlt's state of ``task_run_logs``."""
    if stored.get("version") != _VERSION:
        stored.clear()
        stored.update(version=_VERSION, windows={}, tracked={}, lost={}, by_id={}, statuses=[])
    for task_id, window in changes.windows.items():
        stored["windows"][task_id] = {
            "runs": dict(window.runs),
            "newest_created_at": _to_json(window.newest_created_at),
            **({"missing_since": _to_json(since)} if (since := window.missing_since) else {}),
        }
    for task_id in changes.forgotten:
        stored["windows"].pop(task_id, None)
    for run_id in changes.tracked.keys() | changes.settled | changes.lost.keys():
        stored["tracked"].pop(run_id, None)
        stored["lost"].pop(run_id, None)
    stored["tracked"].update({run_id: run.to_state() for run_id, run in changes.tracked.items()})
    stored["lost"].update({run_id: run.to_state() for run_id, run in changes.lost.items()})
    for run_id, cursor in changes.by_id.items():
        stored["by_id"].pop(run_id, None)  # so that it goes to the end: the oldest are in front
        stored["by_id"][run_id] = cursor.to_state()
    for kept in (stored["lost"], stored["by_id"]):
        for run_id in list(kept)[: max(0, len(kept) - MAX_KEPT_RUNS)]:
            del kept[run_id]
    if changes.statuses:
        stored["statuses"] = sorted({*stored["statuses"], *changes.statuses})
    if changes.api:
        stored["api"] = changes.api


def reset_cursors(run_ids: Iterable[str], stored: MutableMapping[str, Any]) -> None:
    """Tracks runs as if their logs had never been read, so that the next load reads them whole."""
    known = State.read(stored).tracked
    nothing = TrackedRun(task_id=None)
    changes = {run_id: replace(known.get(run_id, nothing), cursor=None) for run_id in run_ids}
    apply(StateChanges(tracked=changes), stored)
    for run_id in changes:
        stored["by_id"].pop(run_id, None)


def changed_tasks(tasks: Iterable[Task], stored: MutableMapping[str, Any]) -> list[Task]:
    """The tasks that are new or have changed; `stored` is dlt's state of ``tasks``."""
    digests = stored.setdefault("digests", {})
    changed = []
    for task in tasks:
        digest = _digest(asdict(task))
        if digests.get(task.id) != digest:
            changed.append(task)
            digests[task.id] = digest
    return changed


def changed_runs(
    listed: Mapping[str, Sequence[Run]], stored: MutableMapping[str, Any]
) -> list[Run]:
    """The listed runs whose row is new or has changed; `stored` is dlt's state of ``task_runs``."""
    digests = stored.setdefault("digests", {})
    changed = []
    for task_id, runs in listed.items():
        if runs:  # a list that is empty once does not make the next one new
            now = {
                _digest([getattr(run, name) for name in TASK_RUNS.schema.names]): run
                for run in runs
            }
            known = set(digests.get(task_id, ()))
            changed += [run for digest, run in now.items() if digest not in known]
            digests[task_id] = list(now)
    return changed


def forget(task_ids: Iterable[str], stored: MutableMapping[str, Any]) -> None:
    """Drops what dlt's state of another resource than ``task_run_logs`` keeps of these tasks."""
    for task_id in task_ids:
        for by_task in ("digests", "filled"):
            stored.get(by_task, {}).pop(task_id, None)


def outcome_digest(run: Run) -> str:
    """A digest of what changes if a run that has ended is started again under the same id."""
    return _digest([run.status, run.finished_at])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _read_window(stored: Mapping[str, Any]) -> Window:
    newest, missing = stored["newest_created_at"], stored.get("missing_since")
    return Window(
        stored["runs"],
        newest and datetime.fromisoformat(newest),
        missing and datetime.fromisoformat(missing),
    )


def _read_runs(stored: Mapping[str, Any]) -> dict[str, TrackedRun]:
    return {run_id: TrackedRun.from_state(run) for run_id, run in stored.items()}


def _to_json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case RunCursor():
            return value.to_state()
        case _:
            return value
