"""``komos demo``: a tour with sample data over real HTTP, without a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
_WORKING_DIRECTORY = ".dlt-data"
_PIPELINE = "komos_demo"
_DAYS = 28
_FAST_DAYS = 8
_DAYS_PER_LOAD = 4
"""Few enough that no task starts 50 runs in between, which is all that the API lists."""
_SETTLED = timedelta(minutes=15)
"""How long before now the history ends: its last runs are then read for the last time."""
_LATENCY = 0.2
"""Seconds that each answer takes while a load is killed, so that it is killed in the middle."""
_PACE = 20.0
"""How much faster than usual time passes while a run is followed."""
_RATES = """
SELECT COALESCE(health.task_name, health.task_id), health.node_id, health.runs, health.warning_rate,
    health.error_rate, health.error_rate_low, health.error_rate_high
FROM {node_health} AS health
ORDER BY health.error_rate_low DESC, health.warning_rate_low DESC, 1, 2
LIMIT 10
"""


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("komos-demo"),
    show_default=True,
    metavar="DIRECTORY",
    help="Directory of the demo: a new one, an empty one, or that of an earlier demo.",
)
@click.option("--fast", is_flag=True, help="Load 8 days instead of 28, and follow no run.")
def demo(directory: Path, fast: bool) -> None:
    """Load sample data from an emulated API; show what is found in it and how alerts look.

    Only files in the directory are read or written. No configuration is used.
    """
    from komos_source.analytics import open_database
    from komos_source.testing import Emulator, make_sample_data

    directory = directory.resolve()
    prepare_directory(directory)
    days = _FAST_DAYS if fast else _DAYS
    end = datetime.now(UTC) - _SETTLED
    komos = make_sample_data(days=days, end=end)
    with Emulator(komos) as emulator:
        _configure(directory, emulator)
        _step(f"An emulated Komos API, {len(komos.tasks())} tasks, {days} days of runs", "no key")
        for day in range(_DAYS_PER_LOAD, days, _DAYS_PER_LOAD):
            komos.clock.set(end - timedelta(days=days - day) + _SETTLED)
            _print_load(day, _load())
        komos.clock.set(end + _SETTLED)
        _step("A load that is killed", "the next one reads what is missing, each entry once")
        read = _killed_load(emulator)
        echo(f"kill -9 after {read} logs")
        _print_load(days, _load())
        _step("Another load", "a run that has ended costs no request")
        _print_load(days, _load())
        database = open_database(database=directory / _DATABASE)
        _verify(database, sum(1 for _ in komos.entries()))
        _step("How often nodes fail", "with 95 % bounds: few runs prove little")
        _print_rates(database)
        _print_findings(database, directory)
        if not fast:
            _step("A run, live", f"komos logs --follow, {_PACE:g} times as fast as usual")
            komos.clock.run(_PACE)
            _run_command("logs", komos.start_run(), "--follow").wait()
    echo("")
    echo(f"To explore the data: komos notebook --database {directory / _DATABASE}")


def _step(what: str, why: str) -> None:
    echo("")
    echo(f"== {what} ({why})")


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


def _configure(directory: Path, emulator: Emulator) -> None:
    """Configures the demo alone: no variable or file of the user's own loads does."""
    from komos_source.settings_files import configuration_providers

    for name in [*os.environ]:
        if "__" in name and not name.startswith("RUNTIME__"):  # dlt's way to name settings
            del os.environ[name]
    providers = configuration_providers()
    providers[:] = [each for each in providers if each.name not in {"config.toml", "secrets.toml"}]
    os.chdir(directory)  # also `komos.toml` is read from the current directory
    os.environ |= {
        "DLT_DATA_DIR": str(directory / _WORKING_DIRECTORY),
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{directory / _DATABASE}",
        "SOURCES__KOMOS__API_KEY": emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": emulator.base_url,
    }


def _load() -> LoadResult:
    from komos_source.cli.progress import show_progress
    from komos_source.loading.load import load

    with show_progress(quiet=not sys.stderr.isatty()) as watch:
        return load(pipeline_name=_PIPELINE, on_start=watch, spool=False)


def _print_load(day: int, result: LoadResult) -> None:
    echo(
        f"day {day:2}: {result.runs_fetched} logs read, {result.entries_loaded:,} entries loaded, "
        f"{result.requests} requests, {result.seconds:.1f} s"
    )


def _run_command(*arguments: str) -> subprocess.Popen[bytes]:
    """Starts a `komos` command in a process of its own."""
    command = [sys.executable, "-m", "komos_source", *arguments]
    return subprocess.Popen(command)  # noqa: S603 - our own command


def _killed_load(emulator: Emulator) -> int:
    """Starts a load and kills it while it reads logs; returns how many it had requested."""
    before = emulator.count("/logs")
    emulator.faults.latency = _LATENCY
    loading = _run_command("load", "--json", "--pipeline-name", _PIPELINE)
    while loading.poll() is None and emulator.count("/logs") < before + 20:
        time.sleep(0.01)
    loading.kill()
    loading.wait()
    emulator.faults.latency = 0.0
    return emulator.count("/logs") - before


def _verify(database: Database, expected: int) -> None:
    """Compares the table with the API."""
    from komos_source.analytics.database import fetch

    ((count, distinct),) = fetch(
        database, "SELECT COUNT(*), COUNT(DISTINCT id) FROM {task_run_logs}"
    )[1]
    echo(
        f"Verified: {expected:,} entries in the API, {count:,} rows loaded, {distinct:,} distinct "
        "ids"
    )


def _print_rates(database: Database) -> None:
    """Prints the nodes whose error rates are certainly high."""
    from rich.console import Console
    from rich.table import Table

    from komos_source.analytics.database import fetch

    table = Table(box=None)
    for heading in ("task", "node", "runs", "warnings", "errors", "95 % bounds"):
        is_name = heading in {"task", "node"}
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    for task, node, runs, warning, error, low, high in fetch(database, _RATES)[1]:
        table.add_row(
            task, node, str(runs), f"{warning:.1%}", f"{error:.1%}", f"{low:.0%} – {high:.0%}"
        )
    Console(highlight=False).print(table)


def _print_findings(database: Database, directory: Path) -> None:
    """Prints what the checks have found, as an alert; writes the report."""
    from komos_source.extras import requires_extra

    _step("What is wrong", "komos health; komos health --notify sends it, once")
    try:
        with requires_extra("analysis", "analyses"):
            from komos_source.alerts.evidence import find_evidence
            from komos_source.alerts.lifecycle import Plan
            from komos_source.alerts.message import compose, shown_findings
            from komos_source.analytics import run_checks
            from komos_source.report import write_report
        results = run_checks(database, known=[])
        plan = Plan([each for result in results for each in result.findings], (), (), (), ())
        now = datetime.now(UTC)
        evidence = {each: find_evidence(database, each, now) for each in shown_findings(plan)}
        if plan.new:
            title, body = compose(plan, evidence)
            for line in (title, "", *body.splitlines()):
                echo(line)
        write_report(database, directory / _REPORT)
    except ConfigurationError as error:  # the extra for analyses is not installed
        echo(f"Not shown, and no report was written: {error}")
        return
    echo("")
    echo(f"Wrote {directory / _REPORT}: open it in a browser.")
