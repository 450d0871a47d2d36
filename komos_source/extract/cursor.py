"""Which entries of a run's log are new. Pure.

The API always returns a run's whole log, so the timestamp cursor of a run can be verified with each
answer. One cursor for all runs could not: a run seen for the first time may hold entries older than
those that other runs have already delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.decoding.parse import RunLog


@dataclass(frozen=True, slots=True)
class RunCursor:
    """How far a run's log has been loaded.

    For example, after a log with these entries::

        position  0      1      2     3      4
        time      09:00  09:01  none  09:02  09:02

    the cursor is ``RunCursor(entry_count=5, last_timestamp=09:02, older_count=2, older_end=2)``:
    two rows are older than 09:02, and the last of them ends at position 2. If the next answer has
    an entry of 09:03 at its end, the same two rows are older than 09:02, so the rows from 09:02 on
    and those without a time are emitted. If it has a late entry of 09:01 at position 2, three rows
    are older than 09:02, so all rows are emitted.

    Attributes:
        entry_count: How many entries the log held, usable or not.
        last_timestamp: The newest timestamp among them; None if none had one.
        older_count: How many rows have an older timestamp than that.
        older_end: The position just behind the last of those rows. It changes alone if an entry
            without a timestamp came late and moved the others.
        reread: The last answer held fewer entries than are known, so that its positions may be
            wrong: all rows of the next answer are emitted.
    """

    entry_count: int
    last_timestamp: datetime | None
    older_count: int
    older_end: int
    reread: bool = False

    @classmethod
    def of(cls, log: RunLog) -> Self:
        """The cursor after all of this log has been loaded."""
        last = pc.max(log.rows["timestamp"]).as_py()
        return cls(log.entries, last, *_older(log.rows, last))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Reads what `to_state` wrote."""
        last = state["last_timestamp"]
        return cls(**{**state, "last_timestamp": last and datetime.fromisoformat(last)})

    def to_state(self) -> dict[str, Any]:
        """The cursor as JSON values."""
        last = self.last_timestamp
        return asdict(self) | {"last_timestamp": last and last.isoformat()}


def unseen(log: RunLog, cursor: RunCursor | None) -> tuple[pa.Table, pa.Table]:
    """Rows and rejected entries of a log that a load has to emit.

    Without a cursor, or if the log does not continue what the cursor describes (an entry came
    late), all of them. Otherwise the rows at or after the cursor's timestamp and those without
    one: merging on the primary key makes it harmless that some of them are loaded already.
    """
    if cursor is None or cursor.reread:
        return log.rows, log.rejected
    now = RunCursor.of(log)
    if now == cursor:
        return log.rows.slice(0, 0), log.rejected.slice(0, 0)
    known, last = cursor.last_timestamp, now.last_timestamp
    if known is None or last is None or last < known:
        return log.rows, log.rejected
    if _older(log.rows, known) != (cursor.older_count, cursor.older_end):
        return log.rows, log.rejected
    timestamps = log.rows["timestamp"]
    new = pc.or_kleene(pc.is_null(timestamps), pc.greater_equal(timestamps, known))
    return log.rows.filter(new), log.rejected


def next_cursor(log: RunLog, cursor: RunCursor | None) -> RunCursor:
    """The cursor once what `unseen` returned for this log has been loaded.

    An answer with fewer entries than known (of a replica that lags behind) does not move it back.
    """
    if cursor is not None and not is_complete(log, cursor):
        return replace(cursor, reread=True)
    return RunCursor.of(log)


def is_complete(log: RunLog, cursor: RunCursor | None) -> bool:
    """Whether an answer holds at least as many entries of the log as are known."""
    return cursor is None or log.entries >= cursor.entry_count


def _older(rows: pa.Table, timestamp: datetime | None) -> tuple[int, int]:
    """How many rows are older than a timestamp, and the position just behind the last of them."""
    if timestamp is None:
        return 0, 0
    older = rows["position"].filter(pc.less(rows["timestamp"], timestamp))
    return (len(older), older[-1].as_py() + 1) if len(older) else (0, 0)
