"""Reads the runs of nodes in order, and counts them by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from komos_source.analytics.change_model import DAYS
from komos_source.analytics.database import SqlSource
from komos_source.analytics.queries import query

_READ_BACK = timedelta(weeks=12)
"""How far back runs are read: 24 days with runs, also of a task that runs twice a week."""
NODE = ["task_id", "node_id"]
Array = npt.NDArray[Any]
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class History:
    """The runs of all nodes in the 12 weeks up to a moment.

    Attributes:
        streaks: Rows of ``node_streaks``.
        until: The moment; runs that started at it or later are not among them.
        today: Its day, which is judged.
    """

    streaks: pd.DataFrame
    until: datetime
    today: date


def read_history(
    source: SqlSource, level: str, as_of: date | datetime | None, zone: ZoneInfo
) -> History | None:
    """Reads the runs of all nodes.

    Args:
        source: See `node_regressions`.
        level: What is a hit: a run with an ``error`` at the node, or with a ``warning``.
        as_of: The last day, or a moment; the day of the newest finished run if None.
        zone: Time zone that days are counted in, and of a moment without one.

    Returns:
        None if there is no run at all.
    """
    if as_of is None:
        newest = query(source, "newest_run")["newest"].iloc[0]
        if pd.isna(newest):
            return None
        as_of = newest.astimezone(zone).date()
    if isinstance(as_of, datetime):
        until = as_of.astimezone(zone) if as_of.tzinfo else as_of.replace(tzinfo=zone)
        today = until.date()
    else:
        until, today = datetime.combine(as_of + timedelta(days=1), time(), zone), as_of
    streaks = query(
        source,
        "node_streaks",
        since=datetime.combine(today - _READ_BACK, time(), zone),
        until=until,
        levels=[level],
        time_zone=zone.key,
    )
    return History(streaks, until, today)


@dataclass(frozen=True, slots=True)
class NodeDays:
    """Runs and hits of each node on its last days with runs; see `change_model`.

    Attributes:
        nodes: Task and node of each row.
        today: Number of the judged day, as in `date.toordinal`.
        runs: Of shape (nodes, DAYS); the last column is the judged day.
        hits: Of the same shape, as the next two.
        days: Numbers of the days.
        first_hit: Start of the day's first run with a hit, in seconds since 1970; infinite if none.
        last_hit: The same of the last run with a hit of all.
    """

    nodes: pd.MultiIndex
    today: int
    runs: Array
    hits: Array
    days: Array
    first_hit: Array
    last_hit: Array


def by_day(streaks: pd.DataFrame, today: date) -> NodeDays:
    """Counts the runs of each node by day.

    Args:
        streaks: Rows of ``node_streaks``.
        today: The judged day.
    """
    hit = streaks["hits"] > 0
    daily = (
        streaks.assign(
            first_hit=seconds(streaks["first_run_at"]).where(hit, np.inf),
            last_hit=seconds(streaks["last_run_at"]).where(hit, -np.inf),
        )
        .groupby([*NODE, "day"], sort=True)
        .agg({"runs": "sum", "hits": "sum", "first_hit": "min", "last_hit": "max"})
        .reset_index("day")
    )
    nodes = pd.MultiIndex.from_tuples(daily.index.unique(), names=NODE)
    row = nodes.get_indexer(daily.index)
    number = (daily["day"].to_numpy("datetime64[D]").astype(np.int64)) + _EPOCH
    is_today = number == today.toordinal()
    back = daily[~is_today].groupby(NODE).cumcount(ascending=False).to_numpy()
    column = np.full(len(daily), DAYS - 1)
    column[~is_today] -= 1 + back
    kept = column >= 0
    shape = (len(nodes), DAYS)
    arrays = {
        "runs": np.zeros(shape, np.int64),
        "hits": np.zeros(shape, np.int64),
        "first_hit": np.full(shape, np.inf),
        "days": np.zeros(shape, np.int64),
    }
    for name, array in arrays.items():
        values = number if name == "days" else daily[name].to_numpy()
        array[row[kept], column[kept]] = values[kept]
    arrays["days"][:, -1] = today.toordinal()
    last_hit = np.full(len(nodes), -np.inf)
    np.maximum.at(last_hit, row, daily["last_hit"].to_numpy())
    return NodeDays(nodes=nodes, today=today.toordinal(), last_hit=last_hit, **arrays)


def seconds(moments: pd.Series) -> pd.Series:
    """Times as seconds since 1970."""
    return pd.to_datetime(moments, utc=True).astype("datetime64[us, UTC]").astype("int64") / 1e6


def as_times(since_1970: pd.Series) -> pd.Series:
    """The reverse of `seconds`; null where it is infinite."""
    known = since_1970.astype(float).replace(np.inf, np.nan)
    return pd.to_datetime(known, unit="s", utc=True).dt.round("us").astype("datetime64[us, UTC]")
