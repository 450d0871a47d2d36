"""Checks of the tasks: does each run as often, as much and as fast as it usually does?

Each check is a query and a pure function that decides. What is usual is learned from the task
itself, by medians, so that one odd day changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from komos_source import tables
from komos_source.analytics.checks.limits import Limits
from komos_source.analytics.checks.result import (
    CheckContext,
    CheckResult,
    Finding,
    counted,
    records,
    span,
)
from komos_source.analytics.queries import query

_INTERVALS_DAYS = 92
"""Days of runs that a usual interval is learned from: 13 of a weekly task."""
_DRAFT = "DRAFT"
_WEEK = 7
_NORMAL = 1.4826
"""A median absolute deviation, times this, is the standard deviation of a normal distribution."""
_NORMAL_80 = 1.2816
"""Standard deviations within which 80 % of a normal distribution are."""
_BASELINE_SHARE = 0.4
"""Share of the days before that must have a median duration."""
_RECENT_DAYS = 2
_Counts = npt.NDArray[Any]


def silent_tasks(context: CheckContext) -> CheckResult:
    """Fails if a task has not run for far longer than it ever usually pauses."""
    until = context.observed_until
    rows = query(
        context.source, "run_intervals", since=until - timedelta(days=_INTERVALS_DAYS), until=until
    )
    found = find_silent_tasks(records(rows), until, context.limits)
    return _result("silent_tasks", found, len(rows), "has run within its usual interval")


def find_silent_tasks(
    rows: Sequence[dict[Any, Any]], until: datetime, limits: Limits
) -> list[Finding]:
    """The tasks that are silent.

    Args:
        rows: Rows of ``run_intervals``.
        until: Up to when all runs are known.
        limits: See `Limits`.
    """
    found = []
    for row in rows:
        if row["runs"] - 1 < limits.silent_runs or row["task_status"] == _DRAFT:
            continue
        usual = timedelta(seconds=row["long_seconds"])
        silence = until - row["last_run_at"]
        limit = max(limits.silent_intervals * usual, timedelta(hours=limits.silent_hours))
        if limit < silence < limit + timedelta(days=limits.silent_days):
            found.append(
                Finding(
                    "silent_tasks",
                    row["task_id"],
                    f"no run for {span(silence)}",
                    f"as a rule, the next run starts within {span(usual)} (half of the time within "
                    f"{span(timedelta(seconds=row['median_seconds']))}); silence counts from "
                    f"{span(limit)} on",
                    row["task_id"],
                    row["task_name"],
                    run_id=row["last_run_id"],
                    weight=silence / limit,
                )
            )
    return found


def volume(context: CheckContext) -> CheckResult:
    """Fails if a task had far more or fewer runs or entries on a day than on that weekday."""
    last = context.observed_until.astimezone(context.zone).date() - timedelta(days=1)
    # the weekdays before, and a week more to see whether the new level lasts
    days = _daily(context, last, round(context.limits.volume_weeks) * _WEEK + _WEEK)
    found = find_unusual_volumes(days, last, context.limits)
    return _result("volume", found, days["task_id"].nunique(), f"had its usual volume on {last}")


def find_unusual_volumes(days: pd.DataFrame, last: date, limits: Limits) -> list[Finding]:
    """The tasks whose last whole day is far off.

    A day is far off if it differs from the median of the same weekdays before by more than
    `Limits.volume_spreads` usual spreads and by `Limits.volume_factor`. The spread is that of all
    days around the medians of their weekdays: 1.4826 times the median of the absolute deviations,
    or their 80th percentile divided by 1.2816 if that is larger. It is at least one run and half
    the square root of the runs. A level that the task has had for a week is usual.

    Args:
        days: Rows of ``task_daily``, without the day after `last`.
        last: The last whole day.
        limits: See `Limits`.
    """
    found = []
    for task_id, rows in days.groupby("task_id"):
        first_whole = rows["day"].min() + pd.Timedelta(days=1)  # the first may be loaded in part
        index = pd.date_range(first_whole, pd.Timestamp(last))
        for what in ("runs", "entries"):
            counts = rows.set_index("day")[what].reindex(index, fill_value=0).to_numpy(float)
            least = rows[what].sum() / rows["runs"].sum()  # one run, or its entries
            off = _off(counts, limits, least)
            if off is None or off == _off(counts[:-_WEEK], limits, least):
                continue
            usual, spread = _usual(counts, limits, least)
            found.append(
                Finding(
                    "volume",
                    f"{task_id}/{what}",
                    f"{off} {what} than usual on {last}: {counts[-1]:,.0f} instead of {usual:,.0f}",
                    f"that weekday's median is {usual:,.0f} ± {spread:,.0f}",
                    str(task_id),
                    _name(rows),
                    weight=abs(counts[-1] - usual) / spread,
                )
            )
            break  # more runs write more entries: that is one finding
    return found


def _off(counts: _Counts, limits: Limits, least: float) -> str | None:
    """Whether the last of some days has far "more" or "fewer" than usual; None if it has not."""
    if len(counts) < limits.volume_weeks / 2 * _WEEK + 1:
        return None
    usual, spread = _usual(counts, limits, least)
    difference = counts[-1] - usual
    if abs(difference) <= limits.volume_spreads * spread:
        return None
    high, low = max(counts[-1], usual), min(counts[-1], usual)
    if high < limits.volume_factor * low:
        return None
    return "more" if difference > 0 else "fewer"


def _usual(counts: _Counts, limits: Limits, least: float) -> tuple[float, float]:
    """The median of the last day's weekday before that day, and the usual spread."""
    newest_first = counts[-1 - round(limits.volume_weeks) * _WEEK : -1][::-1]
    medians = [np.median(newest_first[weekday::_WEEK]) for weekday in range(_WEEK)]
    residuals = np.abs(newest_first - np.resize(medians, len(newest_first)))
    usual = float(medians[_WEEK - 1])
    # Of few weeks, the residuals are too small and the median is uncertain itself.
    weeks = len(newest_first) / _WEEK
    few = np.sqrt((1 + np.pi / 2 / weeks) / (1 - 1 / weeks))
    random = np.sqrt(usual * least) / 2  # half the spread of counts that are independent
    # The median alone is coarse where counts are small.
    typical = max(_NORMAL * np.median(residuals), np.quantile(residuals, 0.8) / _NORMAL_80)
    return usual, float(few * max(typical, random, least))


