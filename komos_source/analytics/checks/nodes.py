"""Checks of the nodes: does one fail more than it did, or in another way?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from komos_source import tables
from komos_source.analytics import formatting
from komos_source.analytics.checks.result import CheckContext, CheckResult, Finding, records
from komos_source.analytics.queries import query

_NAMED = 5
_TABLE = tables.TASK_RUN_LOGS.name


def regressions(context: CheckContext) -> CheckResult:
    """Fails if a node has a larger share of runs with errors than before, beyond chance."""
    found = context.verdicts
    regressed = found[found["state"] == "regressed"]
    findings = [_regression(row, context) for row in records(regressed)]
    nodes = ", ".join(
        f"{each.node_id} of {each.task_name or each.task_id} {each.title}" for each in findings
    )
    return CheckResult(
        "regressions",
        _TABLE,
        f"{nodes}; `komos report` shows since when"
        if nodes
        else f"none of {len(found)} nodes fails more than it did, but for incidents",
        {"regressed": len(findings), "nodes": len(found)},
        findings,
    )


def _regression(row: dict[Any, Any], context: CheckContext) -> Finding:
    recent, baseline = row["recent_rate"], row["baseline_rate"]
    low, high = formatting.wilson_bounds(row["recent_hits"], row["recent_runs"])
    since = row["changed_on"]
    return Finding(
        "regressions",
        f"{row['task_id']}/{row['node_id']}",
        f"fails in {recent:.1%} of its runs, up from {baseline:.1%}",
        f"{row['recent_hits']} of {row['recent_runs']} runs (95 % interval: {low:.0%} to "
        f"{high:.0%}), {row['baseline_hits']} of {row['baseline_runs']} before"
        + ("" if since is None else f"; since about {since:%d %b}"),
        row["task_id"],
        context.task_names.get(row["task_id"]),
        row["node_id"],
        weight=recent - baseline,
    )


def incidents(context: CheckContext) -> CheckResult:
    """Fails while a burst of failing runs goes on; one that several nodes share is one finding.

    One at nodes that are regressed is a finding of `regressions`.
    """
    found, verdicts = context.incidents, context.verdicts
    regressed = verdicts[verdicts["state"] == "regressed"]
    known = set(zip(regressed["task_id"], regressed["node_id"], strict=True))
    findings: list[Finding] = []
    covered: list[Finding] = []
    for row in records(found):
        if row["open"]:
            is_covered = known.issuperset(map(tuple, row["nodes"]))
            (covered if is_covered else findings).append(_incident(row, context))
    return CheckResult(
        "incidents",
        _TABLE,
        "; ".join(f"{each.node_id or ''} {each.title}: {each.detail}".strip() for each in findings)
        if findings
        else f"none goes on, {len(found)} ended lately or are regressions",
        {"open": len(findings), "incidents": len(found)},
        findings,
        covered=covered,
    )


def _incident(row: dict[Any, Any], context: CheckContext) -> Finding:
    tasks = row["tasks"]
    nodes = [f"{node} of {context.task_names.get(task, task)}" for task, node in row["nodes"]]
    is_one_task, is_one_node = len(tasks) == 1, len(nodes) == 1
    started = row["started_at"].astimezone(context.zone)
    where = f" at {len(nodes)} nodes of {len(tasks)} task{'' if is_one_task else 's'}"
    most = f"; most write: {_short(row['template'])}" if row["template"] else ""
    return Finding(
        "incidents",
        f"{row['started_at']:%Y-%m-%dT%H:%M:%S}",  # nodes and runs may be added while it lasts
        f"runs fail in a burst since {started:%d %b %H:%M %Z}{where}"
        if not is_one_node
        else f"fails in a burst since {started:%d %b %H:%M %Z}",
        f"{row['runs']} failing runs at {shortened(nodes)}{most}",
        tasks[0] if is_one_task else None,
        context.task_names.get(tasks[0]) if is_one_task else None,
        row["nodes"][0][1] if is_one_node else None,
        nodes=() if is_one_node else tuple(row["nodes"]),
        weight=row["runs"],
    )


def new_error_templates(context: CheckContext) -> CheckResult:
    """Fails if an error has appeared that no task has written before."""
    limits = context.limits
    found = query(
        context.source,
        "message_templates",
        levels=["error"],
        new_since=context.as_of - timedelta(hours=limits.new_hours),
        until=context.as_of,
    )
    learned = context.as_of - timedelta(days=limits.learned_days)
    new = found[
        found["new_in_window"]
        & (found["runs"] >= limits.new_error_runs)
        & (found["task_first_run_at"] <= learned)
    ].sort_values("runs", ascending=False)
    by_template: dict[str, list[dict[Any, Any]]] = {}
    for row in records(new):
        by_template.setdefault(row["template"], []).append(row)
    findings = [_new_error(template, rows) for template, rows in by_template.items()]
    first = "".join(f"{each.title} ({each.detail})" for each in findings[:1])
    return CheckResult(
        "new_error_templates",
        _TABLE,
        first + (f", and {len(findings) - 1} more" if len(findings) > 1 else "")
        if findings
        else f"none of {len(found)} errors is new",
        {"new": len(findings), "errors": len(found)},
        findings,
    )


def _new_error(template: str, rows: list[dict[Any, Any]]) -> Finding:
    """A new error, at one node or at several: a site that is down is one finding."""
    first, runs = rows[0], sum(row["runs"] for row in rows)
    nodes = [f"{row['node_id']} of {row['task_name'] or row['task_id']}" for row in rows]
    since = min(row["first_seen"] for row in rows)
    is_one = len(rows) == 1
    return Finding(
        "new_error_templates",
        template,
        f"writes a new error: {_short(template)}" if is_one else f"a new error: {_short(template)}",
        f"in {runs} runs since {since:%d %b %H:%M} UTC at {shortened(nodes)}; never before in any "
        "task",
        first["task_id"] if is_one else None,
        first["task_name"] if is_one else None,
        first["node_id"] if is_one else None,
        nodes=() if is_one else tuple((row["task_id"], row["node_id"]) for row in rows),
        weight=runs,
    )


def shortened(names: list[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


def _short(template: str) -> str:
    longest = 120
    return template if len(template) <= longest else template[: longest - 1] + "…"
