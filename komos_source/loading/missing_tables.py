"""Finds tables that were dropped, renamed, emptied or changed by hand, and has loads fill them.

dlt creates no table while the destination holds the schema's hash, and the state says what has been
loaded. For such tables both are reset, so that the load creates them and reads again what the API
still shows. Single rows that were deleted come back with a full refresh.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import dlt
from dlt.common.schema.typing import LOADS_TABLE_NAME, PIPELINE_STATE_TABLE_NAME, VERSION_TABLE_NAME
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from komos_source import settings
from komos_source.tables import (
    ARROW_TABLES,
    KOMOS_LOADS,
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS,
    TASK_RUNS,
    TASKS,
)

_SAMPLE = 50
"""Tasks and runs that are looked for in the tables."""
_TABLES = (*(table.name for table in ARROW_TABLES), KOMOS_LOADS.name)
_TYPES_COMPARED_IN = frozenset({"duckdb", "ducklake", "postgres"})
_NUMBERS = frozenset({"bigint", "double", "decimal", "wei"})
_TABLES_OF_DLT = (LOADS_TABLE_NAME, PIPELINE_STATE_TABLE_NAME)

Columns = Mapping[str, Any]
"""The hints of dlt by column."""


def check_tables(
    pipeline: dlt.Pipeline, left_out: Container[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Resets what is known of tables that are missing, lack a column, or have lost all rows.

    Args:
        pipeline: Its state and schema are those of the destination.
        left_out: Runs that were pruned, whose rows are not missed.

    Returns:
        The names of these tables. By name of a table that cannot be loaded (a column has been given
        a type that cannot hold its values, or a view has its name), a sentence about it.
    """
    resources = states_of_resources(pipeline.state)
    expected = _expected_columns(pipeline)
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase):
            return [], {}
        stored = dict(client.get_storage_tables([*expected, VERSION_TABLE_NAME]))
        missing = _missing(stored, expected)
        if missing:
            _forget_stored_schema(client)
        present = expected.keys() - missing
        lost = [*missing, *_emptied(client, resources, present, left_out)]
        compared = pipeline.destination.destination_name in _TYPES_COMPARED_IN
        changed = _changed(stored, expected) | _views(client, expected) if compared else {}
    if lost and resources:
        with pipeline.managed_state() as state:
            for name in lost:
                states_of_resources(state).pop(name, None)
    return lost, changed


def states_of_resources(state: Any) -> dict[str, Any]:
    """The states of the source's resources in dlt's state of a pipeline, by name."""
    resources: dict[str, Any] = (
        state.get("sources", {}).get(settings.SOURCE_NAME, {}).get("resources", {})
    )
    return resources


def _expected_columns(pipeline: dlt.Pipeline) -> dict[str, Columns]:
    """Columns by table, as in the schema; none for tables of dlt, which only have to exist."""
    expected: dict[str, Columns] = {name: {} for name in _TABLES_OF_DLT}
    if pipeline.default_schema_name is not None:
        tables = pipeline.default_schema.tables
        expected |= {name: tables[name]["columns"] for name in _TABLES if name in tables}
    return expected


def _missing(stored: Mapping[str, Columns], expected: Mapping[str, Columns]) -> list[str]:
    """Tables that are not there, or not with all their columns; none in a new dataset."""
    if not any(stored.values()):
        return []
    return [
        name
        for name, columns in expected.items()
        if not stored.get(name) or not {*map(str.lower, columns)} <= {*map(str.lower, stored[name])}
    ]


def _changed(stored: Mapping[str, Columns], expected: Mapping[str, Columns]) -> dict[str, str]:
    """Tables of which a column has another type, with a sentence each."""
    found: dict[str, str] = {}
    for name, columns in expected.items():
        for column, hint in stored.get(name, {}).items():
            wanted, actual = columns.get(column, {}).get("data_type"), hint.get("data_type")
            if wanted and actual and not _holds(actual, wanted):
                found.setdefault(
                    name,
                    f"nothing is loaded into the table {name}, because its column {column} has "
                    f"been given the type {actual}: change it back to {wanted}, or rename the "
                    "table, which the next load then makes again",
                )
    return found


def _views(client: SqlJobClientBase, expected: Mapping[str, Columns]) -> dict[str, str]:
    """Tables in whose place there is a view, with a sentence each."""
    views = client.sql_client.execute_sql(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = %s AND table_type = 'VIEW'",
        client.sql_client.dataset_name,
    )
    return {
        name: f"nothing is loaded into the table {name}, because a view has its name: drop or "
        "rename the view, and the next load makes the table again"
        for (name,) in views or ()
        if name in expected
    }


def _holds(actual: str, wanted: str) -> bool:
    """Whether a column of one type of dlt takes values of another."""
    return actual in {wanted, "text"} or {actual, wanted} <= _NUMBERS


def _forget_stored_schema(client: SqlJobClientBase) -> None:
    table = client.sql_client.make_qualified_table_name(VERSION_TABLE_NAME)
    with contextlib.suppress(DatabaseUndefinedRelation):
        client.sql_client.execute_sql(
            f"DELETE FROM {table} WHERE schema_name = %s",  # noqa: S608 - a constant name
            settings.SOURCE_NAME,
        )


def _emptied(
    client: SqlJobClientBase,
    resources: Mapping[str, Any],
    names: Container[str],
    left_out: Container[str],
) -> Iterator[str]:
    """Tables that hold nothing of a sample of what has been loaded.

    The sample is from this pipeline's own state: another shard may have filled the table again.
    """
    task_ids = [*resources.get(TASKS.name, {}).get("digests", {})][:_SAMPLE]
    read = _runs_read(resources.get(TASK_RUN_LOGS.name, {}))
    run_ids = [run_id for run_id in read if run_id not in left_out][:_SAMPLE]
    for table, column, ids in (
        (TASKS, "id", task_ids),
        (TASK_RUNS, "id", run_ids),
        (TASK_RUN_LOG_LOADS, "run_id", run_ids),
    ):
        if ids and table.name in names and not _has_rows(client, table.name, column, ids):
            yield table.name
    with_entries = "entries > 0 AND run_id"
    if (
        run_ids
        and TASK_RUN_LOGS.name in names
        and _has_rows(client, TASK_RUN_LOG_LOADS.name, with_entries, run_ids)
        and not _has_rows(client, TASK_RUN_LOGS.name, "run_id", run_ids)
    ):
        yield TASK_RUN_LOGS.name


def _runs_read(stored: Mapping[str, Any]) -> list[str]:
    """Runs whose logs have been read: the newest of each task first."""
    tracked = stored.get("tracked", {})
    lists = [
        [run for run in window["runs"] if run not in tracked or "cursor" in tracked[run]]
        for window in stored.get("windows", {}).values()
    ]
    return [run for runs in zip_longest(*lists) for run in runs if run]


def _has_rows(client: SqlJobClientBase, name: str, condition: str, ids: Sequence[str]) -> bool:
    """Whether a table has a row with one of these ids; False if there is no such table."""
    table = client.sql_client.make_qualified_table_name(name)
    places = ", ".join(["%s"] * len(ids))
    query = f"SELECT COUNT(*) FROM {table} WHERE {condition} IN ({places})"  # noqa: S608 - constant names
    with contextlib.suppress(DatabaseUndefinedRelation):
        return bool((client.sql_client.execute_sql(query, *ids) or [[0]])[0][0])
    return False
