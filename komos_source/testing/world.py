"""A Komos organisation in memory: tasks, runs and their logs, as of a clock that can be moved."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

DEFAULT_NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
RUNS_WINDOW = 50
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class WorldClock:
    """The world's time: stands still, or runs at a pace.

    Args:
        start: The time now.
        pace: Emulated seconds that pass in one real second; 0 stands still.
    """

    def __init__(self, start: datetime = DEFAULT_NOW, pace: float = 0.0) -> None:
        self._start = start
        self._since = time.monotonic()
        self._pace = pace

    def now(self) -> datetime:
        """The world's time, aware and in UTC."""
        return self._start + timedelta(seconds=(time.monotonic() - self._since) * self._pace)

    def set(self, moment: datetime) -> None:
        """Moves the clock to a time."""
        self._since = time.monotonic()
        self._start = moment

    def run(self, pace: float) -> None:
        """Lets time pass, from now on at another pace."""
        self.set(self.now())
        self._pace = pace

    def advance(self, by: timedelta | float) -> None:
        """Moves the clock on, by a time span or by seconds."""
        self.set(self.now() + (by if isinstance(by, timedelta) else timedelta(seconds=by)))


@dataclass(order=True, slots=True)
class _Entry:
    """One log entry: its place in the log, when the API shows it, and its JSON."""

    place: tuple[datetime, int]
    persisted_at: datetime = field(compare=False)
    encoded: bytes = field(compare=False)


@dataclass(slots=True)
class _Run:
    id: str
    task_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    status: str
    fields: dict[str, Any]
    log: list[_Entry] = field(default_factory=list)
    latest: datetime = ALWAYS
    """Up to here time without timestamps counts: such an entry stays behind what came before it."""
    last_persisted_at: datetime = ALWAYS
    """From here on all of the log is visible, and need not be counted for each answer."""
    shown: tuple[int, int, bytes] = (-1, -1, b"")
    """The body as last served: entries in all, entries visible, bytes."""


