"""Is the loaded history sound? Four questions to the destination, for any scheduler to ask.

    from komos_source.analytics.checks import run_checks
    from komos_source.destinations.pipeline import make_pipeline

    for verdict in run_checks(make_pipeline(pipeline_name="komos_checks")):
        print(verdict)

Ask under a pipeline name that no load has: a load empties its working directory when it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source import tables
from komos_source.analytics import node_regressions
from komos_source.analytics.query import SqlSource
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.exceptions import DestinationError
from komos_source.settings import LOCK_TIMEOUT

_DAY = timedelta(days=1)
_FRESH = timedelta(hours=1)
_RETIRED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer to one question.

    Attributes:
        name: Of the question; the function here is called so.
        table: The table that it is about.
        passed: Whether all is well.
        detail: What was found, in a sentence.
        figures: What the answer rests on.
    """

    name: str
    table: str
    passed: bool
    detail: str
    figures: Mapping[str, int | float] = field(default_factory=dict)


def run_checks(source: SqlSource) -> list[CheckResult]:
    """All of them, with their defaults."""
    return [check(source) for check in CHECKS]


def no_window_gap(source: SqlSource, within: timedelta = _DAY) -> CheckResult:
    """Whether no runs may have slipped out of a task's list unseen lately.

    Args:
        source: A dlt pipeline, or whatever else has its ``sql_client()``.
        within: Gaps found longer ago have been told of, and cannot be closed.

    Raises:
        KomosError: The destination cannot be asked.
    """
    table = tables.TASK_RUN_WINDOW_GAPS.name
    ((gaps,),) = _ask(
        source, "SELECT COUNT(*) FROM {} WHERE detected_at >= %s", table, _now() - within
    )
    return CheckResult(
        "no_window_gap",
        table,
        gaps == 0,
        f"{gaps} tasks started 50 runs or more between two loads within {_text(within)}",
        {"gaps": gaps},
    )


def rejected_share(
    source: SqlSource, limit: float = 0.001, within: timedelta = _DAY
) -> CheckResult:
    """Whether nearly all entries that came could be rows.

    Args:
        source: See `no_window_gap`.
        limit: Share of the entries that may have been rejected.
        within: How far to look back over the loads.

    Raises:
        KomosError: The destination cannot be asked.
    """
    ((loaded, rejected),) = _ask(
        source,
        "SELECT SUM(entries_loaded), SUM(entries_rejected) FROM {} WHERE started_at >= %s",
        tables.KOMOS_LOADS.name,
        _now() - within,
    )
    loaded, rejected = int(loaded or 0), int(rejected or 0)
    share = rejected / (loaded + rejected) if rejected else 0.0
    return CheckResult(
        "rejected_share",
        tables.TASK_RUN_LOGS_REJECTED.name,
        share <= limit,
        f"{rejected:,} of {loaded + rejected:,} entries were rejected within {_text(within)}",
        {"loaded": loaded, "rejected": rejected, "share": share},
    )


def freshness(source: SqlSource, limit: timedelta = _FRESH) -> CheckResult:
    """Whether every pipeline that loads here, such as each shard, has asked the API lately.

    One that has done nothing for a week is taken to be retired, unless there is no other.

    Args:
        source: See `no_window_gap`.
        limit: How long ago the last load may have ended.

    Raises:
        KomosError: The destination cannot be asked.
    """
    rows = _ask(
        source,
        "SELECT pipeline_name, MAX(ended_at) FROM {} "
        "WHERE exit_code <> 1 AND requests > 0 GROUP BY pipeline_name",
        tables.KOMOS_LOADS.name,
    )
    now = _now()
    ages = {name: now - _utc(ended_at) for name, ended_at in rows}
    if not ages:
        return CheckResult("freshness", tables.TASK_RUN_LOGS.name, False, "nothing was ever loaded")
    youngest = min(ages.values())
    name, age = max(
        ((name, age) for name, age in ages.items() if age < max(_RETIRED, youngest + _FRESH)),
        key=lambda each: each[1],
    )
    return CheckResult(
        "freshness",
        tables.TASK_RUN_LOGS.name,
        age <= limit,
        f"the last load of {name} ended {_text(age)} ago",
        {"seconds": round(age.total_seconds())},
    )


def no_regression(source: SqlSource) -> CheckResult:
    """Whether no node has more runs with errors than before, beyond chance.

    Raises:
        KomosError: The destination cannot be asked.
    """
    found = node_regressions(source)
    regressed = found[found["state"] == "regressed"]
    nodes = ", ".join(
        f"{row.node_id} of task {row.task_id} ({row.baseline_rate:.1%} to {row.recent_rate:.1%})"
        for row in regressed.itertuples()
    )
    return CheckResult(
        "no_regression",
        tables.TASK_RUN_LOGS.name,
        regressed.empty,
        f"more runs with errors at: {nodes}" if nodes else f"none of {len(found)} nodes got worse",
        {"regressed": len(regressed), "nodes": len(found)},
    )


def row_counts(source: SqlSource) -> dict[str, int]:
    """How many rows each table has.

    Raises:
        KomosError: The destination cannot be asked.
    """
    names = [table.name for table in tables.ARROW_TABLES]
    return {name: int(_ask(source, "SELECT COUNT(*) FROM {}", name)[0][0]) for name in names}


CHECKS = (no_window_gap, rejected_share, freshness, no_regression)


def _ask(source: SqlSource, query: str, table: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connect_when_unlocked(source.sql_client, LOCK_TIMEOUT) as client:
        text = query.format(client.make_qualified_table_name(table))
        try:
            return list(client.execute_sql(text, *parameters) or [])
        except DatabaseUndefinedRelation as error:
            raise DestinationError(
                f"there is no table {table} in the dataset {client.dataset_name!r} yet: load first"
            ) from error


def _now() -> datetime:
    return datetime.now(UTC)


def _utc(moment: datetime) -> datetime:
    """Databases that keep no offset answer without one; what went in was UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
