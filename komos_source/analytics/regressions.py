"""Finds nodes that fail more often than before, beyond what chance explains."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from komos_source.analytics.database import SqlSource
from komos_source.analytics.queries import query
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import UsageError

STATES = ("regressed", "new", "ongoing", "resolved", "quiet")
_NODE = ["task_id", "node_id"]
_COLUMNS = [
    *_NODE,
    "state",
    "watch",
    "changed_on",
    *("baseline_runs", "baseline_hits", "baseline_rate"),
    *("recent_runs", "recent_hits", "recent_rate"),
    "difference",
    "p_value",
    "p_adjusted",
    "only_on_trouble",
]


def node_regressions(
    source: SqlSource,
    *,
    level: Literal["error", "warning"] = "error",
    recent_days: int = 2,
    baseline_days: int = 14,
    as_of: date | None = None,
    time_zone: str | None = None,
    alpha: float = 0.05,
    minimum_effect: float = 0.05,
) -> pd.DataFrame:
    """Compares each node's last days with the days before.

    Args:
        source: What `open_database` returns, a dlt pipeline, or anything else with its
            ``sql_client()``.
        level: Counts runs with an error at the node, or with a warning.
        recent_days: Number of days to test, ending at `as_of`.
        baseline_days: Number of days before those, to compare with.
        as_of: The last day; that of the newest finished run if None.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.
        alpha: Expected share of false alarms among the nodes called ``regressed``.
        minimum_effect: Smallest difference of rates that counts, however certain.

    Returns:
        A row per node that was visited in either period, those that need attention first.
        ``state`` is

        - ``regressed``: the rate rose by `minimum_effect` or more, and by more than chance explains
          given how many nodes were tested (``p_adjusted`` up to `alpha`);
        - ``new``: hits at a node that no run visited in the days before;
        - ``ongoing``: hits in both periods, without such a change;
        - ``resolved``: the rate fell by as much;
        - ``quiet``: none of these.

        ``watch`` marks nodes that would be ``regressed`` if they were the only one tested
        (``p_value`` up to `alpha`): expect false alarms. ``changed_on`` is the most likely day of
        the change, for nodes that are ``regressed``, ``resolved`` or on watch. Hits are runs with
        an error (or warning) at the node; rates are shares of ``baseline_runs`` and
        ``recent_runs``.

    Raises:
        UsageError: A period is empty.
    """
    if recent_days < 1 or baseline_days < 1:
        raise UsageError("recent_days and baseline_days must be at least 1")
    zone = ZoneInfo(time_zone or configured_time_zone())
    last = as_of or _newest_day(source, zone)
    if last is None:
        return pd.DataFrame(columns=_COLUMNS)
    first = last - timedelta(days=recent_days + baseline_days - 1)
    daily = query(
        source,
        "node_health_daily",
        since=datetime.combine(first, time(), zone),
        until=datetime.combine(last + timedelta(days=1), time(), zone),
        time_zone=zone.key,
    )
    return compare(
        daily,
        recent_from=last - timedelta(days=recent_days - 1),
        level=level,
        alpha=alpha,
        minimum_effect=minimum_effect,
    )


def _newest_day(source: SqlSource, zone: ZoneInfo) -> date | None:
    newest = query(source, "newest_run")["newest"].iloc[0]
    return None if pd.isna(newest) else newest.astimezone(zone).date()


def compare(
    daily: pd.DataFrame,
    *,
    recent_from: date,
    level: str = "error",
    alpha: float = 0.05,
    minimum_effect: float = 0.05,
) -> pd.DataFrame:
    """The comparison itself; see `node_regressions`.

    Args:
        daily: Rows of ``node_health_daily``.
        recent_from: The first of the days that are judged; those before are the baseline.
        level: See `node_regressions`, as for the next two.
        alpha: See there.
        minimum_effect: See there.
    """
    if daily.empty:
        return pd.DataFrame(columns=_COLUMNS)
    days = hits_by_day(daily, level)
    is_recent = days["day"] >= pd.Timestamp(recent_from)
    found = _totals(days[~is_recent], "baseline").join(
        _totals(days[is_recent], "recent"), how="outer"
    )
    found = found.fillna(0).astype(int)
    found["baseline_rate"] = found["baseline_hits"] / found["baseline_runs"]
    found["recent_rate"] = found["recent_hits"] / found["recent_runs"]
    found["difference"] = found["recent_rate"] - found["baseline_rate"]
    found["p_value"], found["p_adjusted"] = _tested(found, "recent", "baseline")
    _, fall_adjusted = _tested(found, "baseline", "recent")

    risen = found["difference"] >= minimum_effect
    regressed = risen & (found["p_adjusted"] <= alpha)
    resolved = (found["difference"] <= -minimum_effect) & (fall_adjusted <= alpha)
    hit = found["recent_hits"] > 0
    found["state"] = np.select(
        [
            regressed,
            hit & (found["baseline_runs"] == 0),
            resolved,
            hit & (found["baseline_hits"] > 0),
        ],
        ["regressed", "new", "resolved", "ongoing"],
        default="quiet",
    )
    found["watch"] = risen & (found["p_value"] <= alpha) & ~regressed
    changed = regressed | resolved | found["watch"]
    found["changed_on"] = _change_days(days, found.index[changed]).reindex(found.index)
    trouble = daily.groupby(_NODE)["only_on_trouble"].any()
    found["only_on_trouble"] = trouble.reindex(found.index).astype(bool)
    order = found["state"].map(STATES.index)
    found = found.assign(order=order).sort_values(["order", "p_value", *_NODE])
    return found.reset_index()[_COLUMNS]


def hits_by_day(daily: pd.DataFrame, level: str) -> pd.DataFrame:
    """Per node and day: runs, and hits among them.

    A node that writes only on trouble has no row where all went well: it gets one for each day on
    which its task ran, and the task's runs as its own.

    Args:
        daily: Rows of ``node_health_daily``.
        level: What is a hit: a run with an ``error`` there, or with a ``warning``.

    Returns:
        Columns ``task_id``, ``node_id``, ``day``, ``runs``, ``hits``; no row where nothing ran.
    """
    daily = daily.rename(columns={f"runs_with_{level}": "hits"})
    columns = [*_NODE, "day", "runs", "hits"]
    on_trouble = daily["only_on_trouble"].astype(bool)
    task_days = daily[["task_id", "day", "runs_of_task"]].drop_duplicates()
    filled = (
        daily.loc[on_trouble, _NODE]
        .drop_duplicates()
        .merge(task_days, on="task_id")
        .merge(daily[[*_NODE, "day", "hits"]], on=[*_NODE, "day"], how="left")
        .fillna({"hits": 0})
        .rename(columns={"runs_of_task": "runs"})
    )
    days = pd.concat([daily.loc[~on_trouble, columns], filled[columns]])
    return days.astype({"runs": int, "hits": int})


def _totals(days: pd.DataFrame, period: str) -> pd.DataFrame:
    return days.groupby(_NODE)[["runs", "hits"]].sum().add_prefix(f"{period}_")


def _tested(found: pd.DataFrame, higher: str, lower: str) -> tuple[pd.Series, pd.Series]:
    """P-values that the rate of one period is higher, plain and adjusted; none without runs."""
    from komos_source.analytics import statistics

    both = found[(found["baseline_runs"] > 0) & (found["recent_runs"] > 0)]
    p_values = statistics.fisher_greater(
        *(
            both[f"{period}_{what}"].to_numpy()
            for period in (higher, lower)
            for what in ("hits", "runs")
        )
    )
    adjusted = statistics.benjamini_hochberg(p_values)
    return (
        pd.Series(p_values, both.index).reindex(found.index),
        pd.Series(adjusted, both.index).reindex(found.index),
    )


def _change_days(days: pd.DataFrame, nodes: pd.Index) -> pd.Series:
    """The likeliest day of the change, for nodes seen on more than one day."""
    from komos_source.analytics import statistics

    by_node = days.sort_values("day").set_index(_NODE)
    found = {}
    for node in nodes:
        rows = by_node.loc[[node]]
        cut = statistics.change_point(rows["hits"].to_numpy(), rows["runs"].to_numpy())
        found[node] = rows["day"].iloc[cut]
    return pd.Series(found, dtype="datetime64[s]")
