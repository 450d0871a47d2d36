"""The dlt source and its six resources, all fed by one extraction from the API.

Each resource keeps a state of its own, so that dropping or refreshing one of them, or selecting
only some, does not make the others miss rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import (
    AsyncIterator,
    Callable,
    Container,
    Iterator,
    MutableMapping,
    Sequence,
    Set,
)
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.sources import DltResource

from komos_source import settings, tables
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
from komos_source.extract import state
from komos_source.extract.discovery import Discovery, discover, named_runs
from komos_source.extract.log_reader import (
    Batch,
    LogResult,
    failure,
    log_batch,
    read_logs,
    split_by_bytes,
)
from komos_source.extract.options import check_selection
from komos_source.extract.redact_rows import redact_batch, redact_discovery
from komos_source.metrics import LoadMetrics
from komos_source.redaction.config import configured_redactor
from komos_source.redaction.redactor import Redactor
from komos_source.shard import Shard

register_fallback_provider()

_FROM_LOGS = (tables.TASK_RUN_LOG_LOADS, tables.TASK_RUN_LOGS_REJECTED)
"""Get their rows from reading logs, but do not decide which logs are read."""

_metrics: ContextVar[LoadMetrics | None] = ContextVar("metrics", default=None)
_left_out: ContextVar[Set[str]] = ContextVar("left_out", default=frozenset())


def build_source(metrics: LoadMetrics, left_out: Set[str] = frozenset(), **options: Any) -> Any:
    """The source with what is no argument of `komos_source`, which is public.

    Args:
        metrics: Counts of the load.
        left_out: Runs that were pruned, which are not requested; read when the source is extracted.
        options: Arguments of `komos_source`; those that are None come from dlt's configuration.

    Raises:
        UsageError: As for `komos_source`.
        ConfigurationError: Likewise, or there is no key.
    """
    tokens = _metrics.set(metrics), _left_out.set(left_out)
    try:
        with configuration_errors():
            given = {name: each for name, each in options.items() if each is not None}
            return komos_source(**given)
    finally:
        _metrics.reset(tokens[0])
        _left_out.reset(tokens[1])


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
    shard: Shard | None = None,
) -> Any:
    """Tasks, their runs and the runs' log entries, each entry once, however often it is loaded.

    Args:
        api_key: The organisation's key (``SOURCES__KOMOS__API_KEY``; ``KOMOS_API_KEY`` is accepted
            as a last resort).
        base_url: Scheme and host of the API, without ``/public/v1``.
        run_ids: Load the logs of these runs only; no other endpoint is called.
        task_ids: Load the runs of these tasks only; if empty, only runs that are tracked already.
        since: ISO 8601 date or time; logs of runs created before it are left for a later load.
        full_refresh: Read every visible run again, settled or lost.
        settle_after: Seconds past a run's end after which its log counts as complete.
        give_up_after: Seconds for which the API must refuse a run for good, in at least three
            loads, before the run counts as lost.
        max_concurrency: Requests under way at once.
        backoff: Seconds before a failed request is tried again; doubles with every further try.
        max_body: Bytes of one answer, unpacked; a larger one is not read.
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
    settle_delay, give_up_delay = timedelta(seconds=settle_after), timedelta(seconds=give_up_after)
    metrics, left_out = _metrics.get() or LoadMetrics(), _left_out.get()

    @dlt.resource(name="extraction", selected=False)
    async def extraction() -> AsyncIterator[Batch]:
        """One pass over the API that all six tables are fed from."""
        selected = dlt.current.source().selected_resources.keys()
        stored = _stored_state(selected, full_refresh=full_refresh)
        known = stored.without_runs(left_out)
        async with KomosClient(
            api_key,
            base_url,
            max_concurrency=max_concurrency,
            backoff=backoff,
            max_body=max_body,
            metrics=metrics,
            redact=redactor.text,
        ) as client:
            if choice.run_ids is not None:
                found = named_runs(choice.run_ids, known)
            else:
                found = await discover(client, known, choice, shard)
            found = redact_discovery(found, redactor)
            not_requested = found.leave_out(left_out)
            found.changes.settled |= left_out & (stored.tracked.keys() | stored.lost.keys())
            if choice.run_ids is not None:
                metrics.notes += [
                    f"run {run_id} was pruned and is not loaded again" for run_id in not_requested
                ]
            _count_found(found, metrics)
            if found.targets:
                # Imports pandas. Decoding a log would import it on another thread, while dlt asks
                # for `pandas.DataFrame`, which is not there before the import has ended.
                pa.array([])
            yield Batch(changes=found.changes, found=found)
            if selected.isdisjoint(each.name for each in (tables.TASK_RUN_LOGS, *_FROM_LOGS)):
                return
            now = datetime.now(UTC)
            results = [failure(target, error, give_up_delay, now) for target, error in found.failed]
            for result in results:
                _count(result, metrics, redactor)
            size = 0
            async with contextlib.aclosing(
                read_logs(client, found.targets, settle_delay, give_up_delay, max_concurrency)
            ) as arriving:
                async for result in arriving:
                    _count(result, metrics, redactor)
                    results.append(result)
                    size += result.rows.nbytes + result.rejected.nbytes
                    if size >= settings.BYTES_PER_BATCH or len(results) >= settings.LOGS_PER_BATCH:
                        yield redact_batch(log_batch(results), redactor)
                        results, size = [], 0
            if results:
                yield redact_batch(log_batch(results), redactor)

    return table_resources(extraction)


