"""``komos prune``: deletes old runs."""

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
from komos_source.cli.run_ids import complete_task_id


@click.command(epilog=EXIT_CODES)
@click.option(
    "--older-than",
    required=True,
    metavar="DURATION",
    help="Delete runs that ended longer ago than this: 180d, 26w, 720h; at least 1d.",
)
@click.option("--keep-failed", is_flag=True, help="Keep runs that failed.")
@click.option("--keep-errors", is_flag=True, help="Keep runs with an entry of the level error.")
@click.option(
    "--task-id",
    "task_ids",
    multiple=True,
    shell_complete=complete_task_id,
    metavar="ID",
    help="Delete the runs of this task only (repeatable).",
)
@click.option("--dry-run", is_flag=True, help="Count what would be deleted, and delete nothing.")
@destination_options
@pipeline_name_option
@lock_timeout_option
def prune(older_than: str, task_ids: tuple[str, ...], **options: Any) -> None:
    """Delete old runs and all their rows for good; daily rates of their nodes are kept.

    No later load brings them back.

    \b
    Examples:
      komos prune --older-than 180d --dry-run
      komos prune --older-than 26w --keep-failed --destination postgres
    """
    from komos_source.exceptions import UsageError
    from komos_source.loading.prune import prune as run_prune
    from komos_source.timestamps import parse_duration

    try:
        duration = parse_duration(older_than)
    except ValueError as error:
        raise UsageError(
            f"--older-than {older_than!r} is not a duration: 180d (days), 26w (weeks) and 720h "
            "(hours) are"
        ) from error
    result = run_prune(duration, task_ids=task_ids or None, **options)
    sentence = result.sentence()
    echo(f"{sentence[0].upper()}{sentence[1:]}, in {result.seconds:.1f} s.")
    if result.note:
        echo(f"{result.note}.")
