"""``komos runs``: the runs that the API lists."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from komos_source.cli.options import EXIT_CODES
from komos_source.cli.output import echo, is_terminal, quiet_when_closed
from komos_source.cli.run_ids import complete_task_id
from komos_source.text import printable

if TYPE_CHECKING:
    from komos_source.extract.discovery import Discovery

_STATUSES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]


@click.command(epilog=EXIT_CODES)
@click.option(
    "--task-id",
    "task_ids",
    multiple=True,
    shell_complete=complete_task_id,
    metavar="ID",
    help="List the runs of this task only (repeatable).",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES, case_sensitive=False),
    help="List runs with this status only, in any case (repeatable).",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="List so many at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per run and line.")
@quiet_when_closed
def runs(task_ids: tuple[str, ...], statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the runs that the API shows, newest first; no database is needed.

    The API lists the 50 newest runs of each task.

    \b
    Examples:
      komos runs
      komos runs --status failed --limit 5
      komos runs --json | jq -r 'select(.status == "RUNNING").id'
    """
    from komos_source.cli.run_table import listed_runs, table_lines
    from komos_source.load_result import exit_code_of_status

    found = asyncio.run(_list(task_ids))
    chosen = listed_runs(found.listed, {task.id: task.name for task in found.tasks})
    if statuses:
        chosen = [each for each in chosen if each.run.status in statuses]
    now = datetime.now(UTC)
    if as_json:
        lines = [json.dumps(each.to_json()) for each in chosen[:limit]]
    else:
        width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
        lines = table_lines(chosen[:limit], now, width)
    for problem in found.problems:
        click.echo(printable(f"komos: {problem}"), err=True)
    if lines:
        click.echo("\n".join(lines))
    elif not as_json and not found.problems:
        echo("no runs")
    asked = len(task_ids) if task_ids else len(found.tasks)
    missing = asked - len(found.listed)
    sys.exit(exit_code_of_status("ok" if not missing else "partial" if found.listed else "failed"))


async def _list(task_ids: Sequence[str]) -> Discovery:
    from komos_source.cli.client import configured_client, redactor_in_use
    from komos_source.extract.discovery import discover
    from komos_source.extract.options import check_selection
    from komos_source.extract.redact_rows import redact_discovery
    from komos_source.extract.state import State
    from komos_source.metrics import LoadMetrics

    choice = check_selection(None, task_ids or None, None)
    async with configured_client(LoadMetrics()) as client:
        return redact_discovery(await discover(client, State(), choice), redactor_in_use())
