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


def reset_missing_tables(pipeline: dlt.Pipeline, left_out: Container[str] = ()) -> list[str]:
    """Resets what is known of tables that are missing, lack a column, or have lost all rows.

    Args:
        pipeline: Its state and schema are those of the destination.
        left_out: Runs that were pruned, whose rows are not missed.

    Returns:
        The names of these tables.
    """
    resources = states_of_resources(pipeline.state)
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase):
            return []
        expected = _expected_columns(pipeline)
        missing = _missing(client, expected)
        if missing:
            _forget_stored_schema(client)
        present = expected.keys() - missing
        lost = [*missing, *_emptied(client, resources, present, left_out)]
    if lost and resources:
        with pipeline.managed_state() as state:
            for name in lost:
                states_of_resources(state).pop(name, None)
    return lost


def changed_columns(pipeline: dlt.Pipeline) -> dict[str, str]:
    """Finds tables of which a column has been given a type that cannot hold its values.

    Only in databases for which the comparison of types is tested.

    Returns:
        By name of the table, a sentence for the first such column.
    """
    if pipeline.destination.destination_name not in _TYPES_COMPARED_IN:
        return {}
    found: dict[str, str] = {}
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase) or pipeline.default_schema_name is None:
            return {}
        declared = pipeline.default_schema.tables
        for name, columns in client.get_storage_tables([n for n in _TABLES if n in declared]):
            for column, stored in columns.items():
                wanted = declared[name]["columns"].get(column, {}).get("data_type")
                actual = stored.get("data_type")
                if wanted and actual and not _holds(actual, wanted):
                    found.setdefault(
                        name,
                        f"nothing is loaded into the table {name}, because its column {column} has "
                        f"been given the type {actual}: change it back to {wanted}, or rename the "
                        "table, which the next load then makes again",
                    )
    return found


def _holds(actual: str, wanted: str) -> bool:
    """Whether a column of one type of dlt takes values of another."""
    return actual in {wanted, "text"} or {actual, wanted} <= _NUMBERS


def states_of_resources(state: Any) -> dict[str, Any]:
    """The states of the source's resources in dlt's state of a pipeline, by name."""
    resources: dict[str, Any] = (
        state.get("sources", {}).get(settings.SOURCE_NAME, {}).get("resources", {})
    )
    return resources


def _expected_columns(pipeline: dlt.Pipeline) -> dict[str, set[str]]:
    """Columns by table, as in the schema; none for tables of dlt, which only have to exist."""
    expected: dict[str, set[str]] = {name: set() for name in _TABLES_OF_DLT}
    if pipeline.default_schema_name is not None:
        tables = pipeline.default_schema.tables
        for name in _TABLES:
            if name in tables:
                expected[name] = set(tables[name]["columns"])
    return expected


def _missing(client: SqlJobClientBase, expected: Mapping[str, set[str]]) -> list[str]:
    """Tables that are not there, or not with all their columns; none in a new dataset."""
    stored = {
        name: {column.lower() for column in columns}
        for name, columns in client.get_storage_tables([*expected, VERSION_TABLE_NAME])
    }
    if not any(stored.values()):
        return []
    return [
        name
        for name, columns in expected.items()
        if not stored.get(name) or not {column.lower() for column in columns} <= stored[name]
    ]


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
