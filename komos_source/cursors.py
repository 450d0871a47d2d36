"""What of a run's log is new, and when the run is done with. Pure.

The API always answers a run's whole log, so the timestamp cursor of a run can be verified each time
instead of trusted. A cursor over all runs at once could not: a run seen first today may hold
entries older than what another run has already delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.entries import RunLog


@dataclass(frozen=True, slots=True)
class RunCursor:
    """How far a run's log has been loaded.

    Attributes:
        entries: How many entries the log held, usable or not.
        last_timestamp: The newest timestamp among them; None if none had one.
        before: How many rows have an older timestamp than that.
        span: The position just behind the last of those rows. With `before` unchanged, a changed
            span means that something without a timestamp came in between and moved positions.
    """

    entries: int
    last_timestamp: datetime | None
    before: int
    span: int

    @classmethod
    def of(cls, log: RunLog) -> Self:
        """The cursor that says all of this log has been loaded."""
        newest = pc.max(log.rows["timestamp"]).as_py()
        return cls(log.entries, newest, *_extent_before(log.rows, newest))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Reads what `to_state` wrote."""
        newest = state["last_timestamp"]
        return cls(
            entries=state["entries"],
            last_timestamp=None if newest is None else datetime.fromisoformat(newest),
            before=state["before"],
            span=state["span"],
        )

    def to_state(self) -> dict[str, Any]:
        """The cursor as JSON values."""
        newest = self.last_timestamp
        return {
            "entries": self.entries,
            "last_timestamp": None if newest is None else newest.isoformat(),
            "before": self.before,
            "span": self.span,
        }


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
    if log.entries == cursor.entries:
        return log.rows.schema.empty_table(), log.rejected.schema.empty_table()
    if cursor.last_timestamp is None:
        return log.rows, log.rejected
    moments = log.rows["timestamp"]
    candidates = pc.or_kleene(pc.is_null(moments), pc.greater_equal(moments, cursor.last_timestamp))
    return log.rows.filter(candidates), log.rejected


def _extent_before(rows: pa.Table, moment: datetime | None) -> tuple[int, int]:
    """How many rows are older than a moment, and the position just behind the last of them."""
    if moment is None:
        return 0, 0
    older = rows["position"].filter(pc.less(rows["timestamp"], moment))
    return (len(older), pc.max(older).as_py() + 1) if len(older) else (0, 0)


def is_settled(
    finished_at: datetime | None, read_at: datetime | None, settle_after: timedelta
) -> bool:
    """Whether nothing more can be expected of a run's log.

    Args:
        finished_at: When the run ended; None while it has not.
        read_at: When its log was read, by the server's clock; None if the server did not say, in
            which case the run stays unsettled: that costs a request, while our own clock, if wrong,
            could cost entries.
        settle_after: How long after its end a run's entries may still appear.
    """
    return finished_at is not None and read_at is not None and read_at - finished_at >= settle_after
