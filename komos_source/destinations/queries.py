"""Queries that a load runs in the destination."""

from __future__ import annotations

from collections.abc import Set

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.schema.typing import PIPELINE_STATE_TABLE_NAME
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.tables import TASK_RUN_WINDOW_GAPS, TASK_RUNS, Table

_RUNS_AT_ONCE = 500
_IDS_AT_ONCE = 10_000
_STATES_KEPT = 10


def known_ids(pipeline: dlt.Pipeline, table: Table, rows: pa.Table) -> Set[tuple[str, str]]:
    """Run and id of those of some rows that a table holds already.

    The ids of a run are read in pieces, so that memory is bounded by the rows given.
    """
    wanted = set(zip(rows["run_id"].to_pylist(), rows["id"].to_pylist(), strict=True))
    run_ids = pc.unique(rows["run_id"]).to_pylist()
    known: set[tuple[str, str]] = set()
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name(table.name)
        for start in range(0, len(run_ids), _RUNS_AT_ONCE):
            some = run_ids[start : start + _RUNS_AT_ONCE]
            placeholders = ", ".join(["%s"] * len(some))
            query = f"SELECT run_id, id FROM {name} WHERE run_id IN ({placeholders})"  # noqa: S608 - table names of this package
            try:
                with client.execute_query(query, *some) as cursor:
                    while found := cursor.fetchmany(_IDS_AT_ONCE):
                        known.update(wanted.intersection((run_id, id_) for run_id, id_ in found))
            except DatabaseUndefinedRelation:
                break  # nothing has been loaded yet
    return known


def count_recovered_runs(pipeline: dlt.Pipeline) -> None:
    """Updates ``runs_recovered`` of each window gap.

    None of the runs created within a gap was known when it was found, so those in the table now
    came by a webhook. The API does not show how many runs a gap holds. Runs that were pruned since
    stay counted.
    """
    with pipeline.sql_client() as client:
        gaps = client.make_qualified_table_name(TASK_RUN_WINDOW_GAPS.name)
        runs = client.make_qualified_table_name(TASK_RUNS.name)
        # Databases differ in how the updated table can be named: `task_id` is the gap's
        # because the inner table has no column of that name.
        recovered = (
            "(SELECT COUNT(*) FROM (SELECT task_id AS task_of_run, created_at "  # noqa: S608 - constant names
            f"FROM {runs}) AS runs WHERE task_of_run = task_id "
            "AND created_at > newest_known_at AND created_at < oldest_visible_at)"
        )
        client.execute_sql(
            f"UPDATE {gaps} SET runs_recovered = {recovered} WHERE runs_recovered < {recovered}"  # noqa: S608 - constant names
        )


def delete_old_states(pipeline: dlt.Pipeline) -> None:
    """Deletes all but the last few states of a pipeline, at every tenth.

    dlt reads the newest only and keeps them all: 2.3 kB a task each time something is new.
    """
    version = pipeline.state["_state_version"]
    if version % _STATES_KEPT:
        return
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(PIPELINE_STATE_TABLE_NAME)
        client.execute_sql(
            f"DELETE FROM {table} WHERE pipeline_name = %s AND version <= %s",  # noqa: S608 - a name of dlt's
            pipeline.pipeline_name,
            version - _STATES_KEPT,
        )
