"""``komos demo``: loads sample data over real HTTP, without a key."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from komos_source.cli.output import echo
from komos_source.exceptions import ConfigurationError, UsageError

if TYPE_CHECKING:
    from komos_source.analytics import Database
    from komos_source.load_result import LoadResult
    from komos_source.testing import Emulator

_DATABASE = "komos-demo.duckdb"
_REPORT = "report.html"
_MARKER = ".komos-demo"
_PIPELINE = "komos_demo"
_DAYS = 28
_DAYS_PER_LOAD = 4
_SETTLED = timedelta(minutes=15)
"""How long before now the history ends: its last runs are then read for the last time."""
_RATES = """
SELECT COALESCE(health.task_name, health.task_id), health.node_id, health.runs, health.warning_rate,
    health.error_rate, health.error_rate_low, health.error_rate_high
FROM {node_health} AS health
ORDER BY health.error_rate DESC, health.warning_rate DESC, 1, 2
LIMIT 15
"""


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("komos-demo"),
    show_default=True,
    help="Directory of the demo: a new one, an empty one, or that of an earlier demo.",
)
def demo(directory: Path) -> None:
    """Load four weeks of sample data from an emulated API, and show error rates per node.

    Only files in the directory are read or written. No configuration is used.
    """
    from komos_source.analytics import open_database
    from komos_source.cli.progress import print_result
    from komos_source.report import write_report
    from komos_source.testing import Emulator, make_sample_data

    directory = directory.resolve()
    prepare_directory(directory)
    file = directory / _DATABASE
    _ignore_configuration()
    os.environ["DESTINATION__DUCKDB__CREDENTIALS"] = f"duckdb:///{file}"
    end = datetime.now(UTC) - _SETTLED
    komos = make_sample_data(days=_DAYS, end=end)
    with Emulator(komos) as emulator:
        echo(f"Komos emulator on {emulator.base_url}: {len(komos.tasks())} tasks, {_DAYS} days")
        for day in range(_DAYS_PER_LOAD, _DAYS + 1, _DAYS_PER_LOAD):
            komos.clock.set(end - timedelta(days=_DAYS - day) + _SETTLED)
            result = _load(emulator, directory)
            echo(
                f"day {day:2}: {result.runs_fetched} logs read, {result.entries_loaded:,} entries "
                f"loaded, {result.requests} requests, {result.seconds:.1f} s"
            )
        echo("")
        echo("Second load, no new data:")
        print_result(_load(emulator, directory))
        expected = sum(1 for _ in komos.entries())
    database = open_database(database=file)
    _print_rates(database, expected)
    try:
        write_report(database, directory / _REPORT)
        echo(f"Wrote {directory / _REPORT}: open it in a browser.")
    except ConfigurationError as error:  # the extra for analyses is not installed
        echo(f"No report was written: {error}")
    echo(f"To explore the data: komos notebook --database {file}")


def prepare_directory(directory: Path) -> None:
    """Makes the directory, or removes the database of an earlier demo from it.

    Raises:
        UsageError: There are files in it that no demo made; nothing was changed.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        marker = directory / _MARKER
        if not marker.is_file() and any(directory.iterdir()):
            raise UsageError(
                f"{directory} holds files that `komos demo` did not make: name a new or an empty "
                "directory with --dir"
            )
        marker.write_text("Made by `komos demo`, which replaces its files here when it runs.\n")
        for name in (_DATABASE, f"{_DATABASE}.wal"):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be used as the directory of the demo: {error.strerror}. Name "
            "another one with --dir."
        ) from error


def _ignore_configuration() -> None:
    """Makes dlt read no variable or file that configures the loads of the user's own data."""
    from komos_source.settings_files import configuration_providers

    for name in [*os.environ]:
        if "__" in name and not name.startswith("RUNTIME__"):  # dlt's way to name settings
            del os.environ[name]
    providers = configuration_providers()
    providers[:] = [each for each in providers if each.name not in {"config.toml", "secrets.toml"}]


def _load(emulator: Emulator, directory: Path) -> LoadResult:
    from komos_source.cli.progress import show_progress
    from komos_source.loading.load import load

    with show_progress(quiet=not sys.stderr.isatty()) as watch:
        return load(
            api_key=emulator.api_key,
            base_url=emulator.base_url,
            pipeline_name=_PIPELINE,
            pipelines_dir=str(directory / ".pipelines"),
            on_start=watch,
            spool=False,
        )


def _print_rates(database: Database, expected: int) -> None:
    """Compares the table with the API, and prints the nodes with the highest error rates."""
    from rich.console import Console
    from rich.table import Table

    from komos_source.analytics.database import fetch

    ((count, distinct),) = fetch(
        database, "SELECT COUNT(*), COUNT(DISTINCT id) FROM {task_run_logs}"
    )[1]
    echo("")
    echo(
        f"Verified: {expected:,} entries in the API, {count:,} rows loaded, {distinct:,} distinct "
        "ids"
    )
    table = Table(
        title="Nodes by error rate, as a share of the runs that visited them: the first 15",
        title_justify="left",
        box=None,
    )
    for heading in ("task", "node", "runs", "warnings", "errors", "95 % bounds"):
        is_name = heading in {"task", "node"}
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    for task, node, runs, warning, error, low, high in fetch(database, _RATES)[1]:
        table.add_row(
            task, node, str(runs), f"{warning:.1%}", f"{error:.1%}", f"{low:.0%} – {high:.0%}"
        )
    Console(highlight=False).print(table)
