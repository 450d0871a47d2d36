"""``komos report``: node health as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from komos_source.cli.options import EXIT_CODES, read_options
from komos_source.cli.output import echo


@click.command(epilog=EXIT_CODES)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("komos-report.html"),
    show_default=True,
    metavar="FILE",
    help="File to write or to replace.",
)
@click.option(
    "--days",
    type=click.IntRange(16, 92),
    default=28,
    show_default=True,
    metavar="N",
    help="Number of days to show, ending at that of the latest run; fewer if less is loaded.",
)
@click.option(
    "--time-zone",
    metavar="ZONE",
    show_default="SOURCES__KOMOS__TIME_ZONE, else UTC",
    help="Time zone of the days: an IANA name such as Europe/Berlin.",
)
@click.option(
    "--new-since",
    metavar="TIME",
    show_default="2 days before the latest run",
    help="Mark messages as new that were first seen at this ISO 8601 date or time, or later.",
)
@read_options
def report(
    out: Path, days: int, time_zone: str | None, new_since: str | None, **where: Any
) -> None:
    """Write node health as one page that needs no network.

    \b
    Examples:
      komos report
      komos report --out health.html --days 56 --time-zone Europe/Berlin
      komos report --new-since 2025-10-06
      komos report --database komos-demo/komos-demo.duckdb
    """
    from komos_source.analytics import open_database
    from komos_source.report import write_report

    database = open_database(**where)
    write_report(database, out, days=days, time_zone=time_zone, new_since=new_since)
    echo(f"Wrote {out}: open it in a browser.")
