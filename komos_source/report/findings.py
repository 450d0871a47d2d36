"""What the page is about, asked of the database: few rows each, whatever the tables hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pandas as pd

from komos_source.analytics.database import Database
from komos_source.analytics.precursors import failure_precursors
from komos_source.analytics.query import query
from komos_source.analytics.regressions import compare, hits_by_day
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import UsageError

LEVELS = ("error", "warning")
"""What a run can be hit by, the graver first."""
RECENT_DAYS = 2
BASELINE_DAYS = 14
_ENTRIES_A_NODE = 8
"""Of each level: enough to see what is the matter, and a page of bounded size."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page shows, of one period.

    Attributes:
        where: Where it was read.
        made_at: When.
        zone: Name of the time zone that days are counted in.
        days: The days of the period, in order.
        names: Names of the tasks, by id.
        coverage: Rows of ``task_coverage``.
        health: Rows of ``node_health``.
        hits: Of each level, runs and hits by node and day (see `hits_by_day`).
        changes: Of each level, the last days against those before (see `node_regressions`).
        templates: Rows of ``message_templates``: warnings and errors.
        precursors: See `failure_precursors`.
        entries: Rows of ``node_entries``: each node's newest warnings and errors.
    """

    where: str
    made_at: datetime
    zone: str
    days: list[date]
    names: Mapping[str, str]
    coverage: pd.DataFrame
    health: pd.DataFrame
    hits: Mapping[str, pd.DataFrame]
    changes: Mapping[str, pd.DataFrame]
    templates: pd.DataFrame
    precursors: pd.DataFrame
    entries: pd.DataFrame

    @property
    def recent_from(self) -> date:
        """The first of the days that are held against those before."""
        return self.days[-RECENT_DAYS]


def find(history: Database, days: int, time_zone: str | None = None) -> Findings:
    """Asks for everything, over the last days that runs are known of.

    Args:
        history: Where to read; it holds a finished run.
        days: How many, the last being that of the newest finished run.
        time_zone: IANA name of the time zone days are counted in; the configured one if None.

    Raises:
        UsageError: There is no such time zone.
        LockedError: Another process kept the DuckDB file open.
    """
    zone = _zone(time_zone or configured_time_zone())
    last = query(history, "newest_run")["newest"].iloc[0].astimezone(zone).date()
    shown = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    recent_from = last - timedelta(days=RECENT_DAYS - 1)
    since = datetime.combine(shown[0], time(), zone)
    until = datetime.combine(last + timedelta(days=1), time(), zone)
    ask = partial(query, history, since=since, until=until)
    daily = ask("node_health_daily", time_zone=zone.key)
    compared = daily[daily["day"] >= pd.Timestamp(recent_from - timedelta(days=BASELINE_DAYS))]
    return Findings(
        where=history.where,
        made_at=datetime.now(UTC).astimezone(zone),
        zone=zone.key,
        days=shown,
        names=history.task_names(),
        coverage=ask("task_coverage"),
        health=ask("node_health"),
        hits={level: hits_by_day(daily, level) for level in LEVELS},
        changes={
            level: compare(compared, recent_from=recent_from, level=level) for level in LEVELS
        },
        templates=ask("message_templates", levels=LEVELS, recent_days=RECENT_DAYS),
        precursors=failure_precursors(history, since=since, until=until),
        entries=ask("node_entries", levels=LEVELS, limit=_ENTRIES_A_NODE),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"{name!r} is no time zone: give an IANA name such as Europe/Berlin"
        ) from error
