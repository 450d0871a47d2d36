"""What the command prints. All text passes `printable`: it may come from outside."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from komos_source import telemetry
from komos_source.text import printable

if TYPE_CHECKING:
    from komos_source.load_result import LoadResult


@dataclass
class Output:
    """Where messages go.

    Attributes:
        log_format: ``plain`` or ``json`` if events are logged to standard error instead of messages
            for a person.
    """

    log_format: str | None = None

    def use_log_format(self, log_format: str | None) -> None:
        """Logs events to standard error from now on, if there is a format."""
        self.log_format = log_format
        if log_format:
            telemetry.log_to_stderr(log_format)

    def error(self, message: str) -> None:
        """Reports an error."""
        if self.log_format:
            telemetry.emit(logging.ERROR, message)
        else:
            click.echo(f"komos: {printable(message)}", err=True)

    def problems(self, result: LoadResult) -> None:
        """Reports what a load could not do; structured logs have it from the load itself."""
        if self.log_format:
            return
        for run_id, reason in result.failures.items():
            click.echo(printable(f"run {run_id}: {reason}"), err=True)
        for problem in (*result.problems, *result.notes):
            click.echo(printable(problem), err=True)


def echo(message: str) -> None:
    """Prints a line."""
    click.echo(printable(message))


def echo_json(result: LoadResult) -> None:
    """Prints the counts of a load as one JSON object."""
    click.echo(json.dumps(result.to_json()))
