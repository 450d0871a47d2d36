"""Tables that `komos prune` writes: runs that were deleted, and the daily rates of their nodes.

No schema of dlt has them, so that no refresh and no drop of dlt removes them: a run that was pruned
must not come back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dlt
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.tables import NODE_HEALTH_HISTORY, PRUNED_RUNS

_IDS_AT_ONCE = 500
_CHANGED_IN_PLACE = frozenset({"duckdb", "postgres"})

_TYPES = {
    "text": "text",
    "bigint": "bigint",
    "bool": "boolean",
    "timestamp": "timestamptz",
    "date": "date",
}
"""As DuckDB and Postgres name them alike."""


def can_change_rows(pipeline: dlt.Pipeline) -> bool:
    """Whether the destination is one in which `komos prune` and `komos redact` change rows."""
    return pipeline.destination.destination_name in _CHANGED_IN_PLACE


def create_tables(client: Any) -> None:
    """Creates the tables where they are missing.

    Args:
        client: dlt's SQL client, within a transaction.
    """
    for table in (PRUNED_RUNS, NODE_HEALTH_HISTORY):
        columns = ", ".join(
            f"{each.name} {_TYPES[each.data_type]}{' NOT NULL' if each.required else ''}"
            for each in table.columns
        )
        name = client.make_qualified_table_name(table.name)
        client.execute_sql(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")


def runs_left_out(pipeline: dlt.Pipeline, run_ids: Collection[str]) -> set[str]:
    """Runs that were pruned: those that the API may still list, and those among the ids given.

    Args:
        pipeline: Its destination is asked.
        run_ids: Runs that a load would request although no list shows them.
    """
    if not can_change_rows(pipeline):
        return set()
    ids = sorted(run_ids)
    found: set[str] = set()
    with pipeline.sql_client() as client:
        select = f"SELECT run_id FROM {client.make_qualified_table_name(PRUNED_RUNS.name)} WHERE "  # noqa: S608 - a constant name
        try:
            found.update(row[0] for row in client.execute_sql(select + "may_be_listed") or ())
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                places = ", ".join(["%s"] * len(some))
                rows = client.execute_sql(f"{select} run_id IN ({places})", *some)
                found.update(row[0] for row in rows or ())
        except DatabaseUndefinedRelation:
            return set()  # nothing was ever pruned
    return found


def pruned_ids(pipeline: dlt.Pipeline, rows: pa.Table) -> set[tuple[str, str]]:
    """Run and id of those of some rows whose run was pruned."""
    keys = list(zip(rows["run_id"].to_pylist(), rows["id"].to_pylist(), strict=True))
    pruned = runs_left_out(pipeline, {run_id for run_id, _ in keys if run_id})
    return {key for key in keys if key[0] in pruned}
