"""What a message shows beside a finding: the newest message of the node, a run, and its link."""

from __future__ import annotations

from collections.abc import Sequence
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
        message: The newest error, or else warning, of the node or nodes.
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
    nodes = finding.nodes
    if finding.task_id is not None and finding.node_id is not None:
        nodes = ((finding.task_id, finding.node_id),)
    if nodes:
        entry = _newest_entry(source, nodes, now)
        run_id, message = entry.get("run_id", run_id), entry.get("message")
    if run_id is None and finding.task_id is not None:
        since = now - _RECENT
        tasks = query(source, "run_intervals", since=since, until=now, task_id=finding.task_id)
        run_id = None if tasks.empty else str(tasks["last_run_id"].iloc[0])
    if run_id is None:
        return Evidence()
    rows = fetch(source, "SELECT logs_url FROM {task_runs} WHERE id = %s", run_id)[1]
    return Evidence(run_id, message, run_link(run_id, rows[0][0] if rows else None))


def _newest_entry(
    source: SqlSource, nodes: Sequence[tuple[str, str]], now: datetime
) -> dict[Any, Any]:
    """The newest error of some nodes, or else the newest warning; empty if there is neither."""
    is_one = len(nodes) == 1
    for level in ("error", "warning"):
        rows = query(
            source,
            "node_entries",
            since=now - _RECENT,
            until=now,
            levels=[level],
            task_id=nodes[0][0] if is_one else None,
            node_id=nodes[0][1] if is_one else None,
            limit=1,
        )
        found = [row for row in records(rows) if (row["task_id"], row["node_id"]) in nodes]
        if found:
            return max(found, key=lambda row: row["moment"])
    return {}