def duration(context: CheckContext) -> CheckResult:
    """Fails if a task's completed runs take far longer than they did."""
    last = context.observed_until.astimezone(context.zone).date()
    days = _daily(context, last, round(context.limits.duration_days) + _RECENT_DAYS)
    found = find_slower_tasks(days, last, context.limits)
    return _result("duration", found, days["task_id"].nunique(), "became slower")


def find_slower_tasks(days: pd.DataFrame, last: date, limits: Limits) -> list[Finding]:
    """The tasks whose runs take far longer on each of the last two days than on the days before.

    Compared are the logarithms of the daily medians: slower means more than
    `Limits.duration_spreads` usual spreads (1.4826 times the median absolute deviation) above the
    median of the days before, and `Limits.duration_factor` times as long, on both days.

    Args:
        days: Rows of ``task_daily``.
        last: The last day, which may not have ended.
        limits: See `Limits`.
    """
    found = []
    recent_from = pd.Timestamp(last) - pd.Timedelta(days=_RECENT_DAYS - 1)
    for task_id, rows in days[days["median_seconds"] > 0].groupby("task_id"):
        is_recent = rows["day"] >= recent_from
        enough = rows["timed_runs"] >= limits.duration_runs
        recent = rows.loc[is_recent, "median_seconds"].to_numpy(float)
        before = rows.loc[~is_recent & enough, "median_seconds"].to_numpy(float)
        recent_runs = rows.loc[is_recent, "timed_runs"].sum()
        if (
            len(recent) < _RECENT_DAYS
            or recent_runs < _RECENT_DAYS * limits.duration_runs
            or len(before) < _BASELINE_SHARE * limits.duration_days
        ):
            continue
        usual = np.median(np.log(before))
        spread = _NORMAL * np.median(np.abs(np.log(before) - usual))
        least = max(limits.duration_spreads * spread, np.log(limits.duration_factor))
        longer = np.log(recent.min()) - usual
        if longer > least:
            low, high = np.exp(usual - spread), np.exp(usual + spread)
            now = f"{recent.min():,.0f} s" if recent.min() >= 1 else f"{recent.min():.2f} s"
            found.append(
                Finding(
                    "duration",
                    str(task_id),
                    f"runs take {np.exp(longer):.1f} times as long",
                    f"half of the runs take {now} or longer, on each of the last two days; before, "
                    f"it was {np.exp(usual):,.0f} s ({low:,.0f} to {high:,.0f} s on most days)",
                    str(task_id),
                    _name(rows),
                    weight=float(longer),
                )
            )
    return found


def _daily(context: CheckContext, last: date, count: int) -> pd.DataFrame:
    """Rows of ``task_daily`` of so many days and the day before them, up to the last."""
    return query(
        context.source,
        "task_daily",
        since=datetime.combine(last - timedelta(days=count), time(), context.zone),
        until=min(
            datetime.combine(last + timedelta(days=1), time(), context.zone), context.observed_until
        ),
        time_zone=context.zone.key,
    )


def _name(rows: pd.DataFrame) -> str | None:
    """The name of the task that the rows are of; None if it is not known."""
    name = rows["task_name"].iloc[0]
    return None if pd.isna(name) else str(name)


def _result(name: str, findings: list[Finding], tasks: int, healthy: str) -> CheckResult:
    findings = sorted(findings, key=lambda each: -each.weight)
    first, *more = [f"{each.task_name or each.task_id}: {each.title}" for each in findings] or [""]
    others = f", and {len(more)} more" if more else ""
    of_tasks = f"of {counted(tasks, 'task')}"
    none = f"none {of_tasks}" if name == "duration" else f"each {of_tasks}"
    return CheckResult(
        name,
        tables.TASK_RUNS.name,
        f"{first}{others}" if findings else f"{none} {healthy}",
        {"tasks": tasks, "found": len(findings)},
        findings,
    )
