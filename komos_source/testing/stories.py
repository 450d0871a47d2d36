"""Changes to a made history, for whoever checks that they are found.

Each changes what the emulated API shows of some runs, and nothing of the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from komos_source.testing.world import FakeKomos, _Run, iso

_WEEKEND = {5, 6}


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


def add_outage(
    world: FakeKomos, task_ids: Collection[str], node_id: str, since: datetime, until: datetime
) -> None:
    """Makes each run of some tasks that was created in a time fail at a node."""
    for task_id in task_ids:
        _add_failures(world, task_id, node_id, lambda at: float(since <= at < until))


def add_bursts(
    world: FakeKomos, task_id: str, node_id: str, rate: float, correlation: float
) -> None:
    """Makes runs of a task fail at a node, on some days many and on most days none.

    Args:
        world: The organisation.
        task_id: The task.
        node_id: The node.
        rate: Mean of the daily rates, which have a beta distribution.
        correlation: Of two runs of a day: 0 is independent, 1 is all or none of them.
    """
    size = 1 / correlation - 1
    days: dict[date, float] = {}

    def chance(at: datetime) -> float:
        if at.date() not in days:
            days[at.date()] = world.random.betavariate(rate * size, (1 - rate) * size)
        return days[at.date()]

    _add_failures(world, task_id, node_id, chance)


def add_weekend_failures(world: FakeKomos, task_id: str, node_id: str, rate: float) -> None:
    """Makes a share of the runs of a task that were created on weekends (UTC) fail at a node."""
    _add_failures(world, task_id, node_id, lambda at: rate if at.weekday() in _WEEKEND else 0.0)


def _add_failures(
    world: FakeKomos, task_id: str, node_id: str, chance: Callable[[datetime], float]
) -> None:
    """Adds an error to the end of runs, each with a probability that its time of creation has."""
    with world.lock:
        for run in _runs(world, datetime.min.replace(tzinfo=UTC), task_id):
            if world.random.random() >= chance(run.created_at):
                continue
            entry = {
                "id": world.new_id(),
                "timestamp": iso(run.latest),
                "level": "error",
                "message": "The page did not answer",
                "nodeId": node_id,
            }
            encoded = json.dumps(entry).encode()
            world.add_encoded(run.id, encoded, run.latest, run.last_persisted_at)
            run.status = "FAILED"
            run.fields["error"] = {"code": "step_failed", "message": "A step failed"}
            run.shown = (-1, -1, b"")


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
