"""``komos load``: loads what is new, once or again and again."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from komos_source.cli import startup
from komos_source.cli.health import chosen_targets, send
from komos_source.cli.options import EXIT_CODES, FiniteRange, load_options, notify_options
from komos_source.cli.output import Output, echo, echo_json
from komos_source.cli.run_ids import complete_run_id, complete_task_id

if TYPE_CHECKING:
    from komos_source.load_result import LoadResult


@click.command(epilog=EXIT_CODES)
@click.option(
    "--run-id",
    "run_ids",
    multiple=True,
    shell_complete=complete_run_id,
    metavar="ID",
    help="Load the log of this run only (repeatable).",
)
@click.option(
    "--runs-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load the logs of the runs in this file only: one id per line, # starts a comment.",
)
@click.option(
    "--task-id",
    "task_ids",
    multiple=True,
    shell_complete=complete_task_id,
    metavar="ID",
    help="Load the runs of this task only (repeatable).",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Leave logs of runs created before this ISO 8601 date or time for a later load.",
)
@click.option("--full-refresh", is_flag=True, help="Read every visible run again, settled or not.")
@click.option(
    "--shard", metavar="B/N", help="Load shard B of N only, counted from 0, see docs/scaling.md."
)
@click.option(
    "--follow",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Load until interrupted: request the API at this interval, load webhook deliveries as "
    "they arrive, print one line per load.",
)
@load_options
@notify_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    envvar="KOMOS_LOG_FORMAT",
    show_envvar=True,
    help="Log one event per line to standard error instead of progress and messages.",
)
@click.pass_obj
def load(
    output: Output,
    /,
    run_ids: tuple[str, ...],
    runs_file: Path | None,
    task_ids: tuple[str, ...],
    shard: str | None,
    follow: float | None,
    notify_urls: tuple[str, ...],
    remind_after: float,
    as_json: bool,
    log_format: str | None,
    **options: Any,
) -> None:
    """Load what is new.

    \b
    Examples:
      komos load
      komos load --task-id 6513270e-269e-4d37-b2a7-4de452e6b438 --since 2025-10-01
      komos load --runs-file kept_run_ids.txt
      komos load --destination postgres --shard 3/64
      komos load --follow 60
      SOURCES__KOMOS__NOTIFY=slack://… komos load --notify
    """
    output.use_log_format(log_format)
    startup.import_loading()
    from komos_source.extract.options import read_runs_file
    from komos_source.shard import Shard

    named = [*run_ids, *(read_runs_file(runs_file) if runs_file else [])]
    options |= {"run_ids": named or None, "task_ids": task_ids or None}
    options |= {"shard": Shard.parse(shard)} if shard else {}
    if follow is not None:
        if notify_urls:
            from komos_source.exceptions import UsageError

            raise UsageError("--notify cannot be combined with --follow: schedule `komos health`")
        _follow(output, follow, as_json, options)
    elif notify_urls:
        sys.exit(_load_and_notify(output, as_json, options, notify_urls, remind_after))
    else:
        sys.exit(_load_once(output, as_json, options).exit_code)


def _load_once(output: Output, as_json: bool, options: dict[str, Any]) -> LoadResult:
    from komos_source.loading.load import load as run_load

    if as_json:
        result = run_load(**options)
        echo_json(result)
        output.problems(result)
    else:
        from komos_source.cli.progress import print_result, show_progress

        with show_progress(quiet=output.log_format is not None) as watch:
            result = run_load(on_start=watch, **options)
        print_result(result)
    return result


def _load_and_notify(
    output: Output, as_json: bool, options: dict[str, Any], urls: tuple[str, ...], days: float
) -> int:
    """Loads, checks and sends alerts, also if the load fails; returns the exit code."""
    from komos_source.analytics import open_database, run_checks
    from komos_source.config import settings_of
    from komos_source.exceptions import ConfigurationError, KomosError, UsageError
    from komos_source.load_result import exit_code_of_load

    where = {name: options[name] for name in ("destination", "dataset_name", "pipeline_name")}
    with settings_of(where["pipeline_name"]):
        targets = chosen_targets(urls, configured=False)

    def alert() -> bool:
        try:
            with settings_of(where["pipeline_name"]):
                database = open_database(**where)
                results = run_checks(database)
                deliveries = send(output, database, results, targets, days, quiet=as_json)
        except KomosError as error:
            output.error(f"no alerts were sent: {error}")
            return False
        return all(delivery.accepted for delivery in deliveries)

    try:
        result = _load_once(output, as_json, options)
    except (UsageError, ConfigurationError):
        raise
    except KomosError:
        alert()
        raise
    return int(exit_code_of_load(result.status, delivered=alert()))


def _follow(output: Output, interval: float, as_json: bool, options: dict[str, Any]) -> None:
    from komos_source.cli.progress import summary_line
    from komos_source.exceptions import UsageError
    from komos_source.loading.follow import follow

    if options["full_refresh"]:
        raise UsageError("--full-refresh cannot be combined with --follow: it reads every run")

    def loaded(result: LoadResult, polled: bool) -> None:
        if as_json:
            echo_json(result)
        else:
            echo(summary_line(result, polled=polled))
        output.problems(result)

    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        follow(interval, loaded, output.error, **options)
