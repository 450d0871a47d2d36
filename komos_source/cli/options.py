"""Options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from komos_source import settings

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    nothing could be done (configuration, key refused, API or destination unreachable)
  2    wrong usage
  3    done, but some runs could not be loaded; the next load tries again
  4    a failure was found (komos health, komos logs --exit-status)
  130  stopped by Ctrl-C or SIGTERM; the next load resumes
"""

_Command = Callable[..., None]


class FiniteRange(click.FloatRange):
    """A number within a range. Click compares only, so it lets "nan" and "inf" pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Converts and checks a value; see `click.ParamType.convert`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


PORT = click.IntRange(0, 65_535)


def _combined(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


destination_options = _combined(
    click.option(
        "--destination",
        default=settings.DESTINATION,
        show_default=True,
        metavar="NAME",
        help="Name of a dlt destination, see docs/destinations.md.",
    ),
    click.option(
        "--dataset",
        "dataset_name",
        default=settings.DATASET_NAME,
        show_default=True,
        metavar="NAME",
        help="Dataset (schema) of the tables; letters, digits and _.",
    ),
)
pipeline_name_option = click.option(
    "--pipeline-name",
    default=settings.PIPELINE_NAME,
    show_default=True,
    metavar="NAME",
    help="Name of the dlt pipeline, its lock and its settings; letters, digits, _ and -.",
)
lock_timeout_option = click.option(
    "--lock-timeout",
    type=FiniteRange(min=0),
    default=settings.LOCK_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another load, or for a process that has the DuckDB file open.",
)
load_options = _combined(
    destination_options,
    pipeline_name_option,
    click.option(
        "--views/--no-views",
        default=True,
        show_default=True,
        help="Create the views for analyses where they are missing.",
    ),
    lock_timeout_option,
)
notify_options = _combined(
    click.option(
        "--notify",
        "notify_urls",
        multiple=True,
        is_flag=False,
        flag_value="",
        metavar="[URL]",
        help="Send what the checks find and is new to this target, a URL of Apprise (repeatable); "
        "without a URL, to those of SOURCES__KOMOS__NOTIFY, where a URL with a password belongs: "
        "other users of this machine can read options. See docs/alerts.md.",
    ),
    click.option(
        "--remind-after",
        type=FiniteRange(min=0, min_open=True),
        default=settings.REMIND_AFTER / 86_400,
        show_default=True,
        metavar="DAYS",
        help="Send a finding that is still there again after so long.",
    ),
)
read_options = _combined(
    destination_options,
    pipeline_name_option,
    click.option(
        "--database",
        type=click.Path(),
        metavar="FILE",
        help="DuckDB file to read instead of the configured destination.",
    ),
)
