"""Data-quality checks of the loaded data, for any scheduler to run.

from komos_source.analytics import open_database, run_checks

for result in run_checks(open_database()):
    print(result)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from komos_source import tables
from komos_source.analytics.database import SqlSource, fetch
from komos_source.analytics.regressions import node_regressions
from komos_source.exceptions import UsageError

_DAY = timedelta(days=1)
_FRESH = timedelta(hours=1)
_RETIRED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: Name of the check.
        table: The table that it is about.
        passed: Whether nothing is wrong.
        detail: What was found, in a sentence.
        figures: The numbers behind it.
    """

    name: str
    table: str
    passed: bool
    detail: str
    figures: Mapping[str, int | float] = field(default_factory=dict)


def run_checks(source: SqlSource, only: Sequence[str] | None = None) -> list[CheckResult]:
    """Runs the checks with their default limits.

    Args:
        source: What `open_database` returns, a dlt pipeline that no load uses (a load empties its
            working directory), or anything else with its ``sql_client()``.
        only: Names of the checks to run; all if None.

    Raises:
        UsageError: There is no check of that name.
        KomosError: The destination cannot be read.
    """
    names = list(CHECKS) if only is None else only
    if unknown := sorted(set(names) - CHECKS.keys()):
        raise UsageError(f"there is no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    return [CHECKS[name](source) for name in names]


def no_window_gap(source: SqlSource, within: timedelta = _DAY) -> CheckResult:
    """Fails if runs may have left a task's list of 50 between two loads.

    Args:
        source: See `run_checks`.
        within: Ignores gaps detected longer ago: they were reported then and cannot be closed.

    Raises:
        KomosError: The destination cannot be read.
    """
    table = tables.TASK_RUN_WINDOW_GAPS.name
    ((gaps,),) = fetch(
        source,
        "SELECT COUNT(*) FROM {task_run_window_gaps} WHERE detected_at >= %s",
        _now() - within,
    )[1]
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
    """Fails if too large a share of the entries was rejected.

    Args:
        source: See `run_checks`.
        limit: Share of the entries that may have been rejected.
        within: Counts the loads of this period.

    Raises:
        KomosError: The destination cannot be read.
    """
    ((loaded, rejected),) = fetch(
        source,
        "SELECT SUM(entries_loaded), SUM(entries_rejected) "
        "FROM {komos_loads} WHERE started_at >= %s",
        _now() - within,
    )[1]
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
    """Fails if a pipeline that loads into this dataset, such as a shard, has not polled lately.

    A pipeline without a load for a week counts as retired, unless there is no other.

    Args:
        source: See `run_checks`.
        limit: Maximum age of the last load.

    Raises:
        KomosError: The destination cannot be read.
    """
    _, rows = fetch(
        source,
        "SELECT pipeline_name, MAX(ended_at) FROM {komos_loads} "
        "WHERE exit_code <> 1 AND requests > 0 GROUP BY pipeline_name",
    )
    now = _now()
    ages = {name: now - _utc(ended_at) for name, ended_at in rows}
    if not ages:
        return CheckResult("freshness", tables.TASK_RUN_LOGS.name, False, "nothing was ever loaded")
    youngest = min(ages.values())
    name, age = max(
        ((name, age) for name, age in ages.items() if age < max(_RETIRED, youngest + _FRESH)),
        key=lambda named: named[1],
    )
    return CheckResult(
        "freshness",
        tables.TASK_RUN_LOGS.name,
        age <= limit,
        f"the last load of {name} ended {_text(age)} ago",
        {"seconds": round(age.total_seconds())},
    )


def no_regression(source: SqlSource) -> CheckResult:
    """Fails if a node has a larger share of runs with errors than before, beyond chance.

    Raises:
        KomosError: The destination cannot be read.
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


CHECKS: Mapping[str, Callable[[SqlSource], CheckResult]] = {
    "no_window_gap": no_window_gap,
    "rejected_share": rejected_share,
    "freshness": freshness,
    "no_regression": no_regression,
}


def _now() -> datetime:
    return datetime.now(UTC)


def _utc(timestamp: datetime) -> datetime:
    """Adds the offset to timestamps of databases that store none: what was stored is UTC."""
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def _text(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
