"""Entries of a run's log for `komos logs`: which are new, which are shown, and when to look again.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from komos_source import settings
from komos_source.api.models import Run
from komos_source.decoding.parse import RunLog
from komos_source.exceptions import UsageError
from komos_source.timestamps import parse_duration, parse_timestamp

LEVELS = ("info", "warning", "error")
"""From the least to the gravest."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a log.

    Attributes:
        run_id: Its run.
        id: Its id; for a rejected entry the hash that ``task_run_logs_rejected`` has.
        position: Its place in the log, from 0.
        timestamp: When it was written, in UTC; None if the API left it out.
        level: ``info``, ``warning`` or ``error``; None or another if the API answered so.
        message: Its text; of a rejected entry its JSON.
        node_id: The node that wrote it.
        extra: JSON text of undocumented fields.
        rejected: Why a load would reject it; None for an entry that can be a row.
        late: Whether an entry behind it in the log was shown before it.
    """

    run_id: str
    id: str
    position: int
    timestamp: datetime | None = None
    level: str | None = None
    message: str | None = None
    node_id: str | None = None
    extra: str | None = None
    rejected: str | None = None
    late: bool = False

    def to_json(self) -> dict[str, Any]:
        """The entry as one JSON object."""
        return {
            "run_id": self.run_id,
            "id": self.id,
            "position": self.position,
            "timestamp": self.timestamp.isoformat() if self.timestamp else None,
            "level": self.level,
            "node_id": self.node_id,
            "message": self.message,
            "extra": json.loads(self.extra) if self.extra else None,
            "rejected": self.rejected,
            "late": self.late,
        }


def unseen_entries(log: RunLog, seen: Container[str]) -> list[LogEntry]:
    """The entries that no earlier answer had, in the log's order; late ones are marked.

    Entries that a load would reject are among them.

    Args:
        log: The whole log as it is now.
        seen: Ids of the entries of earlier answers.
    """
    rows, last_row = _unseen(log.rows, seen)
    rejected, last_rejected = _unseen(log.rejected, seen)
    last = max(last_row, last_rejected)
    shown = [field.name for field in fields(LogEntry) if field.name in log.rows.schema.names]
    entries = [LogEntry(**{name: row[name] for name in shown}) for row in rows]
    entries += [
        LogEntry(
            row["run_id"],
            row["id"],
            row["position"],
            message=row["raw"],
            rejected=row["reason"],
        )
        for row in rejected
    ]
    return [
        replace(entry, late=entry.position < last)
        for entry in sorted(entries, key=lambda entry: entry.position)
    ]


def _unseen(rows: pa.Table, seen: Container[str]) -> tuple[list[dict[str, Any]], int]:
    """The rows that are not seen, and the last position of those that are; -1 if there are none.

    A log may be large and is read again and again: few rows become Python objects twice. They are
    not selected by Arrow, whose first array of Python values imports pandas.
    """
    known = [id_ in seen for id_ in rows["id"].to_pylist()]
    start = known.index(False) if False in known else len(known)
    new = [
        row
        for row, is_known in zip(rows.slice(start).to_pylist(), known[start:], strict=True)
        if not is_known
    ]
    if True not in known:
        return new, -1
    return new, rows["position"][len(known) - 1 - known[::-1].index(True)].as_py()


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are shown.

    A condition on a field that an entry lacks does not hide the entry: one without a time passes
    `since`, one of an undocumented level, or that a load would reject, passes `level`.

    Attributes:
        level: The least grave level that is shown.
        nodes: Ids of the nodes whose entries are shown; all if empty.
        since: Entries of an earlier time are not shown; a duration until it is known of which time.
    """

    level: str = LEVELS[0]
    nodes: Sequence[str] = ()
    since: datetime | timedelta | None = None

    def shows(self, entry: LogEntry) -> bool:
        """Whether an entry is shown."""
        if entry.level in LEVELS and LEVELS.index(entry.level) < LEVELS.index(self.level):
            return False
        if self.nodes and not entry.rejected and entry.node_id not in self.nodes:
            return False
        if entry.timestamp is None or not isinstance(self.since, datetime):
            return True
        return entry.timestamp >= self.since


def parse_since(text: str) -> datetime | timedelta:
    """Reads an ISO 8601 date or time, or a duration such as ``15m``.

    Raises:
        UsageError: The text is neither.
    """
    for parse in (parse_duration, parse_timestamp):
        try:
            return parse(text)
        except ValueError:
            continue
    raise UsageError(
        f"--since {text!r} is neither an ISO 8601 date or time (2025-10-14T18:00:00Z) nor a "
        "duration (30s, 15m, 2h, 7d)"
    )


def next_wait(last_wait: float | None, *, found_new: bool) -> float:
    """Seconds until the next look at a log that is followed.

    Args:
        last_wait: Seconds between the last two looks; None after the first.
        found_new: Whether the last look found new entries or another state of the run.
    """
    if found_new or last_wait is None:
        return settings.LOG_WAIT
    return min(last_wait * settings.LOG_WAIT_GROWTH, settings.LOG_MAX_WAIT)


def is_over(
    ended_at: datetime | None, changed_at: datetime | None, now: datetime, watched: timedelta
) -> bool:
    """Whether a log needs no further look: its run has ended, and the log is quiet since.

    Args:
        ended_at: When the run ended; None while it goes on.
        changed_at: When a look last found entries that an earlier one had not; None if none did.
        now: When the log was read, like the others by the server's clock.
        watched: For how long, by this machine's clock, neither the log nor the run's end has
            changed: a server may send no time, or always the same.
    """
    if ended_at is None:
        return False
    quiet = now - max(ended_at, changed_at or ended_at)
    return max(quiet, watched) >= timedelta(seconds=settings.LOG_QUIET)


def describe_state(run: Run, ended_at: datetime | None, now: datetime) -> str:
    """Status, progress and duration of a run, in one line."""
    step, total = run.progress_current_step, run.progress_steps_total
    parts = [run.status or "(no status)"]
    if step is not None and ended_at is None:
        parts.append(f"step {step}" + (f" of {total}" if total is not None else ""))
    if run.started_at:
        parts.append(describe_duration((ended_at or now) - run.started_at))
    return " · ".join(parts)


def describe_duration(duration: timedelta) -> str:
    """A duration in its two largest units; whole seconds."""
    seconds = max(0, int(duration.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
