"""What a message shows beside a finding: the newest message of the node, a run, and its link."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from komos_source.analytics.checks.result import Finding, records
from komos_source.analytics.database import SqlSource, fetch
from komos_source.analytics.links import run_link
from komos_source.analytics.queries import query

_RECENT = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known beside a finding.

    Attributes:
        run_id: A run that shows it, or the newest run of the task.
        message: The newest error, or else warning, of the node.
        link: Where the run can be seen.
    """

    run_id: str | None = None
    message: str | None = None
    link: str | None = None


def find_evidence(source: SqlSource, finding: Finding, now: datetime) -> Evidence:
    """Reads what is shown beside a finding.

    Raises:
        KomosError: The database cannot be read.
    """
    run_id, message = finding.run_id, None
    if finding.task_id is None:
        return Evidence()
    if finding.node_id is not None:
        entry = _newest_entry(source, finding, now)
        run_id, message = entry.get("run_id", run_id), entry.get("message")
    if run_id is None:
        since = now - _RECENT
        tasks = query(source, "run_intervals", since=since, until=now, task_id=finding.task_id)
        run_id = None if tasks.empty else str(tasks["last_run_id"].iloc[0])
    rows = fetch(source, "SELECT logs_url FROM {task_runs} WHERE id = %s", run_id)[1]
    link = run_link(run_id, rows[0][0] if rows else None) if run_id else None
    return Evidence(run_id, message, link)


def _newest_entry(source: SqlSource, finding: Finding, now: datetime) -> dict[Any, Any]:
    for level in ("error", "warning"):
        rows = query(
            source,
            "node_entries",
            since=now - _RECENT,
            until=now,
            levels=[level],
            task_id=finding.task_id,
            node_id=finding.node_id,
            limit=1,
        )
        if not rows.empty:
            return records(rows)[0]
    return {}
