"""When a run is settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from komos_source.extract.settled_runs import is_settled

START = datetime(2025, 10, 14, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("finished", "served", "now", "settled"),
    [
        (0, 600, 600, True),
        (0, 599, 600, False),
        (0, 600, 599, False),  # the server's clock, or a proxy's, is ahead
        (0, 600, 10**6, True),
        (0, None, 10**6, False),
        (None, 600, 600, False),
    ],
)
def test_is_settled_needs_both_clocks(
    finished: int | None, served: int | None, now: int, settled: bool
) -> None:
    finished_at, served_at, ours = (
        None if second is None else START + timedelta(seconds=second)
        for second in (finished, served, now)
    )
    assert ours is not None
    assert is_settled(finished_at, served_at, ours, TEN_MINUTES) == settled
