"""What a load has to say when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from komos_source.exit_codes import Status, exit_code_of_status


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one load did.

    Attributes:
        runs_seen: Runs it knew of.
        runs_fetched: Logs it read.
        entries_loaded: Rows that arrived in ``task_run_logs``.
        entries_rejected: Entries that went to ``task_run_logs_rejected`` instead.
        runs_failed: Runs that could not be fetched; the next load tries them again.
        window_gaps: Tasks whose runs may have slipped out of sight unseen.
        requests: HTTP requests sent.
        seconds: How long it took.
        failures: Why runs could not be fetched, by run id.
        problems: What else went wrong.
        api_failure: Why the API could not be asked, where only webhooks were loaded for that.
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
    def status(self) -> Status:
        """``ok``; ``partial`` if something could not be loaded; ``failed`` if nothing could."""
        if self.problems and self.requests and not self.runs_seen:
            return "failed"
        return "partial" if self.failures or self.problems else "ok"

    @property
    def exit_code(self) -> int:
        """See `komos_source.exit_codes`."""
        return int(exit_code_of_status(self.status))

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
