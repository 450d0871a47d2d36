"""One load package: restore the state, extract, normalize, load, count what has arrived."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dlt
from dlt.common.exceptions import SignalReceivedException
from dlt.common.runtime.signals import intercepted_signals, raise_if_signalled

from komos_source import telemetry
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import lock_database
from komos_source.destinations.pruned_runs import runs_left_out
from komos_source.destinations.write_disposition import adapt_to_destination
from komos_source.loading import history
from komos_source.loading.missing_tables import check_tables, states_of_resources
from komos_source.loading.reconciliation import count_loaded_rows, find_mismatches, reset_runs
from komos_source.loading.shard_count import retry_beside_other_shards
from komos_source.metrics import LoadMetrics
from komos_source.redaction.redactor import Redactor
from komos_source.shard import Shard
from komos_source.tables import TASK_RUN_LOGS


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What the steps of a load share.

    Attributes:
        pipeline: The pipeline that loads.
        database_file: The DuckDB file; None for other destinations.
        metrics: Those of the load.
        lock_timeout: Seconds to wait for locks.
        shard: The share of the tasks that is loaded; None for all.
        named: Ids of runs that are loaded because they were named.
        left_out: Ids of runs that are not loaded because they were pruned.
        redactor: The rules of redaction.
    """

    pipeline: dlt.Pipeline
    database_file: str | None
    metrics: LoadMetrics
    lock_timeout: float
    shard: Shard | None
    named: Sequence[str]
    left_out: set[str]
    redactor: Redactor

    def locked_database(self) -> AbstractContextManager[None]:
        """Keeps other processes out of a DuckDB file; other destinations need no lock."""
        return lock_database(self.database_file, self.lock_timeout)


def run_package(context: LoadContext, source: Any, metrics: LoadMetrics) -> int:
    """Extracts, normalizes, loads and reconciles one load package.

    Returns:
        How many rows of ``task_run_logs`` were loaded.
    """
    pipeline = context.pipeline
    destination = pipeline.destination.destination_name
    before = metrics.emitted.copy()
    with translate_errors(pipeline):
        with telemetry.stage(metrics, "reading state"), context.locked_database():
            pipeline.drop()
            pipeline.sync_destination()
            context.left_out.update(runs_left_out(pipeline, _not_listed(context)))
            lost, changed = check_tables(pipeline, context.left_out)
        if lost:
            context.metrics.notes.append(
                f"tables were missing or empty in the destination ({', '.join(lost)}): they have "
                "been filled again with what the API still shows"
            )
        for problem in changed.values():
            if problem not in context.metrics.problems:  # of an earlier package of this load
                context.metrics.problems.append(problem)
        for name in changed.keys() & source.resources.keys():
            source.resources[name].selected = False
        with telemetry.stage(metrics, "reading logs"):
            sources = [source, *history.table_if_missing(pipeline, lost)]
            pipeline.extract([adapt_to_destination(each, pipeline) for each in sources])
        if not pipeline.has_pending_data:
            return 0
        with telemetry.stage(metrics, f"loading into {destination}"):
            with _interrupted_at_end():
                pipeline.normalize()
            with context.locked_database(), _interrupted_at_end():
                load = pipeline.load
                info = retry_beside_other_shards(load) if context.shard else load()
                load_ids = info.loads_ids if info else []
                metrics.load_ids += load_ids
                loaded = count_loaded_rows(pipeline, load_ids)
                if missing := find_mismatches(metrics.emitted - before, loaded):
                    metrics.failures.update(missing)
                    reset_runs(pipeline, missing)
    return sum(loaded.values())


def _not_listed(context: LoadContext) -> set[str]:
    """Runs that this load may request although no list shows them."""
    stored = states_of_resources(context.pipeline.state).get(TASK_RUN_LOGS.name, {})
    return {*context.named, *stored.get("tracked", ()), *stored.get("lost", ())}


@contextlib.contextmanager
def _interrupted_at_end() -> Iterator[None]:
    """Delays SIGINT and SIGTERM to the end of the block.

    dlt delays them within each of its steps and then forgets the first one.
    """
    with intercepted_signals():
        yield
        try:
            raise_if_signalled()
        except SignalReceivedException as error:
            raise KeyboardInterrupt from error
