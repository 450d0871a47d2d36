"""``komos logs``: the entries of a run, straight from the API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from komos_source.cli.options import EXIT_CODES
from komos_source.cli.output import is_terminal, quiet_when_closed
from komos_source.cli.run_ids import complete_run_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from komos_source.cli.log_entries import EntryFilter
    from komos_source.cli.log_view import Show
    from komos_source.metrics import LoadMetrics


@click.command(epilog=EXIT_CODES)
@click.argument("run_id", shell_complete=complete_run_id)
@click.option(
    "--follow",
    is_flag=True,
    help="Print new entries as they come, until the run has ended and its log is quiet.",
)
@click.option(
    "--level",
    type=click.Choice(["info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Show entries of this level and of graver ones; those with another level or none always.",
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="ID",
    help="Show the entries of this node only (repeatable).",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Skip entries before this ISO 8601 date or time, or older than a duration such as 30s, "
    "15m, 2h, 7d or 1w; entries without a time are shown.",
)
@click.option("--utc", is_flag=True, help="Show times in UTC instead of this machine's time zone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per entry and line.")
@click.option(
    "--reveal", is_flag=True, help="Show what the rules of docs/redaction.md would replace."
)
@click.option("--exit-status", is_flag=True, help="Exit with 4 if the run failed or was cancelled.")
@quiet_when_closed
def logs(
    run_id: str,
    follow: bool,
    level: str,
    nodes: tuple[str, ...],
    since: str | None,
    utc: bool,
    as_json: bool,
    reveal: bool,
    exit_status: bool,
) -> None:
    """Print the log of a run, straight from the API; no database is needed.

    RUN_ID may be the beginning of an id, if it is unique.

    \b
    Examples:
      komos logs 9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94
      komos logs 9c77 --follow --exit-status
      komos logs 9c77 --level warning --since 15m
      komos logs 9c77 --json | jq -r .message
    """
    from komos_source.cli.log_entries import EntryFilter, parse_since
    from komos_source.cli.run_ids import run_id_or_beginning
    from komos_source.load_result import exit_code_of_run
    from komos_source.metrics import LoadMetrics

    beginning = run_id_or_beginning(run_id)
    shown = EntryFilter(level, nodes, None if since is None else parse_since(since))
    metrics = LoadMetrics()
    view = _view(metrics, follow=follow, utc=utc, as_json=as_json)
    status = asyncio.run(
        _show_log(
            beginning, shown, view, metrics, follow=follow, with_run=exit_status, reveal=reveal
        )
    )
    sys.exit(exit_code_of_run(status) if exit_status else 0)


def _view(
    metrics: LoadMetrics, *, follow: bool, utc: bool, as_json: bool
) -> AbstractContextManager[Show]:
    from komos_source.cli.log_lines import plain_line
    from komos_source.cli.log_view import line_view, terminal_view

    zone = UTC if utc else None
    if as_json:
        return line_view(lambda entry: json.dumps(entry.to_json()))
    if is_terminal(sys.stdout):
        return terminal_view(zone, metrics, follow=follow)
    return line_view(lambda entry: plain_line(entry, zone))


async def _show_log(
    beginning: str,
    shown: EntryFilter,
    view: AbstractContextManager[Show],
    metrics: LoadMetrics,
    *,
    follow: bool,
    with_run: bool,
    reveal: bool,
) -> str | None:
    """Shows a log; returns the status of its run, if that was asked for."""
    from dataclasses import replace

    from komos_source.cli.client import configured_client, redactor_in_use
    from komos_source.cli.log_follow import follow_log, read_log
    from komos_source.cli.run_ids import find_run
    from komos_source.redaction.redactor import NO_RULES

    status = None
    redactor = NO_RULES if reveal else redactor_in_use()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(configured_client(metrics))
        run_id = await find_run(client, beginning)
        readings = (
            follow_log(lambda: configured_client(metrics), run_id, redactor)
            if follow
            else read_log(client, run_id, redactor, with_run=with_run)
        )
        await stack.enter_async_context(contextlib.aclosing(readings))
        show = stack.enter_context(view)
        async for reading in readings:
            if isinstance(shown.since, timedelta):
                shown = replace(shown, since=(reading.now or datetime.now(UTC)) - shown.since)
            show(replace(reading, entries=tuple(filter(shown.shows, reading.entries))))
            status = reading.run.status if reading.run else status
    return status
