"""Metrics of one load: requests, runs, entries, failures.

Extraction updates them, the command shows them as progress, and `loading` compares them with the
rows in the destination.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(slots=True)
class LoadMetrics:
    """Counts of one load.

    Attributes:
        started_at: When it began, by this machine's clock.
        stage: What the load is doing now, in a word or two.
        requests: HTTP requests sent, repeated ones included.
        runs_seen: Runs that the API has listed, or that were named.
        logs_due: Logs to be read; known after discovery.
        logs_read: Logs read so far.
        emitted: Rows of ``task_run_logs`` handed to dlt, by run.
        rejected: Entries that cannot be rows.
        read: Runs whose logs were read, or could not be; not requested again by this load.
        is_partial: Whether logs were left to the next load package because of their size.
        failures: Why a run could not be fetched, by run id.
        problems: What else went wrong, in sentences (a task whose runs could not be listed).
        notes: What else is worth knowing, in sentences; nothing went wrong.
        load_ids: dlt's ids of the packages that it loaded.
        window_gaps: Tasks of which runs may have left the list before a load saw them.
        paused_until: On the monotonic clock, when a throttled client asks again.
    """

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    stage: str = "starting"
    requests: int = 0
    runs_seen: int = 0
    logs_due: int = 0
    logs_read: int = 0
    emitted: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    read: set[str] = field(default_factory=set)
    is_partial: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_ids: list[str] = field(default_factory=list)
    window_gaps: int = 0
    paused_until: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def entries(self) -> int:
        """Rows emitted so far."""
        return self.emitted.total()

    @property
    def seconds(self) -> float:
        """How long the load has taken so far."""
        return round(time.monotonic() - self._started, 3)

    @property
    def pause(self) -> float:
        """Seconds until a throttled client asks again; 0 if it is not throttled."""
        return max(0.0, self.paused_until - time.monotonic())
