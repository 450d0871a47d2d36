"""Bursts of failing runs: when one begins, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby

import pandas as pd
import pytest

from komos_source.analytics.bursts import Burst, find_bursts

_NODE = ("t", "login")
_START = datetime(2025, 10, 14, tzinfo=UTC)


def _bursts(runs: str) -> list[Burst]:
    """The bursts in the hourly runs of a node: ``x`` fails, ``.`` does not."""
    rows, at = [], 0
    for hit, streak in groupby(runs):
        count = len([*streak])
        rows.append(
            {
                "task_id": _NODE[0],
                "node_id": _NODE[1],
                "first_run_at": _START + timedelta(hours=at),
                "last_run_at": _START + timedelta(hours=at + count - 1),
                "runs": count,
                "hits": count if hit == "x" else 0,
            }
        )
        at += count
    rates = pd.Series([0.05], pd.MultiIndex.from_tuples([_NODE]))
    return find_bursts(pd.DataFrame(rows), rates, runs_a_day=24)


@pytest.mark.parametrize(
    ("runs", "hits"),
    [
        ("..........", []),
        ("....x....x....", []),
        ("....xx......", []),
        ("....xxxxx....", [5]),
        ("....xxxxx..xxxx....", [9]),  # two good runs in a row do not end it
        ("....xxxxx...xxxx....", [5, 4]),
        ("....xxxxx..x..x....", [7]),
    ],
)
def test_burst_is_over_after_three_good_runs(runs: str, hits: list[int]) -> None:
    assert [burst.hits for burst in _bursts(runs)] == hits


def test_burst_is_open_until_a_good_run_and_ends_at_the_first_one() -> None:
    (burst,) = _bursts("....xxxx")
    assert burst.ended == float("inf")
    (burst,) = _bursts("....xxxx....")
    assert burst.ended == (_START + timedelta(hours=8)).timestamp()
