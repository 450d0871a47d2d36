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

PRUNED_RUNS = "pruned_runs"
NODE_HEALTH_HISTORY = "node_health_history"

_IDS_AT_ONCE = 500
_DESTINATIONS = frozenset({"duckdb", "postgres"})

# Types that DuckDB and Postgres name alike.
_COLUMNS = {
    # `may_be_listed`: it was among the 50 newest runs of its task, so that the API may list it.
    PRUNED_RUNS: (
        "run_id text NOT NULL, task_id text, created_at timestamptz, ended_at timestamptz, "
        "may_be_listed boolean NOT NULL, pruned_at timestamptz NOT NULL"
    ),
    # A row without a node counts the runs of the task on that day. A day may have several rows.
    NODE_HEALTH_HISTORY: (
        "task_id text, day date, node_id text, runs bigint NOT NULL, "
        "runs_with_warning bigint NOT NULL, runs_with_error bigint NOT NULL, "
        "entries bigint NOT NULL, warnings bigint NOT NULL, errors bigint NOT NULL, "
        "first_seen timestamptz, last_seen timestamptz, "
        "first_started_at timestamptz, last_started_at timestamptz, "
        "all_read bigint NOT NULL, pruned_at timestamptz NOT NULL"
    ),
}


def can_prune(pipeline: dlt.Pipeline) -> bool:
    """Whether `komos prune` supports the destination."""
    return pipeline.destination.destination_name in _DESTINATIONS


def create_tables(client: Any) -> None:
    """Creates the tables where they are missing.

    Args:
        client: dlt's SQL client, within a transaction.
    """
    for name, columns in _COLUMNS.items():
        table = client.make_qualified_table_name(name)
        client.execute_sql(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")


def runs_left_out(pipeline: dlt.Pipeline, run_ids: Collection[str]) -> set[str]:
    """Runs that were pruned: those that the API may still list, and those among the ids given.

    Args:
        pipeline: Its destination is asked.
        run_ids: Runs that a load would request although no list shows them.
    """
    if not can_prune(pipeline):
        return set()
    ids = sorted(run_ids)
    found: set[str] = set()
    with pipeline.sql_client() as client:
        select = f"SELECT run_id FROM {client.make_qualified_table_name(PRUNED_RUNS)} WHERE "  # noqa: S608 - a constant name
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
