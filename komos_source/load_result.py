"""The result of one load, and the exit code it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one load did.

    Attributes:
        runs_seen: Runs that the load knew of.
        runs_fetched: Logs that it read.
        entries_loaded: Rows that arrived in ``task_run_logs``.
        entries_rejected: Entries that went to ``task_run_logs_rejected`` instead.
        runs_failed: Runs that could not be fetched; the next load tries them again.
        window_gaps: Tasks for which some runs may have been missed since the last load.
        requests: HTTP requests sent, retries included.
        seconds: Duration of the load.
        failures: Why runs could not be fetched, by run id.
        problems: What else went wrong, a sentence each.
        api_failure: Why the API could not be read, if only webhook deliveries were loaded.
    """

    runs_seen: int
    runs_fetched: int
    entries_loaded: int
    entries_rejected: int
    runs_failed: int
    window_gaps: int
    requests: int
    seconds: float
    failures: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    api_failure: str | None = None

    @property
    def exit_code(self) -> int:
        """0: done; 3: done, but some runs could not be fetched or something else went wrong.

        1: nothing could be done. Most such loads raise an error; this one asked the API and could
        list no task's runs.
        """
        if self.problems and self.requests and not self.runs_seen:
            return 1
        return 3 if self.failures or self.problems else 0

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
