"""The dlt resources of the tables, and what each keeps in its state.

Each resource keeps a state of its own, so that dropping or refreshing one of them, or selecting
only some, does not make the others miss rows.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, MutableMapping, Sequence
from dataclasses import asdict
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.sources import DltResource

from komos_source import settings, tables
from komos_source.extract.log_reader import Batch
from komos_source.extract.state import State, apply, changed_runs, changed_tasks, forget

FROM_LOGS = (tables.TASK_RUN_LOG_LOADS, tables.TASK_RUN_LOGS_REJECTED)
"""Get their rows from reading logs, but do not decide which logs are read."""


def table_resources(extraction: DltResource) -> list[DltResource]:
    """The resources of all tables, fed by one that yields batches.

    State moves where the rows are handed over, so it cannot run ahead of them.
    """

    @dlt.transformer(data_from=extraction, **tables.TASKS.hints())
    def tasks(batch: Batch) -> Iterator[Any]:
        changed = changed_tasks(batch.found.tasks, _state("tasks"))
        forget(batch.changes.forgotten, _state("tasks"))
        yield from _rows(tables.TASKS, [asdict(task) for task in changed])

    @dlt.transformer(data_from=extraction, **tables.TASK_RUNS.hints())
    def task_runs(batch: Batch) -> Iterator[Any]:
        changed = changed_runs(batch.found.listed, _state("task_runs"))
        forget(batch.changes.forgotten, _state("task_runs"))
        rows = [asdict(run) for run in (*changed, *batch.found.looked_up)]
        yield from _rows(tables.TASK_RUNS, rows)

    @dlt.transformer(data_from=extraction, **tables.TASK_RUN_LOGS.hints())
    def task_run_logs(batch: Batch) -> Iterator[Any]:
        yield from _rows(tables.TASK_RUN_LOGS, batch.tables.get("task_run_logs"))
        apply(batch.changes, _state("task_run_logs"))

    @dlt.transformer(data_from=extraction, **tables.TASK_RUN_WINDOW_GAPS.hints())
    def task_run_window_gaps(batch: Batch) -> Iterator[Any]:
        yield from _rows(tables.TASK_RUN_WINDOW_GAPS, batch.found.gaps)

    def beside_logs(table: tables.Table) -> DltResource:
        @dlt.transformer(data_from=extraction, **table.hints())
        def rows(batch: Batch) -> Iterator[Any]:
            yield from _rows(table, batch.tables.get(table.name))
            _tasks_with_rows(table.name).update(dict.fromkeys(batch.changes.windows, True))
            forget(batch.changes.forgotten, _state(table.name))

        return rows

    return [tasks, task_runs, task_run_logs, *map(beside_logs, FROM_LOGS), task_run_window_gaps]


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
        # Arrow keeps the memory of what was decoded and of what dlt has written; others need it.
        pa.default_memory_pool().release_unused()
        yield from split_by_bytes(found)
        del rows, found
        pa.default_memory_pool().release_unused()
    stored["created"] = True


def _state(resource: str) -> MutableMapping[str, Any]:
    state_of: MutableMapping[str, Any] = dlt.current.resource_state(resource)
    return state_of


def _tasks_with_rows(resource: str) -> MutableMapping[str, Any]:
    """The tasks whose runs this resource has had rows of."""
    filled: MutableMapping[str, Any] = _state(resource).setdefault("filled", {})
    return filled


def stored_state(selected: Container[str], *, full_refresh: bool) -> State:
    """The state to start from.

    Settled runs are read again in tasks of which another selected resource has not had all rows: it
    was not selected before, or has been dropped or refreshed.
    """
    known = State.read(_state("task_run_logs"))
    stale: set[str] = set()
    for table in FROM_LOGS:
        if table.name in selected:
            stale |= known.windows.keys() - _tasks_with_rows(table.name).keys()
        else:
            _tasks_with_rows(table.name).clear()
    return known.without_logs(None if full_refresh else stale)


def split_by_bytes(rows: pa.Table, limit: int = settings.BYTES_PER_BATCH) -> Iterator[pa.Table]:
    """Splits a table into tables of at most `limit` bytes; a larger row is a table of its own."""
    if len(rows) <= 1 or rows.nbytes <= limit:
        yield rows
        return
    half = len(rows) // 2
    yield from split_by_bytes(rows.slice(0, half), limit)
    yield from split_by_bytes(rows.slice(half), limit)
