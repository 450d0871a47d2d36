"""The text of a message: findings by task, the worst first. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from komos_source.alerts.evidence import Evidence
from komos_source.alerts.lifecycle import Plan
from komos_source.analytics.checks.result import Finding
from komos_source.text import printable

MAX_SHOWN = 20
"""Findings, and findings that are resolved, in one message: services cut off what is longer."""
_MAX_TEXT = 300
_MENTION = re.compile(r"@(?=everyone|here|channel)|<(?=[!@#])")
"""What Discord and Slack take for a mention, unless an invisible word joiner follows it."""
_WORST_FIRST = (
    *("freshness", "failed_loads", "window_gaps", "incidents", "regressions", "silent_tasks"),
    *("new_error_templates", "duration", "volume", "rejected_share", "new_fields"),
)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Orders findings: by check, and within a check by weight."""
    return sorted(findings, key=lambda each: (_WORST_FIRST.index(each.check), -each.weight))


def shown_findings(plan: Plan) -> list[Finding]:
    """The findings that a message shows."""
    return worst_first([*plan.new, *plan.again])[:MAX_SHOWN]


def compose(plan: Plan, evidence: Mapping[Finding, Evidence]) -> tuple[str, str]:
    """The title and the body of the message of a plan.

    Args:
        plan: What to send.
        evidence: What is known beside the findings that are shown.
    """
    findings = shown_findings(plan)
    reminded = {*plan.again}
    blocks = []
    groups = {task: [*of_task] for task, of_task in groupby(_by_task(findings), key=_task)}
    for task, of_task in groups.items():
        lines = [_line(task or "All tasks")]
        for finding in of_task:
            lines += _finding(finding, evidence.get(finding, Evidence()), finding in reminded)
        blocks.append("\n".join(lines))
    more = len(plan.new) + len(plan.again) - len(findings)
    if more > 0:
        blocks.append(f"and {more} more: `komos health` shows all")
    if plan.resolved:
        lines = ["Resolved"]
        lines += [
            f"- {_line(alert.title)} (first seen {alert.first_seen:%Y-%m-%d %H:%M} UTC)"
            for alert in plan.resolved[:MAX_SHOWN]
        ]
        if len(plan.resolved) > MAX_SHOWN:
            lines.append(f"and {len(plan.resolved) - MAX_SHOWN} more")
        blocks.append("\n".join(lines))
    return _title(plan, findings), "\n\n".join(blocks)


def _by_task(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with those of one task together, where its worst one is."""
    places: dict[str, int] = {}
    for finding in findings:
        places.setdefault(_task(finding), len(places))
    return sorted(findings, key=lambda each: places[_task(each)])


def _task(finding: Finding) -> str:
    return finding.task_name or finding.task_id or ""


def _what(finding: Finding) -> str:
    return f"{finding.node_id} {finding.title}" if finding.node_id else finding.title


def _title(plan: Plan, findings: Sequence[Finding]) -> str:
    if not findings:
        what, count = f"resolved: {plan.resolved[0].title}", len(plan.resolved)
    else:
        worst, count = findings[0], len(plan.new) + len(plan.again)
        what = "still: " if worst in plan.again else ""
        what += ": ".join(filter(None, (_task(worst), _what(worst))))
    return _line(f"Komos, {what}" + (f" (and {count - 1} more)" if count > 1 else ""))


def _finding(finding: Finding, evidence: Evidence, again: bool) -> list[str]:
    lines = [f"- {'still: ' if again else ''}{_line(_what(finding))}", f"  {_line(finding.detail)}"]
    if evidence.message:
        lines.append(f"  newest message: {_line(evidence.message)}")
    if evidence.link:
        lines.append(f"  run: {_line(evidence.link)}")
    if evidence.run_id:
        lines.append(f"  komos logs {_line(evidence.run_id)}")
    return lines


def _line(text: str) -> str:
    """A text from outside as part of one line, not too long, that notifies nobody in a chat."""
    text = _MENTION.sub("\\g<0>\u2060", printable(text))
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
