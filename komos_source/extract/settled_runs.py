"""When a run is settled, so that its log needs no further request. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta


def is_settled(
    finished_at: datetime | None, served_at: datetime | None, now: datetime, settle_after: timedelta
) -> bool:
    """Whether nothing more can be expected of a run's log, if it holds no less than known.

    Both clocks have to agree: a clock that is ahead would settle a run before its last entries
    have appeared.

    Args:
        finished_at: When the run ended; None while it has not.
        served_at: The server's clock when its log was read; None if the answer had no date. Then
            the run stays unsettled, which costs a request with each load but no entries.
        now: Our clock.
        settle_after: How long after its end a run's entries may still appear.
    """
    if finished_at is None or served_at is None:
        return False
    return min(served_at, now) - finished_at >= settle_after
