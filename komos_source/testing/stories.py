"""Changes to a made history, for whoever checks that they are found.

Each changes what the emulated API shows from a time on, and nothing before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from komos_source.testing.world import FakeKomos, _Run, iso


def fall_silent(world: FakeKomos, task_id: str, since: datetime) -> None:
    """Removes the runs that a task started since then."""
    with world.lock:
        for run in _runs(world, since, task_id):
            world.remove_run(run.id)


def slow_down(world: FakeKomos, task_id: str, since: datetime, factor: float) -> None:
    """Makes the runs that a task started since then take longer, with the times of their entries.

    Args:
        world: The organisation.
        task_id: The task.
        since: Runs created since then.
        factor: How many times longer they take.
    """

    def later(run: _Run, moment: datetime) -> datetime:
        start = run.started_at or run.created_at
        return start + factor * (moment - start)

    def change(run: _Run, entry: dict[str, Any]) -> None:
        if entry["timestamp"]:
            entry["timestamp"] = iso(later(run, datetime.fromisoformat(entry["timestamp"])))

    with world.lock:
        for run in _runs(world, since, task_id):
            delay = timedelta()
            if run.finished_at:
                delay = later(run, run.finished_at) - run.finished_at
                run.finished_at += delay
            _rewrite(run, change, delay)


def add_field(world: FakeKomos, since: datetime, name: str, value: Any) -> None:
    """Adds a field to each entry of all runs since then, as a change of the API would."""
    with world.lock:
        for run in _runs(world, since):
            _rewrite(run, lambda _, entry: entry.update({name: value}), timedelta())


def _runs(world: FakeKomos, since: datetime, task_id: str | None = None) -> Iterator[_Run]:
    for run in [*world._runs.values()]:  # noqa: SLF001 - a story changes private fields
        if run.created_at >= since and task_id in {None, run.task_id}:
            yield run


def _rewrite(run: _Run, change: Any, delay: timedelta) -> None:
    """Changes the entries of a run; each is persisted so much later."""
    log = []
    for old in run.log:
        entry = json.loads(old.encoded)
        change(run, entry)
        place = datetime.fromisoformat(entry["timestamp"]) if entry["timestamp"] else old.place[0]
        encoded = json.dumps(entry, ensure_ascii=False).encode()
        log.append(
            replace(
                old,
                place=(place, old.place[1]),
                persisted_at=old.persisted_at + delay,
                encoded=encoded,
            )
        )
    run.log = sorted(log)
    run.last_persisted_at += delay
    run.shown = (-1, -1, b"")
