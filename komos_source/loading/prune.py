"""``komos prune``: deletes old runs with all their rows, and keeps the daily rates of their nodes.

A batch of runs is one transaction: it notes the runs in ``pruned_runs``, adds their rates to
``node_health_history``, and deletes their rows. So a process that is killed leaves each run whole
or pruned, and each rate counted once; the next call continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Unpack

import dlt

from komos_source.analytics.views import create_views
from komos_source.config import time_zone
from komos_source.destinations.duckdb import compact
from komos_source.destinations.pruned_runs import create_tables
from komos_source.exceptions import UsageError
from komos_source.extract.options import check_selection
from komos_source.load_result import LoadResult
from komos_source.loading import history
from komos_source.loading.maintenance import PipelineOptions, pipeline_without_loads
from komos_source.loading.prune_statements import PruneChoice, count_runs, prune_batch
from komos_source.metrics import LoadMetrics


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What `prune` deleted, or would delete.

    Attributes:
        runs: Runs.
        entries: Their rows in ``task_run_logs``.
        ended_before: The runs had ended before this time.
        dry_run: Whether nothing was deleted.
        seconds: How long it took.
        note: What has become of the space of the rows; None if nothing was deleted.
    """

    runs: int
    entries: int
    ended_before: datetime
    dry_run: bool
    seconds: float
    note: str | None = None

    def sentence(self) -> str:
        """The result in one sentence."""
        verb = "would prune" if self.dry_run else "pruned"
        before = self.ended_before.isoformat(timespec="seconds")
        return f"{verb} {self.runs:,} runs that ended before {before}, and {self.entries:,} entries"


def prune(
    older_than: timedelta,
    *,
    keep_failed: bool = False,
    keep_errors: bool = False,
    task_ids: Sequence[str] | None = None,
    dry_run: bool = False,
    **options: Unpack[PipelineOptions],
) -> PruneResult:
    """Deletes runs that ended long ago, for good: no later load brings them back.

    Args:
        older_than: How long ago a run must have ended; at least a day.
        keep_failed: Keep runs that failed.
        keep_errors: Keep runs that have an entry of the level ``error``.
        task_ids: Prune runs of these tasks only.
        dry_run: Count only; nothing is changed.
        options: Where the data is: the arguments of `komos_source.load` of these names, that is
            destination (duckdb or postgres), dataset_name, pipeline_name, pipelines_dir and
            lock_timeout.

    Raises:
        UsageError: An argument cannot be used, or the destination is not supported.
        NotLoadedError: Nothing has been loaded.
        KomosError: The destination cannot be used. Batches that are done stay done.
    """
    if older_than < timedelta(days=1):
        raise UsageError(
            "older-than must be at least 1d: entries of a run may still arrive on its last day "
            "('m' stands for minutes)"
        )
    choice = PruneChoice(
        ended_before=datetime.now(UTC) - older_than,
        task_ids=check_selection(None, task_ids, None).task_ids,
        keep_failed=keep_failed,
        keep_errors=keep_errors,
    )
    metrics = LoadMetrics()
    unsupported = (
        "komos prune deletes from DuckDB and Postgres, not from {destination}: delete the rows of "
        "old runs there with its own SQL, and exclude them from a full refresh"
    )
    with pipeline_without_loads(unsupported, **options) as (pipeline, locked_database):
        zone = time_zone()
        with locked_database():
            if dry_run:
                runs, entries = _count(pipeline, choice)
            else:
                runs, entries = _delete(pipeline, choice, zone)
            note = None if dry_run else _free_space(pipeline)
            result = PruneResult(runs, entries, choice.ended_before, dry_run, metrics.seconds, note)
            if not dry_run:
                load = LoadResult(seconds=result.seconds, notes=(result.sentence(),))
                history.write(pipeline, metrics, load, path="prune")
    return result


def _count(pipeline: dlt.Pipeline, choice: PruneChoice) -> tuple[int, int]:
    """Runs that would be pruned, and their entries."""
    with pipeline.sql_client() as client:
        ((runs, entries),) = count_runs(choice, client.make_qualified_table_name).run(client)
    return int(runs), int(entries)


def _delete(pipeline: dlt.Pipeline, choice: PruneChoice, zone: str) -> tuple[int, int]:
    """Deletes batch by batch; returns how many runs and entries."""
    with pipeline.sql_client() as client:
        count_runs(choice, client.make_qualified_table_name).run(client)  # fails without tables
        with client.begin_transaction():
            create_tables(client)
    # Before anything is deleted: the views then read the history, too.
    create_views(pipeline, zone, only_existing=True)
    runs = entries = 0
    moment = datetime.now(UTC)
    with pipeline.sql_client() as client:
        while True:
            # It marks the batch, so that no two are alike.
            moment = max(datetime.now(UTC), moment + timedelta(microseconds=1))
            statements = prune_batch(choice, moment, zone, client.make_qualified_table_name)
            with client.begin_transaction():
                statements.note_runs.run(client)
                ((found, rows),) = statements.count.run(client)
                if found:
                    statements.add_history.run(client)
                    for statement in statements.delete:
                        statement.run(client)
            if not found:
                return runs, entries
            runs, entries = runs + found, entries + rows


def _free_space(pipeline: dlt.Pipeline) -> str:
    """Frees the space of deleted rows where that is cheap; returns what has become of it."""
    if pipeline.destination.destination_name == "duckdb":
        with pipeline.sql_client() as client:
            free = compact(client)
        return (
            f"{free / 2**20:,.0f} MiB of the DuckDB file are free, which later loads use; only a "
            "copy of the file is smaller (`open_database().copy_to(…)` writes one)"
        )
    return (
        "Postgres uses the space of deleted rows again once it has vacuumed the tables, which it "
        "does by itself; `VACUUM FULL` gives it back to the disk, and locks the tables meanwhile"
    )
