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
    help="File to write or to replace.",
)
@click.option(
    "--days",
    type=click.IntRange(16, 92),
    default=28,
    show_default=True,
    help="Number of days to show, ending at that of the latest run.",
)
@click.option("--time-zone", help="Time zone of the days: an IANA name such as Europe/Berlin.")
@read_options
def report(out: Path, days: int, time_zone: str | None, **where: Any) -> None:
    """Write node health as one page that needs no network.

    \b
    Examples:
      komos report
      komos report --out health.html --days 56 --time-zone Europe/Berlin
      komos report --database komos-demo/komos-demo.duckdb
    """
    from komos_source.analytics import open_database
    from komos_source.report import write_report

    write_report(open_database(**where), out, days=days, time_zone=time_zone)
    echo(f"Wrote {out}: open it in a browser.")
