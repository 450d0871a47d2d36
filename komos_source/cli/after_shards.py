"""``komos after-shards``: finishes a load in shards."""

from __future__ import annotations

import sys
from typing import Any

import click

from komos_source.cli import startup
from komos_source.cli.options import EXIT_CODES, load_options
from komos_source.cli.output import Output, echo


@click.command("after-shards", epilog=EXIT_CODES)
@load_options
@click.pass_obj
def after_shards(output: Output, /, **options: Any) -> None:
    """Finish a load in shards: webhook deliveries, runs they name, views, window gaps.

    \b
    Example:
      komos after-shards --destination postgres
    """
    startup.import_loading()
    from komos_source.loading.shards import after_shards as run

    result = run(**options)
    echo(f"{result.entries_loaded} entries loaded; views and window gaps up to date")
    output.problems(result)
    sys.exit(result.exit_code)
