"""What of a run's log is new, and when the run is done with. Pure.

The API always answers a run's whole log, so the timestamp cursor of a run can be verified each time
instead of trusted. A cursor over all runs at once could not: a run seen first today may hold
entries older than what another run has already delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.decoding.heads import Head
from komos_source.decoding.parse import RunLog

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Integers = npt.NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RunCursor:
    """How far a run's log has been loaded.

    Attributes:
        entry_count: How many entries the log held, usable or not.
        last_timestamp: The newest timestamp among them; None if none had one.
        before: How many rows have an older timestamp than that.
        span: The position just behind the last of those rows. With `before` unchanged, a changed
            span means that something without a timestamp came in between and moved positions.
        at: How many rows have the newest timestamp.
        end: The position just behind the last row that has a timestamp.
        head: What to know the body by when it has grown; None if it cannot be known again.
    """

    entry_count: int
    last_timestamp: datetime | None
    before: int
    span: int
    at: int = 0
    end: int = 0
    head: Head | None = None

    @classmethod
    def of(cls, log: RunLog) -> Self:
        """The cursor that says all of this log has been loaded."""
        moments, positions = _timed(log.rows)
        if not len(moments):
            return cls(log.entries, None, 0, 0, head=log.head)
        newest = int(moments.max())
        before, span = _extent(positions[moments < newest])
        timed, end = _extent(positions)
        return cls(
            entry_count=log.entries,
            last_timestamp=_EPOCH + newest * _MICROSECOND,
            before=before,
            span=span,
            at=timed - before,
            end=end,
            head=log.head,
        )

    def followed_by(self, later: RunCursor) -> RunCursor:
        """The cursor of a log, from those of its first entries and of all that come after them."""
        moments = [each for each in (self.last_timestamp, later.last_timestamp) if each]
        newest = max(moments, default=None)
        first, second = (_extents(each, newest) for each in (self, later))
        return RunCursor(
            entry_count=self.entry_count + later.entry_count,
            last_timestamp=newest,
            before=first[0] + second[0],
            span=max(first[1], second[1]),
            at=first[2] + second[2],
            end=max(self.end, later.end),
            head=later.head,
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Reads what `to_state` wrote."""
        newest, head = state["last_timestamp"], state.get("head")
        return cls(
            entry_count=state["entry_count"],
            last_timestamp=None if newest is None else datetime.fromisoformat(newest),
            before=state["before"],
            span=state["span"],
            at=state.get("at", 0),
            end=state.get("end", 0),
            head=head and Head(state["entry_count"], **head),
        )

    def to_state(self) -> dict[str, Any]:
        """The cursor as JSON values."""
        newest, head = self.last_timestamp, self.head
        return {
            "entry_count": self.entry_count,
            "last_timestamp": None if newest is None else newest.isoformat(),
            "before": self.before,
            "span": self.span,
            "at": self.at,
            "end": self.end,
            "head": head and {"length": head.length, "digest": head.digest},
        }


def advanced(log: RunLog, cursor: RunCursor | None) -> tuple[pa.Table, pa.Table, RunCursor]:
    """Rows and rejected entries of a log that a load has to emit, and the cursor after it.

    Args:
        log: As it is now; without the entries of the cursor's head if it begins with that.
        cursor: How far the log has been loaded; None if it never was.
    """
    now = RunCursor.of(log)
    if cursor and log.continues:
        return log.rows, log.rejected, cursor.followed_by(now)
    return *unseen(log, cursor), now


def unseen(log: RunLog, cursor: RunCursor | None) -> tuple[pa.Table, pa.Table]:
    """Rows and rejected entries of a log that a load has to emit.

    Without a cursor, or where the cursor no longer fits the log (an entry came late), that is all
    of them. Otherwise the rows at or after the cursor's timestamp and those without one: merging on
    ``id`` makes it harmless that some of them are known already.
    """
    if cursor is None:
        return log.rows, log.rejected
    if _extent_before(log.rows, cursor.last_timestamp) != (cursor.before, cursor.span):
        return log.rows, log.rejected
    if log.entries == cursor.entry_count:
        return log.rows.schema.empty_table(), log.rejected.schema.empty_table()
    if cursor.last_timestamp is None:
        return log.rows, log.rejected
    moments = log.rows["timestamp"]
    candidates = pc.or_kleene(pc.is_null(moments), pc.greater_equal(moments, cursor.last_timestamp))
    return log.rows.filter(candidates), log.rejected


def _extents(cursor: RunCursor, newest: datetime | None) -> tuple[int, int, int]:
    """What `before`, `span` and `at` of a cursor are if `newest` is the newest timestamp."""
    if cursor.last_timestamp == newest:
        return cursor.before, cursor.span, cursor.at
    return cursor.before + cursor.at, cursor.end, 0


def _extent_before(rows: pa.Table, moment: datetime | None) -> tuple[int, int]:
    """How many rows are older than a moment, and the position just behind the last of them."""
    if moment is None:
        return 0, 0
    moments, positions = _timed(rows)
    return _extent(positions[moments < (moment - _EPOCH) // _MICROSECOND])


def _timed(rows: pa.Table) -> tuple[_Integers, _Integers]:
    """Timestamps, in microseconds since 1970, and positions of the rows that have a timestamp."""
    rows = rows.select(["timestamp", "position"])
    if rows["timestamp"].null_count:
        rows = rows.filter(pc.is_valid(rows["timestamp"]))
    moments = rows["timestamp"].combine_chunks().view(pa.int64()).to_numpy()
    return moments, rows["position"].to_numpy()


def _extent(positions: _Integers) -> tuple[int, int]:
    """How many positions there are, and the one just behind the last of them."""
    return (len(positions), int(positions[-1]) + 1) if len(positions) else (0, 0)


def next_cursor(log: RunLog, cursor: RunCursor | None) -> RunCursor:
    """The cursor once what `unseen` returned for this log has been loaded."""
    return RunCursor.of(log) if cursor is None or holds_no_less(log, cursor) else cursor


def holds_no_less(log: RunLog, cursor: RunCursor) -> bool:
    """Whether a log holds at least as many entries as are known."""
    return log.entries >= cursor.entry_count


def is_settled(
    finished_at: datetime | None,
    served_at: datetime | None,
    now: datetime,
    settle_after: timedelta,
) -> bool:
    """Whether nothing more can be expected of a run's log, by both clocks."""
    if finished_at is None or served_at is None:
        return False
    return min(served_at, now) - finished_at >= settle_after
