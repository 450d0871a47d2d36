"""The ``komos`` command. Heavy imports wait until a command needs them, so that --help is quick."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from komos_source import structured_logging
from komos_source.cli import commands, startup
from komos_source.cli.commands import EXIT_CODES, where_to_load
from komos_source.settings import API_KEY_VARIABLE

if TYPE_CHECKING:
    from komos_source.load_result import LoadResult


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="komos-source")
def cli() -> None:
    """Bring the logs of Komos task runs home, each entry once.

    \b
    Examples:
      komos demo                            see it work, without a key
      komos check                           is everything set up?
      komos load                            load what is new into komos_task_run_logs.duckdb
      komos load --run-id 9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94
      komos load --destination postgres --json
      komos report                          node health as one page
      komos notebook                        the same to explore
    """


@cli.command(epilog=EXIT_CODES)
@click.option("--run-id", "run_ids", multiple=True, help="Load this run only (repeatable).")
@click.option("--runs-file", type=click.Path(path_type=Path), help="File with one run id a line.")
@click.option("--task-id", "task_ids", multiple=True, help="Load this task's runs (repeatable).")
@click.option("--since", help="Leave logs of runs created before this ISO 8601 date or time.")
@click.option("--full-refresh", is_flag=True, help="Read every visible run again.")
@click.option(
    "--shard", metavar="B/N", help="Load bucket B of N only, B from 0; see docs/scaling.md."
)
@click.option(
    "--follow",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Load again and again until stopped: ask the API so often, drain webhooks at once.",
)
@where_to_load
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    envvar="KOMOS_LOG_FORMAT",
    show_envvar=True,
    help="Log events to standard error, a line each, instead of progress and messages.",
)
def load(
    run_ids: tuple[str, ...],
    runs_file: Path | None,
    task_ids: tuple[str, ...],
    shard: str | None,
    follow: float | None,
    as_json: bool,
    log_format: str | None,
    **options: Any,
) -> None:
    """Load what is new, once.

    \b
    Examples:
      komos load
      komos load --task-id 6513270e-269e-4d37-b2a7-4de452e6b438 --since 2025-10-01
      komos load --runs-file kept_run_ids.txt
      komos load --destination postgres --shard 3/64
      komos load --follow 60
    """
    if log_format:
        structured_logging.to_stderr(log_format)
    startup.prepare()
    from komos_source.extract.options import read_runs_file
    from komos_source.loading.load import load as run_load
    from komos_source.metrics import LoadMetrics
    from komos_source.shard import Shard

    named = [*run_ids, *(read_runs_file(runs_file) if runs_file else [])]
    options |= {"run_ids": named or None, "task_ids": task_ids or None}
    options |= {"shard": Shard.parse(shard)} if shard else {}
    if follow is not None:
        _follow(follow, as_json, options)
        return
    metrics = LoadMetrics()

    def run() -> LoadResult:
        return run_load(metrics=metrics, **options)

    if as_json:
        report = run()
        click.echo(json.dumps(report.to_json()))
        _explain(report)
    else:
        from komos_source.cli.progress import print_result, watched

        with watched(metrics, quiet=log_format is not None):
            report = run()
        print_result(report)
    sys.exit(report.exit_code)


@cli.command("after-shards", epilog=EXIT_CODES)
@where_to_load
def after_shards(**options: Any) -> None:
    """Do what concerns all shards, once they are loaded: webhooks, window gaps, views.

    \b
    Example:
      komos after-shards --destination postgres
    """
    startup.prepare()
    from komos_source.loading.shards import after_shards as run

    report = run(**options)
    click.echo(f"{report.entries_loaded} entries from webhooks; views and window gaps up to date")
    _explain(report)
    sys.exit(report.exit_code)


def _follow(pace: float, as_json: bool, options: dict[str, Any]) -> None:
    from komos_source.cli.progress import line
    from komos_source.exceptions import UsageError
    from komos_source.loading.follow import follow

    if options["full_refresh"]:
        raise UsageError("--full-refresh reads everything again: it cannot be followed")

    def loaded(report: LoadResult, polled: bool) -> None:
        click.echo(json.dumps(report.to_json()) if as_json else line(report, polled=polled))
        _explain(report)

    with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        follow(pace, loaded, startup.complain, **options)


@cli.command()
@click.option("--destination", default="duckdb", show_default=True, help="A dlt destination.")
@click.option(
    "--dataset",
    "dataset_name",
    default="komos",
    show_default=True,
    help="Dataset (schema) to load into.",
)
def check(destination: str, dataset_name: str) -> None:
    """Check configuration, key, API and destination; says what to do where something is missing."""
    from komos_source.cli.check import check_setup

    ok = True
    for result in check_setup(destination, dataset_name):
        ok = ok and result.ok
        click.echo(f"{'ok     ' if result.ok else 'missing'}  {result.name}: {result.detail}")
    sys.exit(0 if ok else 1)


for command in commands.ALL:
    cli.add_command(command)


def _explain(report: LoadResult) -> None:
    if structured_logging.going_to_stderr():
        return  # they are events of the load
    for run_id, reason in report.failures.items():
        click.echo(f"run {run_id}: {reason}", err=True)
    for problem in report.problems:
        click.echo(problem, err=True)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point: runs the command and ends the process with its exit code."""
    code = 0
    try:
        _run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    startup.leave(code)


def _run() -> None:
    """Runs the command and turns our errors into messages and exit codes."""
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    if os.environ.get(API_KEY_VARIABLE) == "":
        del os.environ[API_KEY_VARIABLE]  # a secret that the scheduler does not have is not set
    signal.signal(signal.SIGTERM, _terminate)
    from komos_source.exceptions import KomosError, UsageError

    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        startup.fail("stopped; nothing is lost, the next load goes on from here", 130)
    except UsageError as error:
        startup.fail(str(error), 2)
    except KomosError as error:
        startup.fail(str(error), 1)
