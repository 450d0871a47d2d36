"""Checks of the loads: is all loaded that the API shows?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from komos_source import tables
from komos_source.analytics.checks.result import CheckContext, CheckResult, Finding, counted, span
from komos_source.analytics.database import fetch
from komos_source.timestamps import as_utc

_NOT_CHECKED = "not checked: there is no komos_loads, which only `komos load` writes"


def window_gaps(context: CheckContext) -> CheckResult:
    """Fails if runs may have left a task's list of 50 between two loads.

    Gaps are ignored after `Limits.window_gap_hours`: they were reported then and cannot be closed.
    """
    within = timedelta(hours=context.limits.window_gap_hours)
    rows = fetch(
        context.source,
        "SELECT task_id, COUNT(*), MAX(detected_at) FROM {task_run_window_gaps} "
        "WHERE detected_at >= %s AND detected_at <= %s GROUP BY task_id ORDER BY task_id",
        context.as_of - within,
        context.as_of,
    )[1]
    findings = [
        Finding(
            "window_gaps",
            task_id,
            "runs may be missing: 50 or more started between two loads",
            f"{counted(gaps, 'time')} within {span(within)}, last at "
            f"{as_utc(last):%Y-%m-%d %H:%M} UTC; load more often, or receive webhooks",
            task_id,
            context.task_names.get(task_id),
            weight=gaps,
        )
        for task_id, gaps, last in rows
    ]
    return CheckResult(
        "window_gaps",
        tables.TASK_RUN_WINDOW_GAPS.name,
        f"{counted(len(rows), 'task')} started 50 runs or more between two loads within "
        f"{span(within)}" + ("; load more often, or receive webhooks" if rows else ""),
        {"tasks": len(rows), "gaps": sum(gaps for _, gaps, _ in rows)},
        findings,
    )


def rejected_share(context: CheckContext) -> CheckResult:
    """Fails if too large a share of the entries was rejected."""
    table = tables.TASK_RUN_LOGS_REJECTED.name
    if context.last_polls is None:
        return CheckResult("rejected_share", table, _NOT_CHECKED)
    within = timedelta(hours=context.limits.rejected_hours)
    ((loaded, rejected),) = fetch(
        context.source,
        "SELECT SUM(entries_loaded), SUM(entries_rejected) FROM {komos_loads} "
        "WHERE started_at >= %s AND started_at <= %s",
        context.as_of - within,
        context.as_of,
    )[1]
    loaded, rejected = int(loaded or 0), int(rejected or 0)
    share = rejected / (loaded + rejected) if rejected else 0.0
    counts = f"{rejected:,} of {loaded + rejected:,} entries were rejected within {span(within)}"
    findings = [
        Finding(
            "rejected_share",
            "",
            f"{share:.2%} of the entries were rejected",
            f"{counts}; task_run_logs_rejected has the reasons",
            weight=share,
        )
    ]
    failed = share > context.limits.rejected_share
    return CheckResult(
        "rejected_share",
        table,
        counts + ("; task_run_logs_rejected has the reasons" if failed else ""),
        {"loaded": loaded, "rejected": rejected, "share": share},
        findings if failed else (),
    )


def freshness(context: CheckContext) -> CheckResult:
    """Fails if a pipeline that loads into this dataset, such as a shard, has not polled lately."""
    table = tables.TASK_RUN_LOGS.name
    if context.last_polls is None:
        return CheckResult("freshness", table, _NOT_CHECKED)
    if not context.last_polls:
        finding = Finding("freshness", "", "nothing was ever loaded", "run `komos load`")
        return CheckResult(
            "freshness", table, "nothing was ever loaded: run `komos load`", {}, [finding]
        )
    limit = timedelta(hours=context.limits.freshness_hours)
    ages = {name: context.as_of - at for name, at in context.last_polls.items()}
    name, age = max(ages.items(), key=lambda named: named[1])
    findings = [
        Finding(
            "freshness",
            name,
            f"{name} has not loaded for {span(age)}",
            f"the limit is {span(limit)}; does the schedule still start `komos load`?",
            weight=age.total_seconds(),
        )
        for name, age in ages.items()
        if age > limit
    ]
    return CheckResult(
        "freshness",
        table,
        f"the last load of {name} ended {span(age)} ago"
        + ("; does the schedule still start `komos load`?" if findings else ""),
        {"seconds": round(age.total_seconds())},
        findings,
    )


def failed_loads(context: CheckContext) -> CheckResult:
    """Fails if the last loads of a pipeline all ended with exit code 1 or 3.

    One incomplete load is no finding: the next one tries again.
    """
    table = tables.TASK_RUN_LOG_LOADS.name
    if context.last_polls is None:
        return CheckResult("failed_loads", table, _NOT_CHECKED)
    in_a_row = round(context.limits.failed_loads)
    rows = fetch(
        context.source,
        "SELECT pipeline_name, exit_code, problems FROM ("
        "SELECT pipeline_name, exit_code, problems, ROW_NUMBER() OVER "
        "(PARTITION BY pipeline_name ORDER BY started_at DESC) AS place FROM {komos_loads} "
        "WHERE started_at >= %s AND started_at <= %s AND (requests > 0 OR exit_code <> 0)"
        ") AS loads WHERE place <= %s ORDER BY pipeline_name, place",
        context.as_of - timedelta(days=context.limits.retired_days),
        context.as_of,
        in_a_row,
    )[1]
    by_pipeline: dict[str, list[tuple[int, Any]]] = {}
    for name, exit_code, problems in rows:
        by_pipeline.setdefault(name, []).append((exit_code, problems))
    findings = [
        Finding(
            "failed_loads",
            name,
            f"the last {in_a_row} loads of {name} were not complete",
            f"exit code {loads[0][0]}: {_first_problem(loads[0][1])}",
            weight=-loads[0][0],  # 1 is worse than 3
        )
        for name, loads in by_pipeline.items()
        if len(loads) >= in_a_row and all(exit_code for exit_code, _ in loads)
    ]
    incomplete = sum(1 for loads in by_pipeline.values() if loads[0][0])
    return CheckResult(
        "failed_loads",
        table,
        f"{findings[0].title}, {findings[0].detail}"
        if findings
        else f"{counted(len(by_pipeline), 'pipeline')}, none with {in_a_row} incomplete loads in a "
        "row",
        {"pipelines": len(by_pipeline), "incomplete": incomplete, "failed": len(findings)},
        findings,
    )


def _first_problem(problems: str | None) -> str:
    try:
        found = json.loads(problems or "[]")
    except ValueError:
        return str(problems)
    return str(found[0]) if found else "komos_loads has no reason"
