"""The result of one load, and the exit codes of the ``komos`` command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, Self

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
        FAILURE_FOUND: Done, and a failure was found: by a check of `komos health`, or a run that
            `komos logs --exit-status` shows.
        INTERRUPTED: Stopped by Ctrl-C or SIGTERM. The next load resumes.
        OUTPUT_CLOSED: The program that reads the output has ended, such as ``head``; the code that
            a shell reports for SIGPIPE.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    FAILURE_FOUND = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


_BY_STATUS = {"ok": ExitCode.DONE, "partial": ExitCode.PARTIAL, "failed": ExitCode.FAILED}


def exit_code_of_status(status: Status) -> ExitCode:
    """The exit code of a load that ended with a result."""
    return _BY_STATUS[status]


def exit_code_of_load(status: Status, *, delivered: bool) -> ExitCode:
    """The exit code of `komos load --notify`: that of the load, unless alerts were not sent.

    Args:
        status: How the load has ended.
        delivered: Whether each target has accepted its message; the next call tries again.
    """
    code = exit_code_of_status(status)
    return code if code or delivered else ExitCode.PARTIAL


def exit_code_of_health(*, passed: bool, delivered: bool) -> ExitCode:
    """The exit code of `komos health`.

    Args:
        passed: Whether no check has failed.
        delivered: Whether each target has accepted its message; the next call tries again.
    """
    if not passed:
        return ExitCode.FAILURE_FOUND
    return ExitCode.DONE if delivered else ExitCode.PARTIAL


def exit_code_of_error(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return ExitCode.OUTPUT_CLOSED
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED


def exit_code_of_run(status: str | None) -> ExitCode:
    """The exit code of a command that reports how a run ended; 0 for one that goes on."""
    return ExitCode.FAILURE_FOUND if status in {"FAILED", "CANCELLED"} else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one load did.

    Attributes:
        runs_seen: Runs it knew of.
        runs_fetched: Logs it read.
        entries_loaded: Rows that arrived in ``task_run_logs``.
        entries_rejected: Entries that went to ``task_run_logs_rejected`` instead.
        runs_failed: Runs that could not be fetched; the next load tries them again.
        window_gaps: Tasks of which runs may have left the list before a load saw them.
        requests: HTTP requests sent.
        seconds: How long it took.
        failures: Why runs could not be fetched, by run id.
        problems: What else went wrong.
        notes: What else is worth knowing; it does not change the exit code.
        api_failure: Why the API could not be asked, where only webhooks were loaded for that.
    """

    runs_seen: int = 0
    runs_fetched: int = 0
    entries_loaded: int = 0
    entries_rejected: int = 0
    runs_failed: int = 0
    window_gaps: int = 0
    requests: int = 0
    seconds: float = 0.0
    failures: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    api_failure: str | None = None

    @property
    def status(self) -> Status:
        """``ok``; ``partial`` if something could not be loaded; ``failed`` if nothing could."""
        if self.problems and self.requests and not self.runs_seen:
            return "failed"
        return "partial" if self.failures or self.problems else "ok"

    @property
    def exit_code(self) -> int:
        """See `ExitCode`."""
        return int(exit_code_of_status(self.status))

    def with_problem(self, problem: str | None) -> Self:
        """The same result with one more problem, if there is one."""
        return replace(self, problems=(*self.problems, problem)) if problem else self

    def to_json(self) -> dict[str, Any]:
        """The counts, as ``komos load --json`` prints them."""
        return {
            name: getattr(self, name)
            for name in (
                "runs_seen",
                "runs_fetched",
                "entries_loaded",
                "entries_rejected",
                "runs_failed",
                "window_gaps",
                "requests",
                "seconds",
            )
        }
