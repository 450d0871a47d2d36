"""``komos redact``: redacts what has been loaded."""

from __future__ import annotations

from typing import Any

import click

from komos_source.cli.options import (
    EXIT_CODES,
    destination_options,
    lock_timeout_option,
    pipeline_name_option,
)
from komos_source.cli.output import echo


@click.command(epilog=EXIT_CODES)
@click.option("--dry-run", is_flag=True, help="Count what would be redacted, and change nothing.")
@click.option("--apply", is_flag=True, help="Redact it, for good.")
@destination_options
@pipeline_name_option
@lock_timeout_option
def redact(dry_run: bool, apply: bool, **options: Any) -> None:
    """Redact what was loaded before there were rules, or with other rules.

    \b
    Examples:
      komos redact --dry-run
      komos redact --apply --destination postgres
    """
    from komos_source.exceptions import UsageError
    from komos_source.loading.redact_tables import redact as run_redact

    if dry_run == apply:
        raise UsageError("give either --dry-run, which counts, or --apply, which changes the data")
    result = run_redact(dry_run=dry_run, **options)
    sentence = result.sentence()
    echo(f"{sentence[0].upper()}{sentence[1:]}, in {result.seconds:.1f} s.")
    if result.note:
        echo(f"{result.note[0].upper()}{result.note[1:]}.")
