"""All that the report and the notebook on node health show, read from the database.

Every query aggregates in the database, so few rows come back however large the tables are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

import pandas as pd

from komos_source.analytics.bursts import incidents
from komos_source.analytics.checks import CheckResult, run_checks
from komos_source.analytics.database import WHAT_TO_RUN, Database
from komos_source.analytics.known_problems import KnownProblem, read_known_problems
from komos_source.analytics.precursors import failure_precursors
from komos_source.analytics.queries import query
from komos_source.analytics.regressions import hits_by_day, node_regressions
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import DestinationError, UsageError

Level = Literal["error", "warning"]
LEVELS: tuple[Level, ...] = ("error", "warning")
"""Levels that runs are counted by, the graver first."""
RECENT_DAYS = 2
BASELINE_DAYS = 14
_ENTRIES_PER_NODE = 8
"""Of each level: enough to see what is wrong, and few enough to bound the size of the page."""
_TASK_CHECKS = ("silent_tasks", "duration")
_SILENT = timedelta(days=7)
"""A task without a run for so long, counted from the newest run of all, has stopped, or runs so
rarely that a reader should know."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the page shows of one period.

    Attributes:
        location: Where the data was read.
        read_at: When it was read.
        zone: Name of the time zone that days are counted in.
        newest: When the newest finished run started.
        new_since: Since when messages are new; None for the last days.
        days: The days of the period, in order: none before the first finished run.
        days_asked: Number of days that were asked for.
        names: Names of the tasks, by id.
        coverage: Rows of ``task_coverage``.
        history: Rows of ``task_coverage`` for all time.
        health: Rows of ``node_health``.
        hits: Of each level, runs and hits by node and day (see `hits_by_day`).
        changes: Of each level, which nodes have changed (see `node_regressions`).
        incidents: Of each level, bursts of the last days (see `incidents`).
        tasks: Results of the checks ``silent_tasks`` and ``duration`` as of the newest run.
        known: The known problems that have not ended.
        templates: Rows of ``message_templates``: warnings and errors.
        precursors: See `failure_precursors`.
        entries: Rows of ``node_entries``: each node's newest warnings and errors.
    """

    location: str
    read_at: datetime
    zone: str
    newest: datetime
    new_since: datetime | None
    days: list[date]
    days_asked: int
    names: Mapping[str, str]
    coverage: pd.DataFrame
    history: pd.DataFrame
    health: pd.DataFrame
    hits: Mapping[str, pd.DataFrame]
    changes: Mapping[str, pd.DataFrame]
    incidents: Mapping[str, pd.DataFrame]
    tasks: Sequence[CheckResult]
    known: Sequence[KnownProblem]
    templates: pd.DataFrame
    precursors: pd.DataFrame
    entries: pd.DataFrame

    @property
    def recent_from(self) -> date:
        """The first of the days that are compared with those before."""
        return self.days[-1] - timedelta(days=RECENT_DAYS - 1)

    @property
    def silent(self) -> pd.DataFrame:
        """Rows of `history` of the tasks whose last run is a week or more before the newest run."""
        found = self.history[self.history["last_run_at"] <= self.newest - _SILENT]
        return found.sort_values("last_run_at")


def run_span(database: Database) -> tuple[datetime, datetime]:
    """When the first and the newest finished run started.

    Raises:
        DestinationError: There is no finished run; the message says what to run.
    """
    span = query(database, "newest_run")
    if span["newest"].isna().all():
        raise DestinationError(f"there is no finished run in {database.location}. {WHAT_TO_RUN}")
    return span["oldest"].iloc[0], span["newest"].iloc[0]


def read_findings(
    database: Database,
    days: int,
    time_zone: str | None = None,
    new_since: str | None = None,
) -> Findings:
    """Reads the days up to that of the newest finished run.

    Args:
        database: Where to read.
        days: Maximum number of days; days before the first run are left out.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.
        new_since: ISO 8601 date or time, in that time zone, since when a message counts as new; the
            last days if None or empty.

    Raises:
        UsageError: There is no such time zone, or no such time.
        LockedError: Another process kept the DuckDB file open.
        DestinationError: There is no finished run, or the database cannot be read.
    """
    zone = _zone(time_zone or configured_time_zone())
    since_when = _moment(new_since, zone) if new_since else None
    oldest, newest = run_span(database)
    last = newest.astimezone(zone).date()
    count = min(days, (last - oldest.astimezone(zone).date()).days + 1)
    shown = [last - timedelta(days=back) for back in range(count - 1, -1, -1)]
    since = datetime.combine(shown[0], time(), zone)
    until = datetime.combine(last + timedelta(days=1), time(), zone)
    ask = partial(query, database, since=since, until=until)
    daily = ask("node_health_daily", time_zone=zone.key)
    known = [each for each in read_known_problems() if each.until > datetime.now(UTC)]
    return Findings(
        location=database.location,
        read_at=datetime.now(UTC).astimezone(zone),
        zone=zone.key,
        newest=newest,
        new_since=since_when,
        days=shown,
        days_asked=days,
        names=database.task_names(),
        coverage=ask("task_coverage"),
        history=query(database, "task_coverage"),
        health=ask("node_health"),
        hits={level: hits_by_day(daily, level) for level in LEVELS},
        changes={
            level: node_regressions(
                database,
                level=level,
                recent_days=RECENT_DAYS,
                baseline_days=BASELINE_DAYS,
                as_of=last,
                time_zone=zone.key,
            )
            for level in LEVELS
        },
        incidents={
            level: incidents(
                database, level=level, days=RECENT_DAYS, as_of=last, time_zone=zone.key
            )
            for level in LEVELS
        },
        tasks=run_checks(database, _TASK_CHECKS, known=known, as_of=newest, time_zone=zone.key),
        known=known,
        templates=ask(
            "message_templates", levels=LEVELS, recent_days=RECENT_DAYS, new_since=since_when
        ),
        precursors=failure_precursors(database, since=since, until=until),
        entries=ask("node_entries", levels=LEVELS, limit=_ENTRIES_PER_NODE),
    )


def parse_moment(text: str) -> datetime:
    """Reads an ISO 8601 date or time that a user has given.

    Raises:
        UsageError: The text is neither.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no time: give an ISO 8601 date or time such as 2025-10-06"
        ) from error


def _moment(text: str, zone: ZoneInfo) -> datetime:
    moment = parse_moment(text.strip())
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"{name!r} is no time zone: give an IANA name such as Europe/Berlin"
        ) from error
