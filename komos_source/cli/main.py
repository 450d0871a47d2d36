"""The ``komos`` command. Commands import what they need when they run, so that --help is quick."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from komos_source.cli import startup
from komos_source.cli.after_shards import after_shards
from komos_source.cli.check import check
from komos_source.cli.demo import demo
from komos_source.cli.emulate import emulate
from komos_source.cli.health import health
from komos_source.cli.load import load
from komos_source.cli.logs import logs
from komos_source.cli.notebook import notebook
from komos_source.cli.options import EXIT_CODES
from komos_source.cli.output import Output
from komos_source.cli.prune import prune
from komos_source.cli.redact import redact
from komos_source.cli.report import report
from komos_source.cli.runs import runs
from komos_source.cli.webhooks import webhooks
from komos_source.exceptions import KomosError
from komos_source.load_result import exit_code_of_error
from komos_source.text import printable


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="komos-source")
def cli() -> None:
    """Load Komos task-run logs into DuckDB or a warehouse.

    \b
    Examples:
      komos demo                            try it with sample data, without a key
      komos check                           check the configuration
      komos load                            load what is new into komos_task_run_logs.duckdb
      komos load --run-id 9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94
      komos load --destination postgres --json
      komos logs 9c77 --follow              a run's log as it grows
      komos health                          check loads and tasks, and alert with --notify
      komos report                          node health as one page
      komos notebook                        node health to explore
    """


for command in (
    load,
    runs,
    logs,
    check,
    health,
    report,
    notebook,
    prune,
    redact,
    demo,
    webhooks,
    after_shards,
    emulate,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Entry point: runs the command and ends the process with its exit code."""
    output = Output()
    try:
        startup.configure_process()
        cli(standalone_mode=False, obj=output)
    except click.ClickException as error:
        lines = io.StringIO()
        error.show(lines)
        click.echo("\n".join(map(printable, lines.getvalue().rstrip().split("\n"))), err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        output.error("interrupted; no data was lost, the next load resumes")
        sys.exit(exit_code_of_error(KeyboardInterrupt()))
    except KomosError as error:
        output.error(str(error))
        sys.exit(exit_code_of_error(error))
    except Exception as error:
        if os.environ.get("KOMOS_TRACEBACK"):
            raise
        output.error(
            f"unexpected {type(error).__name__}: {str(error)[:300]} (KOMOS_TRACEBACK=1 shows where)"
        )
        sys.exit(exit_code_of_error(error))
    sys.exit(0)
