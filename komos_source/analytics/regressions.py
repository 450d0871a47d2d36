"""Finds nodes that fail more often than before, beyond what chance and bursts explain."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from komos_source.analytics.bursts import Burst, bursts_until
from komos_source.analytics.database import SqlSource
from komos_source.analytics.node_days import NODE, History, as_times, by_day, read_history
from komos_source.analytics.verdicts import (
    find_changes,
    judge,
    learn_usual,
    usual_rates,
)
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import UsageError

STATES = ("regressed", "new", "incident", "ongoing", "resolved", "quiet")
_COLUMNS = [
    *NODE,
    "state",
    "watch",
    "changed_on",
    *("baseline_runs", "baseline_hits", "baseline_rate"),
    *("recent_runs", "recent_hits", "recent_rate"),
    "difference",
    "p_value",
    "p_adjusted",
    "only_on_trouble",
    *("incident_from", "incident_until", "incident_runs", "incident_id", "lasts_days"),
]


def node_regressions(
    source: SqlSource,
    *,
    level: Literal["error", "warning"] = "error",
    recent_days: int = 2,
    baseline_days: int = 14,
    as_of: date | datetime | None = None,
    time_zone: str | None = None,
    alpha: float = 0.05,
    minimum_effect: float = 0.05,
) -> pd.DataFrame:
    """Finds the nodes whose rate has changed, and those with a burst of failures.

    Everything is computed from the runs of the 12 weeks before `as_of`, so that the same data gives
    the same answer, however often it is asked for.

    Args:
        source: What `open_database` returns, a dlt pipeline, or anything else with its
            ``sql_client()``.
        level: Counts runs with an error at the node, or with a warning.
        recent_days: Number of last days that the ``recent_…`` columns are about, and in which an
            incident that is over is still shown.
        baseline_days: Number of days before those, for the ``baseline_…`` columns.
        as_of: The last day, or a moment: runs that started at it or later are ignored. A moment
            without a time zone is in `time_zone`. The day of the newest finished run if None.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.
        alpha: False ``regressed`` that are accepted a day, for all nodes together: an upper bound.
        minimum_effect: Smallest difference of rates that counts, however certain.

    Returns:
        A row per node that was visited in either period, those that need attention first.
        ``state`` is

        - ``regressed``: the rate rose by `minimum_effect` or more, on one of the last 10 days with
          runs; by more than chance, its usual variation from day to day and outages explain, given
          how many nodes there are (``p_adjusted`` up to `alpha`); and for more than 24 hours;
        - ``incident``: a burst of failing runs that is open, or ended within `recent_days`;
        - ``new``: hits at a node that no run visited in the days before;
        - ``ongoing``: hits in both periods, without such a change;
        - ``resolved``: the rate fell by as much;
        - ``quiet``: none of these.

        ``watch`` marks nodes that would be ``regressed`` if they were the only one tested
        (``p_value`` up to `alpha`): expect false alarms. ``changed_on`` is the most likely day of
        the change, for nodes that are ``regressed``, ``resolved`` or on watch; for these,
        ``recent_…`` is since that day and ``baseline_…`` before it. Hits are runs with an error (or
        warning) at the node; rates are shares of ``baseline_runs`` and ``recent_runs``.
        ``incident_from`` and ``incident_until`` are the start of the first run with a hit and of
        the first one without after it (null while it is open), ``incident_runs`` its hits, and
        ``incident_id`` is that of the row in `incidents`, the same for all nodes that share it.
        ``lasts_days`` is the time between the first and the last hit since the change, or in the
        incident.

    Raises:
        UsageError: A period is empty.
    """
    if recent_days < 1 or baseline_days < 1:
        raise UsageError("recent_days and baseline_days must be at least 1")
    zone = ZoneInfo(time_zone or configured_time_zone())
    return compare(
        read_history(source, level, as_of, zone),
        recent_days=recent_days,
        baseline_days=baseline_days,
        alpha=alpha,
        minimum_effect=minimum_effect,
    )


def compare(
    history: History | None,
    *,
    recent_days: int = 2,
    baseline_days: int = 14,
    alpha: float = 0.05,
    minimum_effect: float = 0.05,
) -> pd.DataFrame:
    """The comparison itself; see `node_regressions`.

    Args:
        history: What `read_history` returned.
        recent_days: Length of the recent period in days, today included.
        baseline_days: Length of the period before it in days.
        alpha: False ``regressed`` that are accepted a day, for all nodes together: an upper bound.
        minimum_effect: Smallest difference of rates that counts, however certain.
    """
    if history is None or history.streaks.empty:
        return pd.DataFrame(columns=_COLUMNS)
    streaks = history.streaks
    counts = by_day(streaks, history.today)
    usual = learn_usual(counts, minimum_effect)
    changes = find_changes(counts, usual)
    verdicts = judge(changes, alpha, minimum_effect)
    changed = verdicts.regressed | verdicts.resolved | verdicts.watch

    ago = counts.today - counts.days
    recent, baseline = ago < recent_days, (ago >= recent_days) & (ago < recent_days + baseline_days)
    column = changes.column[:, None]
    places = np.arange(ago.shape[1])[None, :]
    recent = np.where(changed[:, None], places >= column, recent)
    first_day = counts.days[np.arange(len(column)), changes.column]
    days_before = first_day[:, None] - counts.days
    baseline = np.where(
        changed[:, None], (days_before > 0) & (days_before <= baseline_days), baseline
    )
    found = pd.DataFrame(
        {
            f"{name}_{what}": (array * period).sum(axis=1)
            for name, period in (("baseline", baseline), ("recent", recent))
            for what, array in (("runs", counts.runs), ("hits", counts.hits))
        },
        index=counts.nodes,
    )
    found["baseline_rate"] = found["baseline_hits"] / found["baseline_runs"]
    found["recent_rate"] = found["recent_hits"] / found["recent_runs"]
    found["difference"] = found["recent_rate"] - found["baseline_rate"]
    found["p_value"], found["p_adjusted"] = changes.p_rise, verdicts.p_adjusted
    found["watch"] = verdicts.watch
    day = pd.to_datetime((first_day - date(1970, 1, 1).toordinal()), unit="D").astype(
        "datetime64[s]"
    )
    found["changed_on"] = pd.Series(day, found.index).where(changed)
    found["lasts_days"] = pd.Series(changes.lasts / 86400, found.index).where(changed)
    found["only_on_trouble"] = streaks.groupby(NODE)["only_on_trouble"].any()
    rates = usual_rates(counts, usual)
    bursts = bursts_until(streaks, counts, rates, history.until - timedelta(days=recent_days))
    found = _with_incidents(found, bursts)

    hit = found["recent_hits"] > 0
    found["state"] = np.select(
        [
            verdicts.regressed,
            hit & (found["baseline_runs"] == 0),
            found["incident_id"].notna(),
            verdicts.resolved,
            hit & (found["baseline_hits"] > 0),
        ],
        ["regressed", "new", "incident", "resolved", "ongoing"],
        default="quiet",
    )
    order = found["state"].map(STATES.index)
    found = found.assign(order=order).sort_values(["order", "p_value", *NODE])
    visited = (counts.runs * (ago < recent_days + baseline_days)).sum(axis=1) > 0
    found = found[pd.Series(visited, counts.nodes).reindex(found.index)]
    return found.reset_index()[_COLUMNS]


def _with_incidents(found: pd.DataFrame, bursts: list[Burst]) -> pd.DataFrame:
    """Adds each node's last burst."""
    last = {burst.node: burst for burst in sorted(bursts, key=lambda burst: burst.started)}
    mine = [last.get(node) for node in found.index]
    found["incident_id"] = pd.Series(
        [burst.incident_id if burst else None for burst in mine], found.index, dtype=object
    )
    found["incident_runs"] = pd.array(
        [burst.hits if burst else pd.NA for burst in mine], dtype="Int64"
    )
    for name, value in (("from", "started"), ("until", "ended")):
        moments = [getattr(burst, value) if burst else np.nan for burst in mine]
        found[f"incident_{name}"] = as_times(pd.Series(moments, found.index))
    spans = [(burst.last_hit - burst.started) / 86400 if burst else np.nan for burst in mine]
    found["lasts_days"] = found["lasts_days"].fillna(pd.Series(spans, found.index))
    return found


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
    columns = [*NODE, "day", "runs", "hits"]
    on_trouble = daily["only_on_trouble"].astype(bool)
    task_days = daily[["task_id", "day", "runs_of_task"]].drop_duplicates()
    filled = (
        daily.loc[on_trouble, NODE]
        .drop_duplicates()
        .merge(task_days, on="task_id")
        .merge(daily[[*NODE, "day", "hits"]], on=[*NODE, "day"], how="left")
        .fillna({"hits": 0})
        .rename(columns={"runs_of_task": "runs"})
    )
    days = pd.concat([daily.loc[~on_trouble, columns], filled[columns]])
    return days.astype({"runs": int, "hits": int})
