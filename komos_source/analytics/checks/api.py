"""Checks of the API: has it sent anything that it never sent before?"""

from __future__ import annotations

import re
from datetime import timedelta

import pandas as pd

from komos_source import settings, tables
from komos_source.analytics.checks.result import CheckContext, CheckResult, Finding, records
from komos_source.analytics.queries import query
from komos_source.timestamps import as_utc

_LOOKED_AT = timedelta(days=92)
_DOCUMENTED = {
    "level": {"info", "warning", "error"},
    "run status": settings.TERMINAL_STATUSES | settings.OTHER_STATUSES,
    "trigger type": {"manual", "schedule", "api"},
}


def new_fields(context: CheckContext) -> CheckResult:
    """Fails if there is a field, level, status, trigger or event type never seen before."""
    since = context.as_of - _LOOKED_AT
    oldest = query(context.source, "newest_run", since=since, until=context.as_of)["oldest"].iloc[0]
    learned = context.as_of - timedelta(days=context.limits.learned_days)
    found = query(context.source, "api_values", since=since, until=context.as_of)
    undocumented = [
        row for row in records(found) if row["name"] not in _DOCUMENTED.get(str(row["kind"]), ())
    ]
    new_from = context.as_of - timedelta(hours=context.limits.new_hours)
    has_learned = not pd.isna(oldest) and as_utc(oldest) <= learned
    findings = [
        Finding(
            "new_fields",
            f"{row['kind']}/{row['name']}",
            f"a new {row['kind']}: {_shown(row['name'])}",
            f"in {row['runs']} runs or events since {as_utc(row['first_seen']):%d %b %H:%M} UTC; "
            "the API has changed",
            weight=row["runs"],
        )
        for row in undocumented
        if has_learned and as_utc(row["first_seen"]) >= new_from
    ]
    findings.sort(key=lambda each: -each.weight)
    return CheckResult(
        "new_fields",
        tables.TASK_RUN_LOGS.name,
        "the API has changed: " + ", ".join(each.title for each in findings)
        if findings
        else f"none of {len(undocumented)} undocumented fields and values is new",
        {"new": len(findings), "undocumented": len(undocumented)},
        findings,
    )


def _shown(name: str) -> str:
    """The name; of an unknown event, whose name is the reason it was rejected, its type."""
    event = re.match(r"a webhook '(.*?)'", name)
    return event[1] if event else name
