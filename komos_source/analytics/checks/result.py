"""What a check returns, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from komos_source.analytics.bursts import incidents_in
from komos_source.analytics.checks.limits import Limits
from komos_source.analytics.database import SqlSource, fetch, read_task_names
from komos_source.analytics.node_days import History, read_history
from komos_source.analytics.regressions import compare
from komos_source.exceptions import NotLoadedError
from komos_source.timestamps import as_utc

_YOUNG = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: Name of the check that found it.
        subject: What it is about; the same each time the check finds the same. Together with
            `check` it identifies the finding.
        title: What is wrong, in a sentence without a full stop.
        detail: The figures, with how certain they are.
        task_id: The task, if it is about one.
        task_name: Its name; None if it is not known.
        node_id: The node, if it is about one.
        run_id: A run that shows it; None if there is no particular one.
        nodes: Task id and node of each node that it is about, if these are several.
        weight: The larger, the worse, among the findings of one check.
        reason: Why it is a known problem; None if it is not one (see `known_problems`).
    """

    check: str
    subject: str
    title: str
    detail: str
    task_id: str | None = None
    task_name: str | None = None
    node_id: str | None = None
    run_id: str | None = None
    nodes: tuple[tuple[str, str], ...] = ()
    weight: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: Name of the check.
        table: The table that it is about.
        detail: What was found, in a sentence.
        figures: The numbers behind it.
        findings: What is wrong, the worst first.
        known: What is wrong and a known problem: it does not fail the check.
        covered: What is wrong and a finding of another check: it does not fail this one.
    """

    name: str
    table: str
    detail: str
    figures: Mapping[str, int | float] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    known: Sequence[Finding] = ()
    covered: Sequence[Finding] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong that is not a known problem."""
        return not self.findings


class CheckContext:
    """What the checks are given: all of one call see the same data at the same time.

    Args:
        source: What `run_checks` was given.
        limits: When a check fails.
        as_of: The time that counts as now; what is younger is not looked at. None is now.
        time_zone: IANA name of the time zone that days are counted in.
    """

    def __init__(
        self, source: SqlSource, limits: Limits, as_of: datetime | None, time_zone: str
    ) -> None:
        self.source = source
        self.limits = limits
        self.zone = ZoneInfo(time_zone)
        self.as_of = as_utc(as_of or datetime.now(UTC))
        self.given = as_of and self.as_of

    @cached_property
    def last_polls(self) -> Mapping[str, datetime] | None:
        """When each pipeline, such as a shard, last requested the API and could store the answers.

        A pipeline without a load for `Limits.retired_days` is left out, unless there is no other.
        None if there is no ``komos_loads``: a pipeline of one's own writes none.
        """
        try:
            rows = fetch(
                self.source,
                "SELECT pipeline_name, MAX(ended_at) FROM {komos_loads} "
                "WHERE exit_code <> 1 AND requests > 0 AND ended_at <= %s GROUP BY pipeline_name",
                self.as_of,
            )[1]
        except NotLoadedError:
            fetch(self.source, "SELECT COUNT(*) FROM {task_run_logs}")
            return None
        polls = {name: as_utc(ended_at) for name, ended_at in rows}
        if not polls:
            return {}
        newest = max(polls.values())
        oldest = self.as_of - timedelta(days=self.limits.retired_days)
        return {name: at for name, at in polls.items() if at > min(oldest, newest - _YOUNG)}

    @property
    def observed_until(self) -> datetime:
        """Up to when runs of all tasks would be known: the last poll of the least polled pipeline.

        What is silent since then may only be not loaded, which `freshness` finds.
        """
        return min(self.last_polls.values()) if self.last_polls else self.as_of

    @cached_property
    def history(self) -> History | None:
        """The runs of all nodes, and which of them failed."""
        return read_history(self.source, "error", self.given, self.zone)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """What `node_regressions` returns."""
        return compare(self.history)

    @cached_property
    def incidents(self) -> pd.DataFrame:
        """What `incidents` returns."""
        return incidents_in(self.source, self.history)

    @cached_property
    def task_names(self) -> Mapping[str, str]:
        """Names of the tasks by id; tasks without a name are left out."""
        return read_task_names(self.source)


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows of a frame as dicts, with None where pandas has NaN or NaT."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 task, 2,000 tasks."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def span(length: timedelta) -> str:
    """A length of time, rounded: 45 min, 7 h, 3 days."""
    hours = length.total_seconds() / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"  # noqa: PLR2004 - two days