class FakeKomos:
    """A stateful organisation; safe to change while an emulator serves it.

    Everything has a time from which the API shows it, so a made history grows merely because the
    clock moves: a run created later is not listed yet, one that finishes later is still running,
    an entry persisted later is not in the log.
    """

    def __init__(self, clock: WorldClock | None = None, seed: int = 1) -> None:
        self.clock = clock or WorldClock()
        self.random = random.Random(seed)  # noqa: S311 - made data, not secrets
        self.lock = threading.RLock()
        self._tasks: dict[str, dict[str, Any]] = {}
        self._runs: dict[str, _Run] = {}
        self._by_task: dict[str, list[_Run]] = {}
        self._count = 0

    def new_id(self) -> str:
        """A fresh UUID, the same again for the same seed."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def add_task(
        self, name: str, *, task_id: str | None = None, status: str = "READY", **extra: Any
    ) -> str:
        """Adds a task and returns its id."""
        with self.lock:
            task_id = task_id or self.new_id()
            self._tasks[task_id] = {"id": task_id, "name": name, "status": status, **extra}
            self._by_task[task_id] = []
            return task_id

    def add_run(
        self,
        task_id: str,
        *,
        run_id: str | None = None,
        status: str = "RUNNING",
        created_at: datetime | None = None,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        **fields: Any,
    ) -> str:
        """Adds a run and returns its id; further fields are served as given."""
        with self.lock:
            created = created_at or self.clock.now()
            run = _Run(
                run_id or self.new_id(),
                task_id,
                created,
                started_at or created,
                finished_at,
                status,
                {"triggerType": "schedule", "inputs": {}, "outputs": {}, **fields},
            )
            self._runs[run.id] = run
            insort(self._by_task[task_id], run, key=lambda each: each.created_at)
            return run.id

    def start_run(self, task_id: str) -> str:
        """Starts a run on request of a client; it is empty until a test writes to it."""
        return self.add_run(task_id, triggerType="api")

    def append(
        self, run_id: str, *entries: Any, persisted_at: datetime | None = None
    ) -> list[str | None]:
        """Adds entries to a run's log and returns their ids.

        A dict gets what it lacks: an id, the time now, level ``info``, an empty message, no node.
        What is given stays as it is, so that entries no client expects can be planted.
        """
        with self.lock:
            run = self._runs[run_id]
            ids: list[str | None] = []
            for entry in entries:
                if isinstance(entry, dict):
                    entry = {  # noqa: PLW2901 - completed, not replaced
                        "id": entry["id"] if "id" in entry else self.new_id(),
                        "timestamp": iso(self.clock.now()),
                        "level": "info",
                        "message": "",
                        "nodeId": None,
                    } | entry
                    ids.append(entry["id"])
                else:
                    ids.append(None)
                self.add_encoded(
                    run_id,
                    json.dumps(entry, ensure_ascii=True).encode(),
                    _moment_of(entry),
                    persisted_at or ALWAYS,
                )
            run.shown = (-1, -1, b"")
            return ids

    def add_encoded(
        self, run_id: str, encoded: bytes, moment: datetime | None, persisted_at: datetime
    ) -> None:
        """Adds one entry as JSON; without a time it stays behind the entry added before it."""
        run = self._runs[run_id]
        self._count += 1
        run.last_persisted_at = max(run.last_persisted_at, persisted_at)
        entry = _Entry((moment or run.latest, self._count), persisted_at, encoded)
        if moment is None or moment >= run.latest:
            run.latest = entry.place[0]
        if run.log and entry < run.log[-1]:
            insort(run.log, entry)
        else:
            run.log.append(entry)

    def finish(self, run_id: str, status: str = "COMPLETED", at: datetime | None = None) -> None:
        """Ends a run."""
        with self.lock:
            self._runs[run_id].status = status
            self._runs[run_id].finished_at = at or self.clock.now()

    def remove_run(self, run_id: str) -> None:
        """Removes a run: the API answers 404 for it."""
        with self.lock:
            run = self._runs.pop(run_id)
            self._by_task[run.task_id].remove(run)

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, as the API shows them."""
        with self.lock:
            return list(self._tasks.values())

    def runs(self, task_id: str) -> list[dict[str, Any]]:
        """All runs of a task created so far, newest first, as the API shows them."""
        with self.lock:
            now = self.clock.now()
            runs = self._by_task[task_id]
            return [_shown(run, now) for run in reversed(runs) if run.created_at <= now]

    def visible_runs(self, task_id: str) -> list[dict[str, Any]]:
        """The 50 newest of them: what the API lists."""
        return self.runs(task_id)[:RUNS_WINDOW]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run, as the API shows it; None if there is none."""
        with self.lock:
            run, now = self._runs.get(run_id), self.clock.now()
            return _shown(run, now) if run and run.created_at <= now else None

    def log_body(self, run_id: str) -> bytes:
        """The logs endpoint's answer. Kept until the log changes, so that serving costs nothing."""
        with self.lock:
            run, now = self._runs[run_id], self.clock.now()
            visible = len(run.log)
            if now < run.last_persisted_at:
                visible = sum(entry.persisted_at <= now for entry in run.log)
            if run.shown[:2] != (len(run.log), visible):
                entries = b",".join(e.encoded for e in run.log if e.persisted_at <= now)
                body = b'{"runId":"%s","logEntries":[%s]}' % (run_id.encode(), entries)
                run.shown = (len(run.log), visible, body)
            return run.shown[2]

    def log(self, run_id: str) -> list[Any]:
        """A run's entries as the API shows them."""
        entries: list[Any] = json.loads(self.log_body(run_id))["logEntries"]
        return entries

    def run_ids(self) -> list[str]:
        """All runs that exist by now."""
        with self.lock:
            now = self.clock.now()
            return [run.id for run in self._runs.values() if run.created_at <= now]

    def entries(self) -> Iterator[tuple[str, int, Any]]:
        """Run, position and entry of everything the API would show now."""
        for run_id in self.run_ids():
            for position, entry in enumerate(self.log(run_id)):
                yield run_id, position, entry


def iso(moment: datetime | None) -> str | None:
    """A time as the API writes it."""
    if moment is None:
        return None
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
    )


def _moment_of(entry: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(entry["timestamp"])
    except (TypeError, ValueError, KeyError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(run: _Run, now: datetime) -> dict[str, Any]:
    started = run.started_at if run.started_at and run.started_at <= now else None
    finished = run.finished_at if run.finished_at and run.finished_at <= now else None
    status = run.status
    if run.finished_at and not finished:
        status = "RUNNING" if started else "PENDING"
    return {
        "id": run.id,
        "taskId": run.task_id,
        "status": status,
        "triggerType": run.fields["triggerType"],
        "timestamps": {
            "createdAt": iso(run.created_at),
            "startedAt": iso(started),
            "finishedAt": iso(finished),
        },
        "progress": run.fields.get("progress"),
        "inputs": run.fields["inputs"],
        "outputs": run.fields["outputs"],
        "logsUrl": f"/public/v1/task-runs/{run.id}/logs",
        "error": run.fields.get("error") if finished else None,
        "cancelReason": run.fields.get("cancelReason") if finished else None,
    }
