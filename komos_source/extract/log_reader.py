"""Reads logs concurrently, and turns what was read into batches of rows and changes of state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

from komos_source.api.client import KomosClient
from komos_source.api.models import Answer
from komos_source.decoding.parse import RunLog, parse_log
from komos_source.exceptions import NotVisibleError, RequestError
from komos_source.extract.cursor import RunCursor, is_complete, next_cursor, unseen
from komos_source.extract.discovery import Discovery, Target
from komos_source.extract.failures import after_failure, as_request_error
from komos_source.extract.settled_runs import is_settled
from komos_source.extract.state import StateChanges, TrackedRun
from komos_source.tables import (
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS,
    TASK_RUN_LOGS_REJECTED,
)

Outcome = Literal["ok", "not_visible", "failed", "lost"]


@dataclass(slots=True)
class Batch:
    """What is handed to dlt at once: rows, and the changes of state that hold once they are loaded.

    Attributes:
        tables: Rows by table, from the logs; a table without rows is left out.
        changes: Changes of the state of ``task_run_logs``.
        found: Tasks, runs and gaps.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    changes: StateChanges = field(default_factory=StateChanges)
    found: Discovery = field(default_factory=Discovery)


@dataclass(frozen=True, slots=True)
class LogResult:
    """What became of one target.

    Attributes:
        tracked: What to keep of the run; None if it was named by id.
        settled: Whether its log need not be read again.
        checked_at: When it was read, by the server's clock if it sent its time.
        cursor: How far the log is loaded once `rows` have been loaded.
        rejected: Entries that cannot be rows.
    """

    run_id: str
    tracked: TrackedRun | None
    outcome: Outcome
    settled: bool
    checked_at: datetime
    cursor: RunCursor | None
    rows: pa.Table
    rejected: pa.Table
    error: RequestError | None = None

    @property
    def load_row(self) -> dict[str, Any]:
        """What is known of the run's log, as a row of ``task_run_log_loads``."""
        return {
            "run_id": self.run_id,
            "entries": self.cursor.entry_count if self.cursor else None,
            "last_timestamp": self.cursor.last_timestamp if self.cursor else None,
            "checked_at": self.checked_at,
            "settled": self.settled,
            "outcome": self.outcome,
            "http_status": self.error.status if self.error else 200,
            "detail": str(self.error) if self.error else None,
        }


async def read_logs(
    client: KomosClient,
    targets: Iterable[Target],
    settle_after: timedelta,
    give_up_after: timedelta,
    concurrency: int,
) -> AsyncGenerator[LogResult, None]:
    """Reads logs and yields the results in the order in which they arrive.

    Args:
        client: The API.
        targets: The runs.
        settle_after: How long after a run's end its log counts as complete.
        give_up_after: How long the API must refuse a run before it counts as lost.
        concurrency: Requests under way at once.

    Raises:
        AuthenticationError: The API refuses the key.
        ApiUnreachableError: The API cannot be reached.
    """
    remaining = iter(targets)
    results: asyncio.Queue[LogResult | Exception | None] = asyncio.Queue(maxsize=1)

    async def read(target: Target) -> None:
        # The log counts against the client's memory until the consumer takes it.
        try:
            async with client.task_run_log(
                target.run_id, lambda body, seen_at: parse_log(body, target.run_id, seen_at)
            ) as answer:
                await results.put(success(target, answer, settle_after, datetime.now(UTC)))
        except Exception as error:  # noqa: BLE001 - one run must not end the load
            request_error = as_request_error(error)
            await results.put(failure(target, request_error, give_up_after, datetime.now(UTC)))

    async def work() -> None:
        try:
            for target in remaining:
                await read(target)
            await results.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the consumer
            await results.put(error)

    # Two more than there are requests at once: logs are decoded while all requests are under way.
    workers = [asyncio.create_task(work()) for _ in range(concurrency + 2)]
    working = len(workers)
    try:
        while working:
            result = await results.get()
            if result is None:
                working -= 1
            elif isinstance(result, Exception):
                raise result
            else:
                yield result
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def success(
    target: Target, answer: Answer[RunLog], settle_after: timedelta, now: datetime
) -> LogResult:
    """The result of a log that was read. An answer with fewer entries than known settles no run."""
    log, tracked = answer.value, target.tracked
    rows, rejected = unseen(log, target.cursor)
    cursor = next_cursor(log, target.cursor)
    settled = False
    if tracked:
        settled = is_complete(log, target.cursor) and is_settled(
            tracked.finished_at, answer.served_at, now, settle_after
        )
        tracked = replace(
            tracked,
            cursor=cursor,
            checked_at=now,
            changed_at=now if cursor != target.cursor else tracked.changed_at,
            failing_since=None,
            failed_loads=0,
        )
    return LogResult(
        target.run_id, tracked, "ok", settled, answer.served_at or now, cursor, rows, rejected
    )


def failure(
    target: Target, error: RequestError, give_up_after: timedelta, now: datetime
) -> LogResult:
    """The result of a run whose log could not be read, or that could not be looked up."""
    outcome: Outcome = "not_visible" if isinstance(error, NotVisibleError) else "failed"
    tracked, lost = target.tracked, False
    if tracked:
        tracked, lost = after_failure(
            tracked, error, listed=target.listed, now=now, give_up_after=give_up_after
        )
    return LogResult(
        target.run_id,
        tracked,
        "lost" if lost else outcome,
        settled=lost,
        checked_at=now,
        cursor=target.cursor,
        rows=TASK_RUN_LOGS.empty(),
        rejected=TASK_RUN_LOGS_REJECTED.empty(),
        error=error,
    )


def log_batch(results: Sequence[LogResult]) -> Batch:
    """The batch of some results."""
    changes = StateChanges()
    for result in results:
        if result.tracked is None:
            if result.cursor:
                changes.by_id[result.run_id] = result.cursor
        elif result.outcome == "lost":
            changes.lost[result.run_id] = result.tracked
        elif result.settled:
            changes.settled.add(result.run_id)
        else:
            changes.tracked[result.run_id] = result.tracked
    tables = {
        TASK_RUN_LOGS.name: pa.concat_tables([result.rows for result in results]),
        TASK_RUN_LOGS_REJECTED.name: pa.concat_tables([result.rejected for result in results]),
        TASK_RUN_LOG_LOADS.name: TASK_RUN_LOG_LOADS.from_rows([each.load_row for each in results]),
    }
    return Batch({name: rows for name, rows in tables.items() if len(rows)}, changes)
