"""The dlt source: arguments, settings, and its six resources, all fed by one extraction."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence, Set
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import dlt
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.config import (
    NO_API_KEY,
    check_api_key,
    check_base_url,
    check_number,
    register_fallback_provider,
    secret_in_config_toml,
)
from komos_source.exceptions import ConfigurationError
from komos_source.extract.extraction import Extraction
from komos_source.extract.log_reader import Batch
from komos_source.extract.options import check_selection
from komos_source.extract.resources import FROM_LOGS, stored_state, table_resources
from komos_source.metrics import LoadMetrics
from komos_source.redaction.config import configured_redactor
from komos_source.shard import Shard
from komos_source.tables import TASK_RUN_LOGS

register_fallback_provider()

_internals: ContextVar[tuple[LoadMetrics, Set[str]] | None] = ContextVar("internals", default=None)
"""What `build_source` gives to `komos_source`, whose arguments are public."""


def build_source(metrics: LoadMetrics, left_out: Set[str] = frozenset(), **options: Any) -> Any:
    """Builds the source with objects that the public `komos_source` does not take.

    Args:
        metrics: Counts of the load.
        left_out: Runs that were pruned, which are not requested; read when the source is extracted.
        options: Arguments of `komos_source`; those that are None come from dlt's configuration.

    Raises:
        UsageError: As for `komos_source`.
        ConfigurationError: Likewise, or there is no key.
    """
    token = _internals.set((metrics, left_out))
    try:
        with configuration_errors():
            given = {name: each for name, each in options.items() if each is not None}
            return komos_source(**given)
    finally:
        _internals.reset(token)


@contextlib.contextmanager
def configuration_errors() -> Iterator[None]:
    """Turns errors of dlt about settings of the source into a `ConfigurationError`."""
    try:
        yield
    except ConfigFieldMissingException as error:
        raise ConfigurationError(NO_API_KEY) from error
    except ValueNotSecretException as error:
        raise ConfigurationError(secret_in_config_toml(error.key)) from error
    except ConfigValueCannotBeCoercedException as error:
        variable = f"SOURCES__KOMOS__{error.field_name.upper()}"
        raise ConfigurationError(f"{variable} is not a number: {error.field_value!r}") from error


@dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
def komos_source(
    api_key: str = dlt.secrets.value,
    base_url: str = settings.BASE_URL,
    run_ids: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    since: str | None = None,
    full_refresh: bool = False,
    settle_after: float = settings.SETTLE_AFTER,
    give_up_after: float = settings.GIVE_UP_AFTER,
    max_concurrency: int = settings.MAX_CONCURRENCY,
    backoff: float = settings.BACKOFF,
    max_body: int = settings.MAX_BODY,
    max_bytes: int | None = None,
    shard: Shard | None = None,
) -> Any:
    """Tasks, their runs and the runs' log entries, each entry once, however often it is loaded.

    Args:
        api_key: The organisation's key; ``KOMOS_API_KEY`` is used if none is configured.
        base_url: Scheme and host of the API, without ``/public/v1``; https, or http on the loopback
            interface.
        run_ids: Load the logs of these runs only; no other endpoint is called.
        task_ids: Load the runs of these tasks only; if empty, only runs that are tracked already.
        since: ISO 8601 date or time; logs of runs created before it are left for a later load.
        full_refresh: Read every visible run again, settled or lost.
        settle_after: Seconds past a run's end after which its log counts as complete, see
            docs/exactly-once.md#settled-runs.
        give_up_after: Seconds for which the API must refuse a run for good, in at least three
            loads, before the run counts as lost, see docs/exactly-once.md#lost-runs.
        max_concurrency: Requests under way at once, from 1 to 1,000.
        backoff: Seconds before a failed request is tried again; doubles with each of at most five
            tries.
        max_body: Bytes of one answer, unpacked. A run with a larger log is reported as failed.
        max_bytes: Bytes of new rows after which no further log is read; the next run of the
            pipeline goes on, see docs/performance/memory.md.
        shard: Load only what is in this bucket: of tasks by their id, of named runs by theirs.

    Raises:
        UsageError: An argument cannot be used; no request has been made.
        ConfigurationError: The key or the URL cannot be used; no request has been made.
    """
    choice, redactor = check_selection(run_ids, task_ids, since, shard), configured_redactor()
    api_key, base_url = check_api_key(api_key), check_base_url(base_url)
    check_number("settle_after", settle_after, 0)
    check_number("give_up_after", give_up_after, 0)
    check_number("max_concurrency", max_concurrency, 1, 1_000)
    check_number("backoff", backoff, 0)
    check_number("max_body", max_body, 1, 2**50)
    if max_bytes is not None:
        check_number("max_bytes", max_bytes, 1, 2**50)
    metrics, left_out = _internals.get() or (LoadMetrics(), frozenset())
    reading = Extraction(
        choice,
        shard,
        left_out,
        timedelta(seconds=settle_after),
        timedelta(seconds=give_up_after),
        max_concurrency,
        max_bytes,
        redactor,
        metrics,
    )

    @dlt.resource(name="extraction", selected=False)
    async def extraction() -> AsyncIterator[Batch]:
        """One pass over the API that all six tables are fed from."""
        selected = dlt.current.source().selected_resources.keys()
        stored = stored_state(selected, full_refresh=full_refresh)
        with_logs = not selected.isdisjoint(table.name for table in (TASK_RUN_LOGS, *FROM_LOGS))
        async with (
            KomosClient(
                api_key,
                base_url,
                max_concurrency=max_concurrency,
                backoff=backoff,
                max_body=max_body,
                metrics=metrics,
                redact=redactor.text,
            ) as client,
            contextlib.aclosing(reading.read(client, stored, with_logs=with_logs)) as batches,
        ):
            async for batch in batches:
                yield batch

    return table_resources(extraction)
