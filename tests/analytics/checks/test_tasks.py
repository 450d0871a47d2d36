"""What is usual for a task, and what is not: the decisions, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from komos_source.analytics.checks.limits import Limits
from komos_source.analytics.checks.tasks import (
    find_silent_tasks,
    find_slower_tasks,
    find_unusual_volumes,
)

_LAST = date(2025, 10, 14)
_NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)


def _intervals(silence: timedelta, longest: timedelta, **columns: Any) -> list[dict[str, Any]]:
    return [
        {
            "task_id": "t",
            "task_name": "Orders",
            "task_status": "READY",
            "runs": 100,
            "median_seconds": longest.total_seconds(),
            "long_seconds": longest.total_seconds(),
            "last_run_at": _NOW - silence,
            "last_run_id": "r",
            **columns,
        }
    ]


def _is_silent(silence: timedelta, longest: timedelta, **columns: Any) -> bool:
    return bool(find_silent_tasks(_intervals(silence, longest, **columns), _NOW, Limits()))


@pytest.mark.parametrize("hours", [1, 24, 168])
def test_silent_task_is_found_after_its_own_usual_interval_times_the_limit(hours: int) -> None:
    usual = timedelta(hours=hours)
    assert not _is_silent(2.4 * usual, usual)
    assert _is_silent(2.6 * usual, usual)


def test_silent_task_that_is_a_draft_retired_or_has_few_runs_is_not_found() -> None:
    hour = timedelta(hours=1)
    assert not _is_silent(9 * hour, hour, task_status="DRAFT")
    assert not _is_silent(timedelta(days=31), hour)
    assert _is_silent(timedelta(days=29), hour)
    assert not _is_silent(9 * hour, hour, runs=8)
    assert _is_silent(9 * hour, hour, runs=9)
    assert not _is_silent(9 * hour, hour, runs=1, median_seconds=None, long_seconds=None)


def test_silent_task_whose_runs_start_all_at_once_is_not_found_within_an_hour() -> None:
    assert not _is_silent(timedelta(minutes=59), timedelta())
    assert _is_silent(timedelta(minutes=61), timedelta())


def _days(counts: list[float], **columns: Any) -> pd.DataFrame:
    """Rows of ``task_daily``, the last of them on the last day; a day of 0 has none."""
    index = pd.date_range(end=pd.Timestamp(_LAST), periods=len(counts))
    rows = pd.DataFrame({"day": index, "runs": counts, "entries": [10 * each for each in counts]})
    rows = rows.assign(task_id="t", task_name="Orders", timed_runs=rows["runs"], **columns)
    return rows[rows["runs"] > 0]


def _volumes(counts: list[float]) -> list[str]:
    return [each.title for each in find_unusual_volumes(_days(counts), _LAST, Limits())]


def test_volume_far_off_the_usual_of_its_weekday_is_found() -> None:
    usual = 8 * [20.0, 21, 19, 20, 2, 1, 22]
    assert _volumes(usual) == []
    assert _volumes([*usual[:-1], 100]) == ["more runs than usual on 2025-10-14: 100 instead of 22"]
    assert _volumes([*usual[:-1], 43]) == []
    assert _volumes(8 * [200.0] + [200.0] * 48 + [20]) == [
        "fewer runs than usual on 2025-10-14: 20 instead of 200"
    ]


def test_volume_of_a_weekend_is_compared_with_weekends() -> None:
    weeks = 8 * [20.0, 20, 20, 20, 20, 0, 0]  # the last two days are a weekend
    assert _volumes(weeks) == []
    assert _volumes([*weeks[:-1], 20]) == ["more runs than usual on 2025-10-14: 20 instead of 0"]


def test_volume_that_has_lasted_for_a_week_is_usual() -> None:
    before = 49 * [20.0]
    assert _volumes([*before, 200]) != []
    assert _volumes([*before, *7 * [200.0]]) != []
    assert _volumes([*before, *8 * [200.0]]) == []


def test_volume_without_four_weeks_of_history_is_not_judged() -> None:
    assert _volumes([*28 * [20.0], 200]) == []  # the first day may be loaded in part
    assert _volumes([*29 * [20.0], 200]) != []


def test_volume_of_more_entries_with_as_many_runs_is_found() -> None:
    days = _days(50 * [20.0])
    days.loc[days.index[-1], "entries"] = 5000
    (found,) = find_unusual_volumes(days, _LAST, Limits())
    assert found.title == "more entries than usual on 2025-10-14: 5,000 instead of 200"


def _slower(before: list[float], recent: list[float], runs: float = 6) -> list[str]:
    seconds = [*before, *recent]
    days = _days(len(seconds) * [runs], median_seconds=seconds)
    return [each.title for each in find_slower_tasks(days, _LAST, Limits())]


def test_duration_of_both_last_days_far_above_the_days_before_is_found() -> None:
    before = [60.0, 62, 58, 61, 59, 60, 63, 57, 60, 60, 61, 59, 60, 60]
    assert _slower(before, [61, 59]) == []
    assert _slower(before, [120, 130]) == ["runs take 2.0 times as long"]
    assert _slower(before, [120, 60]) == [], "one slow day"
    assert _slower(before, [80, 80]) == [], "less than half as long again"
    assert _slower(before[:5], [120, 130]) == [], "too few days before"
    assert _slower(before, [120, 130], runs=2) == [], "too few runs a day"


def test_duration_that_varies_much_has_to_rise_more() -> None:
    before = [30.0, 120, 60, 240, 40, 100, 50, 200, 30, 90, 60, 20, 150, 70]
    assert _slower(before, [180, 200]) == []
    assert _slower(before, [2000, 3000]) != []


def test_silent_tasks_of_random_starts_are_rarely_found() -> None:
    pick = np.random.default_rng(7)
    found = 0
    for _ in range(300):
        starts = np.cumsum(pick.exponential(4.0, 400))  # hours
        usual = timedelta(hours=float(np.sort(np.diff(starts[:-1]))[-3]))
        found += _is_silent(timedelta(hours=float(starts[-1] - starts[-2])), usual)
    assert found == 0