def table_resources(extraction: DltResource) -> list[DltResource]:
    """The resources of all tables, fed by one that yields batches.

    State moves where the rows are handed over, so it cannot run ahead of them.
    """

    @dlt.transformer(data_from=extraction, **tables.TASKS.hints())
    def tasks(batch: Batch) -> Iterator[Any]:
        changed = state.changed_tasks(batch.found.tasks, _state("tasks"))
        state.forget(batch.changes.forgotten, _state("tasks"))
        yield from _rows(tables.TASKS, [task.to_row() for task in changed])

    @dlt.transformer(data_from=extraction, **tables.TASK_RUNS.hints())
    def task_runs(batch: Batch) -> Iterator[Any]:
        changed = state.changed_runs(batch.found.listed, _state("task_runs"))
        state.forget(batch.changes.forgotten, _state("task_runs"))
        rows = [run.to_row() for run in (*changed, *batch.found.looked_up)]
        yield from _rows(tables.TASK_RUNS, rows)

    @dlt.transformer(data_from=extraction, **tables.TASK_RUN_LOGS.hints())
    def task_run_logs(batch: Batch) -> Iterator[Any]:
        yield from _rows(tables.TASK_RUN_LOGS, batch.tables.get("task_run_logs"))
        state.apply(batch.changes, _state("task_run_logs"))

    @dlt.transformer(data_from=extraction, **tables.TASK_RUN_WINDOW_GAPS.hints())
    def task_run_window_gaps(batch: Batch) -> Iterator[Any]:
        yield from _rows(tables.TASK_RUN_WINDOW_GAPS, batch.found.gaps)

    def beside_logs(table: tables.Table) -> DltResource:
        @dlt.transformer(data_from=extraction, **table.hints())
        def rows(batch: Batch) -> Iterator[Any]:
            yield from _rows(table, batch.tables.get(table.name))
            _tasks_with_rows(table.name).update(dict.fromkeys(batch.changes.windows, True))
            state.forget(batch.changes.forgotten, _state(table.name))

        return rows

    return [tasks, task_runs, task_run_logs, *map(beside_logs, _FROM_LOGS), task_run_window_gaps]


def rows_resource(
    table: tables.Table,
    rows: Sequence[dict[str, Any]] = (),
    change: Callable[[MutableMapping[str, Any]], None] | None = None,
) -> DltResource:
    """Rows of a table that were not read from the API.

    Args:
        table: The table; it is created even without rows.
        rows: The rows.
        change: Changes the state of ``task_run_logs`` that is stored with the rows.
    """

    @dlt.resource(**table.hints())
    def resource() -> Iterator[pa.Table]:
        if change:
            change(_state("task_run_logs"))
        yield table.from_rows([*rows])

    return resource


def source_of(*resources: DltResource) -> Any:
    """A source of resources with the name of `komos_source`, and so with its schema and state."""

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def source() -> Any:
        return resources

    return source()


def _rows(table: tables.Table, rows: pa.Table | list[dict[str, Any]] | None) -> Iterator[pa.Table]:
    """The rows, if there are any; once an empty table, so that the destination's table exists."""
    stored = _state(table.name)
    if rows or not stored.get("created"):
        # Arrow is left alone where there is nothing: its first use imports pandas (0.2 s).
        found = rows if isinstance(rows, pa.Table) else table.from_rows(rows or [])
        # Postgres as dlt loads it needs each declared column in the files. dlt fills this one if it
        # is configured to.
        found = found.append_column(C_DLT_LOAD_ID, pa.nulls(len(found), pa.string()))
        yield from split_by_bytes(found)
        del rows, found
        # Arrow keeps the memory of what dlt has written; others need it next.
        pa.default_memory_pool().release_unused()
    stored["created"] = True


def _state(resource: str) -> MutableMapping[str, Any]:
    state_of: MutableMapping[str, Any] = dlt.current.resource_state(resource)
    return state_of


def _tasks_with_rows(resource: str) -> MutableMapping[str, Any]:
    """The tasks whose runs this resource has had rows of."""
    filled: MutableMapping[str, Any] = _state(resource).setdefault("filled", {})
    return filled


def _stored_state(selected: Container[str], *, full_refresh: bool) -> state.State:
    """The state to start from.

    Settled runs are read again in tasks of which another selected resource has not had all rows: it
    was not selected before, or has been dropped or refreshed.
    """
    known = state.State.read(_state("task_run_logs"))
    stale: set[str] = set()
    for table in _FROM_LOGS:
        if table.name in selected:
            stale |= known.windows.keys() - _tasks_with_rows(table.name).keys()
        else:
            _tasks_with_rows(table.name).clear()
    return known.without_logs(None if full_refresh else stale)


def _count_found(found: Discovery, metrics: LoadMetrics) -> None:
    metrics.runs_seen = found.runs_seen
    metrics.logs_due = len(found.targets) + len(found.failed)
    metrics.window_gaps += len(found.gaps)
    metrics.problems += found.problems


def _count(result: LogResult, metrics: LoadMetrics, redactor: Redactor) -> None:
    metrics.rejected += len(result.rejected)
    if len(result.rows):
        metrics.emitted[result.run_id] += len(result.rows)
    reason = redactor.text(str(result.error)) if result.error else None
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
