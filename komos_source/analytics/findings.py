"""All that the report and the notebook on node health show, read from the database.

Every query aggregates in the database, so few rows come back however large the tables are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pandas as pd

from komos_source.analytics.database import WHAT_TO_RUN, Database
from komos_source.analytics.precursors import failure_precursors
from komos_source.analytics.queries import query
from komos_source.analytics.regressions import compare, hits_by_day
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import DestinationError, UsageError

LEVELS = ("error", "warning")
"""Levels that runs are counted by, the graver first."""
RECENT_DAYS = 2
BASELINE_DAYS = 14
_ENTRIES_PER_NODE = 8
"""Of each level: enough to see what is wrong, and few enough to bound the size of the page."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the page shows of one period.

    Attributes:
        location: Where the data was read.
        read_at: When it was read.
        zone: Name of the time zone that days are counted in.
        days: The days of the period, in order.
        names: Names of the tasks, by id.
        coverage: Rows of ``task_coverage``.
        health: Rows of ``node_health``.
        hits: Of each level, runs and hits by node and day (see `hits_by_day`).
        changes: Of each level, the last days compared with those before (see `node_regressions`).
        templates: Rows of ``message_templates``: warnings and errors.
        precursors: See `failure_precursors`.
        entries: Rows of ``node_entries``: each node's newest warnings and errors.
    """

    location: str
    read_at: datetime
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
        """The first of the days that are compared with those before."""
        return self.days[-RECENT_DAYS]


def newest_run(database: Database) -> datetime:
    """When the newest finished run started.

    Raises:
        DestinationError: There is no finished run; the message says what to run.
    """
    newest = query(database, "newest_run")["newest"]
    if newest.isna().all():
        raise DestinationError(f"there is no finished run in {database.location}. {WHAT_TO_RUN}")
    first: datetime = newest.iloc[0]
    return first


def read_findings(database: Database, days: int, time_zone: str | None = None) -> Findings:
    """Reads the days up to that of the newest finished run.

    Args:
        database: Where to read.
        days: Number of days.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.

    Raises:
        UsageError: There is no such time zone.
        LockedError: Another process kept the DuckDB file open.
        DestinationError: There is no finished run, or the database cannot be read.
    """
    zone = _zone(time_zone or configured_time_zone())
    last = newest_run(database).astimezone(zone).date()
    shown = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    recent_from = last - timedelta(days=RECENT_DAYS - 1)
    since = datetime.combine(shown[0], time(), zone)
    until = datetime.combine(last + timedelta(days=1), time(), zone)
    ask = partial(query, database, since=since, until=until)
    daily = ask("node_health_daily", time_zone=zone.key)
    compared = daily[daily["day"] >= pd.Timestamp(recent_from - timedelta(days=BASELINE_DAYS))]
    return Findings(
        location=database.location,
        read_at=datetime.now(UTC).astimezone(zone),
        zone=zone.key,
        days=shown,
        names=database.task_names(),
        coverage=ask("task_coverage"),
        health=ask("node_health"),
        hits={level: hits_by_day(daily, level) for level in LEVELS},
        changes={
            level: compare(compared, recent_from=recent_from, level=level) for level in LEVELS
        },
        templates=ask("message_templates", levels=LEVELS, recent_days=RECENT_DAYS),
        precursors=failure_precursors(database, since=since, until=until),
        entries=ask("node_entries", levels=LEVELS, limit=_ENTRIES_PER_NODE),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"{name!r} is no time zone: give an IANA name such as Europe/Berlin"
        ) from error
