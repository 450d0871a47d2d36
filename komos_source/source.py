"""What is loaded: the dlt source and its six resources, all fed by one walk over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any

import dlt
from dlt.sources import DltResource

from komos_source import settings, tables
from komos_source.api.client import KomosClient
from komos_source.config import register_fallback_provider
from komos_source.extract import state
from komos_source.extract.discovery import discover, named_targets
from komos_source.extract.log_reader import (
    Batch,
    first_batch,
    found_batch,
    read_batches,
    split_by_bytes,
)
from komos_source.extract.options import check_client_options, check_selection
from komos_source.metrics import LoadMetrics
from komos_source.shard import Shard

register_fallback_provider()


@dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
def komos_source(
    api_key: str = dlt.secrets.value,
    base_url: str = settings.BASE_URL,
    run_ids: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    since: str | None = None,
    full_refresh: bool = False,
    settle_after: float = settings.SETTLE_AFTER,
    max_concurrency: int = settings.MAX_CONCURRENCY,
    backoff: float = settings.BACKOFF,
    metrics: LoadMetrics | None = None,
    shard: Shard | None = None,
) -> Any:
    """Tasks, their runs and the runs' log entries, each entry once, however often it is loaded.

    Args:
        api_key: The organisation's key (``SOURCES__KOMOS__API_KEY``; ``KOMOS_API_KEY`` is accepted
            as a last resort).
        base_url: Scheme and host of the API, without ``/public/v1``.
        run_ids: Load the logs of these runs only; nothing but the logs endpoint is asked.
        task_ids: Load the runs of these tasks only.
        since: ISO 8601 date or time; logs of runs created before it are left for a later load.
        full_refresh: Read every visible run again, settled or not.
        settle_after: Seconds past a run's end after which its log counts as complete.
        max_concurrency: Requests under way at once.
        backoff: Seconds before a failed request is tried again; doubles with every further try.
        metrics: Filled with what the extraction did, for whoever wants to watch.
        shard: Load only what is in this bucket: of tasks by their id, of named runs by theirs.

    Raises:
        UsageError: An argument cannot be used; no request has been made.
        ConfigurationError: The key or the URL cannot be used; no request has been made.
    """
    choice = check_selection(run_ids, task_ids, since, shard)
    account = metrics if metrics is not None else LoadMetrics()
    client_options = check_client_options(api_key, base_url, max_concurrency, backoff)

    @dlt.resource(name="extraction", selected=False)
    async def extraction() -> AsyncIterator[Batch]:
        """One walk over the API that all six tables are fed from."""
        stored = dlt.current.source_state()
        known = state.State.read(stored)
        if full_refresh:
            known = known.without_cursors()
        async with KomosClient(**client_options, metrics=account) as client:
            if not stored:
                yield first_batch()
            if choice.run_ids is not None:
                targets = named_targets(choice.run_ids, known)
                account.runs_seen = account.logs_due = len(choice.run_ids)
            else:
                found = await discover(
                    client,
                    known,
                    account,
                    task_ids=choice.task_ids,
                    since=choice.since,
                    full_refresh=full_refresh,
                    shard=shard,
                )
                yield found_batch(found)
                targets = found.targets
                account.logs_due = len(found.targets)
            async for batch in read_batches(
                client,
                targets,
                account,
                settle_after=timedelta(seconds=settle_after),
                concurrency=max_concurrency,
            ):
                yield batch

    return table_resources(extraction)


def table_resources(extraction: DltResource) -> list[DltResource]:
    """The resources of all tables, fed by one that yields batches."""
    tables.silence_json_hint_warning()

    def table(hints: dict[str, Any]) -> DltResource:
        name = hints["name"]

        @dlt.transformer(data_from=extraction, **hints)
        def rows(batch: Batch) -> Iterator[Any]:
            if name == tables.TASK_RUN_LOGS.name:
                # The state moves where the entries are handed over, so it cannot run ahead of them.
                state.apply(batch.changes, dlt.current.source_state())
            if name in batch.tables:
                yield from split_by_bytes(batch.tables[name])

        return rows

    return [table(tables.TASK_HINTS), *(table(each.hints()) for each in tables.ARROW_TABLES)]
