"""Reads logs concurrently, into batches of rows, each with the state it vouches for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from komos_source.api.client import KomosClient
from komos_source.exceptions import NotVisibleError, RequestError
from komos_source.extract.cursor import RunCursor, advanced, is_settled
from komos_source.extract.discovery import Discovery, Target
from komos_source.extract.state import Changes, TrackedRun
from komos_source.metrics import LoadMetrics
from komos_source.settings import BYTES_PER_BATCH, LOGS_PER_BATCH, MAX_CONCURRENCY
from komos_source.tables import (
    ARROW_TABLES,
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS,
    TASK_RUN_LOGS_REJECTED,
    TASK_RUN_WINDOW_GAPS,
    TASK_RUNS,
    TASKS,
)

_WORKERS_AT_FIRST = 4
_IDLE = 0.005
"""Seconds without a log after which one more worker starts: a server that answers at once is not
asked from many connections, which cost more than they bring; one far away is after 50 ms."""


@dataclass(slots=True)
class Batch:
    """Rows by table, and the changes of state that are true once these rows have arrived.

    A table without rows is left out: dlt would make a file of it, and two statements.
    """

    tables: dict[str, pa.Table | list[dict[str, Any]]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one target.

    Attributes:
        target: The log that was to be read.
        checked_at: When it was read, by the server's clock if it told.
        settled: Whether it need not be read again.
        cursor: How far it is loaded once `rows` have arrived.
        rows: Rows to load.
        rejected: Entries that cannot be rows.
        error: Why it could not be read.
    """

    target: Target
    checked_at: datetime
    settled: bool
    cursor: RunCursor | None
    rows: pa.Table
    rejected: pa.Table
    error: RequestError | None = None

    @property
    def load_row(self) -> dict[str, Any]:
        """What is known of the run's log, as a row of ``task_run_log_loads``."""
        return {
            "run_id": self.target.run_id,
            "entries": self.cursor.entries if self.cursor else None,
            "last_timestamp": self.cursor.last_timestamp if self.cursor else None,
            "checked_at": self.checked_at,
            "settled": self.settled,
            "outcome": self._outcome,
            "http_status": self.error.status if self.error else 200,
            "detail": str(self.error) if self.error else None,
        }

    @property
    def _outcome(self) -> str:
        if self.error is None:
            return "ok"
        return "not_visible" if isinstance(self.error, NotVisibleError) else "failed"


def first_batch() -> Batch:
    """The batch of a first load: every table, so that each is there from then on."""
    return Batch({table.name: table.from_rows([]) for table in ARROW_TABLES})


def found_batch(found: Discovery) -> Batch:
    """The batch of what discovery found."""
    rows = {
        TASK_RUNS: [run.to_row() for run in found.runs],
        TASK_RUN_WINDOW_GAPS: found.gaps,
    }
    return Batch(
        _filled({TASKS: found.tasks})
        # Arrow is left alone where there is nothing: its first use imports pandas (0.2 s).
        | {table.name: table.from_rows(each) for table, each in rows.items() if each},
        Changes(tasks=found.digests, windows=found.windows, tracked=found.tracked),
    )


async def read_batches(
    client: KomosClient,
    targets: Iterable[Target],
    metrics: LoadMetrics,
    *,
    settle_after: timedelta,
    concurrency: int = MAX_CONCURRENCY,
) -> AsyncIterator[Batch]:
    """Reads logs and yields them in batches of some megabytes, in the order they arrive."""
    readings: list[Reading] = []
    size = 0
    async with contextlib.aclosing(
        _read_all(client, iter(targets), settle_after, concurrency)
    ) as arriving:
        async for reading in arriving:
            _account(reading, metrics)
            readings.append(reading)
            size += reading.rows.nbytes
            if size >= BYTES_PER_BATCH or len(readings) >= LOGS_PER_BATCH:
                yield _log_batch(readings)
                readings, size = [], 0
    if readings:
        yield _log_batch(readings)
    # Arrow keeps what it has freed for later use; the database needs that memory next.
    pa.default_memory_pool().release_unused()


