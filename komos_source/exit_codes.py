"""The exit codes of the ``komos`` command, and what decides them."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from komos_source.exceptions import UsageError

Status = Literal["ok", "partial", "failed"]
"""The outcome of a load that did not raise an error."""


class ExitCode(IntEnum):
    """What a scheduler can tell apart.

    Attributes:
        DONE: Everything was done.
        FAILED: Nothing could be done: configuration, key refused, API or destination unreachable.
        USAGE: An argument cannot be used; nothing was touched.
        PARTIAL: Done, but some runs could not be loaded, or a view could not be created. The
            next load tries again.
        INTERRUPTED: Stopped by Ctrl-C or SIGTERM. The next load resumes.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    INTERRUPTED = 130


_BY_STATUS = {"ok": ExitCode.DONE, "partial": ExitCode.PARTIAL, "failed": ExitCode.FAILED}


def exit_code_of_status(status: Status) -> ExitCode:
    """The exit code of a load that ended with a result."""
    return _BY_STATUS[status]


def exit_code_of_error(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED
