"""Compares the entries that a load emitted with the rows that the destination holds."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dlt
import pyarrow as pa
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.destinations.write_disposition import adapt_to_destination, table_format
from komos_source.extract.resources import rows_resource, source_of
from komos_source.extract.state import reset_cursors
from komos_source.tables import TASK_RUN_LOG_LOADS, TASK_RUN_LOGS


def find_mismatches(emitted: Mapping[str, int], loaded: Mapping[str, int]) -> dict[str, str]:
    """By run id, a sentence for each run that has not as many loaded rows as emitted entries."""
    return {
        run_id: f"{count} entries were emitted, {loaded.get(run_id, 0)} were loaded"
        for run_id, count in emitted.items()
        if loaded.get(run_id, 0) != count
    }


def reset_runs(pipeline: dlt.Pipeline, missing: Mapping[str, str]) -> None:
    """Makes the next load read the logs of these runs whole, and records why."""
    rows = [
        {
            "run_id": run_id,
            "checked_at": datetime.now(UTC),
            "settled": False,
            "outcome": "failed",
            "detail": detail,
        }
        for run_id, detail in missing.items()
    ]
    change = functools.partial(reset_cursors, missing)
    source = source_of(rows_resource(TASK_RUN_LOG_LOADS, rows, change))
    pipeline.extract(adapt_to_destination(source, pipeline))
    pipeline.normalize()
    pipeline.load()


def count_loaded_rows(pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> Mapping[str, int]:
    """Rows in ``task_run_logs`` that these dlt loads wrote, by run."""
    by_format = {"delta": _count_in_delta, "iceberg": _count_in_iceberg}
    count = by_format.get(table_format(pipeline), _count_in_sql)
    counts: Counter[str] = Counter()
    for load_id in load_ids:
        with contextlib.suppress(DatabaseUndefinedRelation, DestinationUndefinedEntity):
            counts.update(count(pipeline, load_id))
    return counts


def _count_in_sql(pipeline: dlt.Pipeline, load_id: str) -> Mapping[str, int]:
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(TASK_RUN_LOGS.name)
        rows = client.execute_sql(
            f"SELECT run_id, COUNT(*) FROM {table} WHERE _dlt_load_id = %s GROUP BY run_id",  # noqa: S608 - a constant name
            load_id,
        )
        return {row[0]: row[1] for row in rows or ()}


# DuckDB reads Delta and Iceberg by extensions that it would have to download. The libraries that
# write the tables are there anyway.


def _count_in_delta(pipeline: dlt.Pipeline, load_id: str) -> Mapping[str, int]:
    from deltalake import QueryBuilder

    with pipeline.destination_client() as client:
        table = client.load_open_table("delta", TASK_RUN_LOGS.name)  # type: ignore[attr-defined] # the filesystem's has it
    query = QueryBuilder().register("logs", table)
    rows = pa.table(
        query.execute(
            f"SELECT run_id, COUNT(*) FROM logs WHERE _dlt_load_id = '{load_id}' GROUP BY run_id"  # noqa: S608 - dlt's id, digits
        )
    )
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _count_in_iceberg(pipeline: dlt.Pipeline, load_id: str) -> Mapping[str, int]:
    with pipeline.destination_client() as client:
        table = client.load_open_table("iceberg", TASK_RUN_LOGS.name)  # type: ignore[attr-defined] # only clients of files have it
    rows = table.scan(
        row_filter=f"_dlt_load_id = '{load_id}'", selected_fields=("run_id",)
    ).to_arrow()
    return Counter(rows["run_id"].to_pylist())
