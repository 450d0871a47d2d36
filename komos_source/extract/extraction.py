"""One pass over the API that all tables are fed from: tasks and runs, then the logs, in batches."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.extract.api_change import mixed_data
from komos_source.extract.discovery import Discovery, discover, named_runs
from komos_source.extract.log_reader import Batch, LogResult, failure, log_batch, read_logs
from komos_source.extract.options import Choice
from komos_source.extract.redact_rows import redact_batch, redact_discovery
from komos_source.extract.state import State
from komos_source.metrics import LoadMetrics
from komos_source.redaction.redactor import Redactor
from komos_source.shard import Shard


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is read from the API, and how.

    Attributes:
        choice: Which runs.
        shard: Only the tasks in this bucket; None for all.
        left_out: Runs that were pruned, which are not requested.
        settle_after: How long after a run's end its log counts as complete.
        give_up_after: How long the API must refuse a run before it counts as lost.
        concurrency: Requests under way at once.
        max_bytes: Bytes of rows after which no further log is read; None for no limit.
        redactor: The rules of redaction.
        metrics: Counts of the load.
    """

    choice: Choice
    shard: Shard | None
    left_out: Set[str]
    settle_after: timedelta
    give_up_after: timedelta
    concurrency: int
    max_bytes: int | None
    redactor: Redactor
    metrics: LoadMetrics

    async def read(
        self, client: KomosClient, stored: State, *, with_logs: bool
    ) -> AsyncGenerator[Batch, None]:
        """Yields what was discovered as the first batch, then what was read of the logs.

        Args:
            client: The API.
            stored: What earlier loads left.
            with_logs: Whether logs are read.

        Raises:
            KomosError: The API cannot be used.
        """
        found = await self._discover(client, stored)
        if found.targets:
            # Imports pandas. Decoding a log would import it on another thread, while dlt asks
            # for `pandas.DataFrame`, which is not there before the import has ended.
            pa.array([])
        yield Batch(changes=found.changes, found=found)
        if not with_logs:
            return
        now = datetime.now(UTC)
        results = [failure(*each, self.give_up_after, now) for each in found.failed]
        for result in results:
            self._count(result)
        size = emitted = 0
        self.metrics.is_partial = False
        reading = read_logs(
            client, found.targets, self.settle_after, self.give_up_after, self.concurrency
        )
        async with contextlib.aclosing(reading) as arriving:
            async for result in arriving:
                self._count(result)
                results.append(result)
                size += result.rows.nbytes + result.rejected.nbytes
                if self.max_bytes and emitted + size >= self.max_bytes:
                    self.metrics.is_partial = self.metrics.logs_read < self.metrics.logs_due
                    break
                if size >= settings.BYTES_PER_BATCH or len(results) >= settings.LOGS_PER_BATCH:
                    yield redact_batch(log_batch(results), self.redactor)
                    results, size, emitted = [], 0, emitted + size
        if results:
            yield redact_batch(log_batch(results), self.redactor)

    async def _discover(self, client: KomosClient, stored: State) -> Discovery:
        """Finds the logs to read; what was pruned is left out."""
        known, run_ids = stored.without_runs(self.left_out), self.choice.run_ids
        if run_ids is not None:
            found = named_runs(run_ids, known)
        else:
            found = await discover(client, known, self.choice, self.shard)
        found = redact_discovery(found, self.redactor)
        found.drop_targets(self.metrics.read)
        not_requested = found.drop_runs(self.left_out)
        if stored.api != client.base_url:
            found.changes.api = client.base_url
            self.metrics.notes += filter(None, [mixed_data(stored.api, client.base_url)])
        found.changes.settled |= self.left_out & (stored.tracked.keys() | stored.lost.keys())
        if run_ids is not None:
            self.metrics.notes += _new(
                self.metrics.notes,
                (f"run {run_id} was pruned and is not loaded again" for run_id in not_requested),
            )
        self.metrics.runs_seen = found.runs_seen
        self.metrics.logs_due = self.metrics.logs_read + len(found.targets) + len(found.failed)
        self.metrics.window_gaps += len(found.gaps)
        self.metrics.problems += _new(self.metrics.problems, found.problems)
        return found

    def _count(self, result: LogResult) -> None:
        metrics = self.metrics
        metrics.read.add(result.run_id)
        metrics.rejected += len(result.rejected)
        if len(result.rows):
            metrics.emitted[result.run_id] += len(result.rows)
        reason = self.redactor.text(str(result.error)) if result.error else None
        if result.outcome == "lost":
            metrics.logs_due -= 1
            metrics.problems.append(
                f"run {result.run_id} counts as lost and will not be requested again "
                f"(`komos load --run-id {result.run_id}` tries once more): {reason}"
            )
            return
        metrics.logs_read += 1
        if reason is not None:
            metrics.failures[result.run_id] = reason


def _new(known: Sequence[str], texts: Iterable[str]) -> list[str]:
    """The texts that an earlier package of the same load has not reported."""
    return [text for text in texts if text not in known]