def split_by_bytes(rows: Any, limit: int = BYTES_PER_BATCH) -> Iterator[Any]:
    """Splits an Arrow table into tables of at most `limit` bytes; a larger row is one of its own.

    Rows that are not an Arrow table are returned as they are.
    """
    if not isinstance(rows, pa.Table) or len(rows) <= 1 or rows.nbytes <= limit:
        yield rows
        return
    half = len(rows) // 2
    yield from split_by_bytes(rows.slice(0, half), limit)
    yield from split_by_bytes(rows.slice(half), limit)


async def _read_all(
    client: KomosClient, targets: Iterator[Target], settle_after: timedelta, concurrency: int
) -> AsyncGenerator[Reading, None]:
    """Reads all targets by some workers.

    A worker waits for room in the queue while its log still counts against the client's memory.
    """
    taken: asyncio.Queue[Reading | Exception | None] = asyncio.Queue(maxsize=1)

    async def work() -> None:
        try:
            for target in targets:
                await _read(client, target, settle_after, taken)
            await taken.put(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who consumes
            await taken.put(error)

    # Two more than there are requests at once: somebody decodes while all requests are under way.
    most = concurrency + 2
    workers = [asyncio.create_task(work()) for _ in range(min(_WORKERS_AT_FIRST, most))]
    try:
        working = len(workers)
        while working:
            try:
                async with asyncio.timeout(_IDLE if len(workers) < most else None):
                    item = await taken.get()
            except TimeoutError:
                workers.append(asyncio.create_task(work()))
                working += 1
                continue
            if item is None:
                working -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                yield item
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _read(
    client: KomosClient, target: Target, settle_after: timedelta, taken: asyncio.Queue[Any]
) -> None:
    tracked = target.tracked or TrackedRun(task_id=None)
    try:
        if target.failure:
            raise target.failure
        known = target.cursor.head if target.cursor else None
        async with client.task_run_log(target.run_id, known) as answer:
            rows, rejected, cursor = advanced(answer.value, target.cursor)
            await taken.put(
                Reading(
                    target,
                    checked_at=answer.served_at or datetime.now(UTC),
                    settled=is_settled(tracked.finished_at, answer.served_at, settle_after),
                    cursor=cursor,
                    rows=rows,
                    rejected=rejected,
                )
            )
    except RequestError as error:
        await taken.put(
            Reading(
                target,
                checked_at=datetime.now(UTC),
                settled=_is_gone(target, error, settle_after),
                cursor=target.cursor,
                rows=TASK_RUN_LOGS.schema.empty_table(),
                rejected=TASK_RUN_LOGS_REJECTED.schema.empty_table(),
                error=error,
            )
        )


def _is_gone(target: Target, error: RequestError, settle_after: timedelta) -> bool:
    """Whether a run will not be shown again: it cannot be looked up, or ended without a log."""
    if target.tracked is None or not isinstance(error, NotVisibleError):
        return False
    return error is target.failure or is_settled(
        target.tracked.finished_at, error.served_at, settle_after
    )


def _account(reading: Reading, metrics: LoadMetrics) -> None:
    run_id = reading.target.run_id
    metrics.logs_read += 1
    metrics.rejected += len(reading.rejected)
    if len(reading.rows):
        metrics.emitted[run_id] += len(reading.rows)
    if reading.error:
        metrics.failures[run_id] = str(reading.error)


def _log_batch(readings: list[Reading]) -> Batch:
    changes = Changes()
    for reading in readings:
        target = reading.target
        if target.tracked is None:
            if reading.cursor:
                changes.given[target.run_id] = reading.cursor
        elif reading.settled:
            changes.settled.add(target.run_id)
        else:
            changes.tracked[target.run_id] = replace(target.tracked, cursor=reading.cursor)
    return Batch(
        _filled(
            {
                TASK_RUN_LOGS.name: pa.concat_tables([reading.rows for reading in readings]),
                TASK_RUN_LOGS_REJECTED.name: pa.concat_tables(
                    [reading.rejected for reading in readings]
                ),
                TASK_RUN_LOG_LOADS.name: TASK_RUN_LOG_LOADS.from_rows(
                    [reading.load_row for reading in readings]
                ),
            }
        ),
        changes,
    )


def _filled(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: rows for name, rows in tables.items() if len(rows)}
