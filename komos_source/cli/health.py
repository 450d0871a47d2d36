"""``komos health``: are loads and tasks sound? One line a check, and alerts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from komos_source.cli.options import EXIT_CODES, notify_options, read_options
from komos_source.cli.output import Output, echo

if TYPE_CHECKING:
    from komos_source.alerts import Delivery
    from komos_source.analytics import CheckResult, Database


@click.command(epilog=EXIT_CODES)
@click.option("--only", multiple=True, metavar="NAME", help="Run this check only (repeatable).")
@click.option(
    "--as-of",
    metavar="TIME",
    show_default="now",
    help="Look at the data as of this ISO 8601 date or time; send nothing.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: passed, checks, notified."
)
@notify_options
@read_options
@click.pass_obj
def health(
    output: Output,
    /,
    only: tuple[str, ...],
    as_of: str | None,
    as_json: bool,
    notify_urls: tuple[str, ...],
    remind_after: float,
    **where: Any,
) -> None:
    """Check whether loads and tasks are sound; send alerts.

    \b
    Examples:
      komos health
      komos health --only freshness --only regressions
      komos health --notify json://localhost:8080/alerts
      SOURCES__KOMOS__NOTIFY=slack://… komos health
    """
    from komos_source.analytics import open_database, run_checks
    from komos_source.analytics.findings import parse_moment
    from komos_source.config import settings_of
    from komos_source.exceptions import UsageError
    from komos_source.load_result import exit_code_of_health

    names = [name for text in only for name in text.split(",")] or None
    if as_of and notify_urls:
        raise UsageError("--notify cannot be combined with --as-of: alerts are about now")
    with settings_of(where["pipeline_name"]):
        targets = [] if as_of else chosen_targets(notify_urls, configured=True)
        database = open_database(**where)
        results = run_checks(database, names, as_of=parse_moment(as_of) if as_of else None)
        if not as_json:
            print_results(results)
        deliveries = send(output, database, results, targets, remind_after, quiet=as_json)
    if as_json:
        click.echo(json.dumps(_to_json(results, deliveries)))
    sys.exit(
        exit_code_of_health(
            passed=all(result.passed for result in results),
            delivered=all(delivery.accepted for delivery in deliveries),
        )
    )


def chosen_targets(urls: Sequence[str], *, configured: bool) -> list[str]:
    """The targets to send to.

    Args:
        urls: Values of ``--notify``; "" stands for the configured targets.
        configured: Whether the configured targets are used without ``--notify``, too.

    Raises:
        UsageError: A target is not known, or ``--notify`` has no URL and none is configured.
    """
    from komos_source.alerts.targets import NOTIFY, configured_targets, parse_targets
    from komos_source.exceptions import UsageError

    found = [url for url in urls if url]
    if "" in urls or (configured and not urls):
        found += configured_targets()
    if urls and not found:
        raise UsageError(f"--notify has no URL, and {NOTIFY.variable} is not set: give one of them")
    if found:
        parse_targets(found)  # refuses what is wrong before anything is done
    return found


def send(
    output: Output,
    database: Database,
    results: Sequence[CheckResult],
    urls: Sequence[str],
    remind_after: float,
    *,
    quiet: bool,
) -> list[Delivery]:
    """Sends alerts, and prints what became of them; only what failed if quiet."""
    if not urls:
        return []
    from komos_source.alerts import notify

    deliveries = notify(database, results, urls, remind_after=timedelta(days=remind_after))
    for delivery in deliveries:
        if not delivery.accepted:
            output.error(str(delivery))
        elif not quiet:
            echo(f"notify  {delivery}")
    return deliveries


def print_results(results: Sequence[CheckResult]) -> None:
    """Prints one line a check, and known problems last."""
    for result in results:
        echo(f"{'ok    ' if result.passed else 'failed'}  {result.name}: {result.detail}")
    for result in results:
        for finding in result.known:
            about = " ".join(filter(None, (finding.node_id, finding.task_name or finding.task_id)))
            what = f"{about}: {finding.title}" if about else finding.title
            echo(f"known   {result.name}: {what}; {finding.reason}")


def _to_json(results: Sequence[CheckResult], deliveries: Sequence[Delivery]) -> dict[str, Any]:
    return {
        "passed": all(result.passed for result in results),
        "checks": [asdict(result) | {"passed": result.passed} for result in results],
        "notified": [asdict(delivery) for delivery in deliveries],
    }
