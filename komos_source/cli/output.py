"""What the command prints. All text passes `printable`: it may come from outside."""

from __future__ import annotations

import functools
import json
import logging
import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from komos_source import telemetry
from komos_source.load_result import exit_code_of_error
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


def is_terminal(file: IO[Any]) -> bool:
    """Whether a file is a terminal that can move its cursor."""
    return file.isatty() and os.environ.get("TERM") != "dumb"


def check_reader() -> None:
    """Raises BrokenPipeError if nobody reads standard output any more.

    A command that waits for something to print would not find out.
    """
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise BrokenPipeError


def quiet_when_closed(command: Callable[..., None]) -> Callable[..., None]:
    """Ends a command without a message if the reader of its output has ended, or on Ctrl-C."""

    @functools.wraps(command)
    def quiet(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (BrokenPipeError, KeyboardInterrupt) as error:
            # What is still buffered would fail once more at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(exit_code_of_error(error))

    return quiet
