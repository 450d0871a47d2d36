"""The data a benchmark serves: logs of runs, and what a table of them must hold."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_START = datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)
_LEVELS = ("info", "info", "info", "info", "info", "info", "info", "info", "warning", "error")
_NODES = ("open_page", "navigate_orders", "click_retry", "read_table", "download_page_source", None)
_NO_TIMESTAMP_EVERY = 1_000
"""One entry in so many has no timestamp: the API allows it."""
GROWTH = 0.05
"""Share of new entries that each run has in phase 1."""


@dataclass(frozen=True)
class Log:
    """One run's log.

    Attributes:
        first: The body in phase 0, but for the brackets that close it.
        grown: What phase 1 adds to it.
        entries: Entries in phase 0 and in phase 1.
        untimed: How many of them have no timestamp.
    """

    first: bytes
    grown: bytes
    entries: tuple[int, int]
    untimed: tuple[int, int]

    def body(self, phase: int) -> tuple[bytes, ...]:
        """The answer of the logs endpoint, in pieces: the large ones are never copied."""
        return (self.first, self.grown, b"]}") if phase else (self.first, b"]}")


def _uuid(random_: random.Random) -> str:
    """A version 4 UUID; the standard library takes most of the making to spell a million."""
    digits = f"{random_.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def made_log(seed: int, run_id: str, start: datetime, entries: int, new: int) -> Log:
    """A log of ``entries`` entries about 208 bytes each, a millisecond apart, ``new`` to come.

    The new ones are an hour later, past every entry of every run's phase 0: a single cursor over
    all runs, as some peers have it, loses nothing here.
    """
    random_ = random.Random(seed)
    lines = []
    untimed = [0, 0]
    for place in range(entries + new):
        timed = (place + seed) % _NO_TIMESTAMP_EVERY != 0
        if not timed:
            untimed[place >= entries] += 1
        moment = start + timedelta(milliseconds=place, hours=place >= entries)
        stamp = f'"{moment.isoformat(timespec="milliseconds")[:-6]}Z"' if timed else "null"
        node = random_.choice(_NODES)
        lines.append(
            f'{{"id":"{_uuid(random_)}","timestamp":{stamp},'
            f'"level":"{random_.choice(_LEVELS)}","message":"Step {place}: '
            f"navigated to https://example.com/orders/{random_.getrandbits(32)}"
            f'?page={place % 97}","nodeId":{json.dumps(node)}}}'
        )
    head = f'{{"runId":"{run_id}","logEntries":['
    return Log(
        first=(head + ",".join(lines[:entries])).encode(),
        grown=("," * bool(entries) + ",".join(lines[entries:])).encode() if new else b"",
        entries=(entries, entries + new),
        untimed=(untimed[0], sum(untimed)),
    )


def made_logs(runs: int, entries: int, new: int | None = None, seed: int = 7) -> dict[str, Log]:
    """Logs by run id, oldest run first.

    Args:
        runs: How many.
        entries: In all of them together, in phase 0.
        new: Entries that phase 1 adds to all of them together; 5 % of ``entries`` if None.
        seed: Of ids and messages.
    """
    new = round(entries * GROWTH) if new is None else new
    ids = random.Random(seed)
    logs = {}
    for number in range(runs):
        run_id = _uuid(ids)
        start = _START + timedelta(seconds=number)
        logs[run_id] = made_log(
            seed * 1_000_003 + number, run_id, start, entries // runs, new // runs
        )
    return logs


def made_run(run_id: str, task_id: str) -> dict[str, object]:
    """A run as the API shows it; it ended long ago, so one read of its log settles it."""
    ended = _START + timedelta(hours=3)
    moments = {"createdAt": _START, "startedAt": _START, "finishedAt": ended}
    return {
        "id": run_id,
        "taskId": task_id,
        "status": "COMPLETED",
        "triggerType": "schedule",
        "timestamps": {name: moment.isoformat() for name, moment in moments.items()},
        "progress": None,
        "inputs": {},
        "outputs": {},
        "error": None,
        "cancelReason": None,
    }
