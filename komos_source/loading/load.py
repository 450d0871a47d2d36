"""One load from start to report: start from what the destination holds, extract, load, verify.

dlt's working directory is disposable here. After a crash dlt would finish the pending package and
stop without extracting, from a local state that has moved past what arrived; since the API can be
read again, every load starts from the state in the destination instead.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import dlt
import pyarrow as pa
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings, tables
from komos_source.analytics.views import create_views
from komos_source.config import NO_API_KEY, time_zone
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import one_load_at_a_time
from komos_source.destinations.pipeline import Hold, lake_attached, make_pipeline
from komos_source.destinations.queries import count_recovered, forget_old_states, known_ids
from komos_source.destinations.write_disposition import adapt_to_destination, merges_in_sql
from komos_source.exceptions import (
    ApiUnreachableError,
    ConfigurationError,
    DestinationError,
    KomosError,
    LockedError,
    RequestError,
    SpoolError,
)
from komos_source.extract.options import check_selection
from komos_source.load_result import LoadResult
from komos_source.loading import history
from komos_source.loading.reconciliation import count_loaded_rows
from komos_source.loading.shard_count import check_buckets, load_beside_others
from komos_source.loading.shortfall import report_missing_rows
from komos_source.metrics import LoadMetrics
from komos_source.shard import Shard
from komos_source.source import komos_source
from komos_source.telemetry import observed, stage
from komos_source.webhooks._optional import open_spool
from komos_source.webhooks.configuration import spool_in_use
from komos_source.webhooks.drain import Drained, Run, drain


def load(
    *,
    run_ids: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    since: str | None = None,
    full_refresh: bool = False,
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    lock_timeout: float = settings.LOCK_TIMEOUT,
    views: bool = True,
    metrics: LoadMetrics | None = None,
    spool: str | Literal[False] | None = None,
    poll: bool = True,
    shard: Shard | None = None,
    **source_options: Any,
) -> LoadResult:
    """Loads what is new, once: first what webhooks have brought, then what the API shows.

    A load of chosen runs or tasks, or of a shard, leaves the webhooks' spool alone. If the API is
    out of reach, what was in the spool is loaded all the same.

    Args:
        run_ids: See `komos_source.komos_source`, as for the next three.
        task_ids: See there.
        since: See there.
        full_refresh: See there.
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) the tables are in.
        pipeline_name: dlt's name for this pipeline; its state and its lock go by it.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for another load, and for another process to close DuckDB.
        views: Whether to create the views of `komos_source.analytics` where they are missing.
        metrics: Filled while the load runs, for whoever wants to watch.
        spool: URL of the webhooks' spool; as configured if None, if a spool is in use at all; False
            to leave webhooks alone.
        poll: Whether to ask the API; without, only the spool is drained.
        shard: Load only what is in this bucket; see `komos_source.loading.shards.load_shard`.
        source_options: Further arguments of `komos_source.komos_source`, such as ``api_key``.

    Raises:
        KomosError: Nothing was loaded; the message says what to do. Whatever had been loaded
            before is untouched.
    """
    metrics = metrics if metrics is not None else LoadMetrics()
    check_selection(run_ids, task_ids, since)
    zone = time_zone()
    directory = Path(pipelines_dir or get_dlt_pipelines_dir())
    name = pipeline_name + shard.suffix if shard else pipeline_name
    source = poll and _source(
        run_ids=run_ids,
        task_ids=task_ids,
        since=since,
        full_refresh=full_refresh,
        metrics=metrics,
        shard=shard,
        **source_options,
    )
    chosen = run_ids is not None or task_ids is not None or shard is not None
    spool_url = None if chosen or spool is False else spool or spool_in_use()
    names = {"pipeline_name": name, "destination": destination, "dataset": dataset_name}
    with (
        observed(metrics, **names) as ended,
        one_load_at_a_time(directory, name, lock_timeout),
        contextlib.ExitStack() as stack,
    ):
        # A load that was killed may have left it in any state, and dlt reads it at once.
        shutil.rmtree(directory / name, ignore_errors=True)
        pipeline = make_pipeline(destination, dataset_name, name, pipelines_dir, shard)
        stack.enter_context(lake_attached(pipeline))
        hold = stack.enter_context(Hold(pipeline, lock_timeout))
        with hold():
            check_buckets(pipeline, shard, polls=poll)
        if spool_url and not merges_in_sql(pipeline):
            metrics.problems.append(
                "the webhooks' spool has been left alone: it can be drained into databases only"
            )
            spool_url = None
        try:
            run = functools.partial(_run, pipeline, hold, shard, zone if views else None)
            report = _load(pipeline, hold, run, source, spool_url, metrics)
        except (DestinationError, LockedError):
            raise  # nowhere to write it to
        except KomosError as error:
            _record(pipeline, hold, metrics, history.failed(error))
            raise
        if problem := _record(pipeline, hold, metrics, history.succeeded(report)):
            report = replace(report, problems=(*report.problems, problem))
        ended(report)
    return report


def _load(
    pipeline: dlt.Pipeline,
    hold: Hold,
    run: Run,
    source: Any,
    spool_url: str | None,
    metrics: LoadMetrics,
) -> LoadResult:
    """Loads what webhooks have brought, then what a source shows, if there is one."""
    pushed = _drain(pipeline, hold, run, spool_url, metrics)
    metrics.load_ids += pushed.load_ids
    rows, api_failure = pushed.rows, None
    try:
        if source:
            rows += (polled := run(source, metrics))
            if pushed.rows and polled:
                with hold():  # once: what was pushed may just have been read from the API, too
                    rows = sum(count_loaded_rows(pipeline, metrics.load_ids).values())
    except (ApiUnreachableError, RequestError) as error:
        if not pushed.deliveries:
            raise
        api_failure = str(error)
        metrics.problems.append(api_failure)
    if spool_url and metrics.logs_read:
        with hold():
            count_recovered(pipeline)
    metrics.stage = "done"
    failures = {**pushed.failures, **metrics.failures}
    return LoadResult(
        runs_seen=max(metrics.runs_seen, len(pushed.run_ids)),
        runs_fetched=metrics.logs_read - len(metrics.failures),
        entries_loaded=rows,
        entries_rejected=metrics.rejected + pushed.rejected,
        runs_failed=len(failures),
        window_gaps=metrics.window_gaps,
        requests=metrics.requests,
        seconds=metrics.seconds,
        failures=failures,
        problems=tuple(metrics.problems),
        api_failure=api_failure,
    )


def _run(
    pipeline: dlt.Pipeline,
    hold: Hold,
    shard: Shard | None,
    views_in: str | None,
    source: Any,
    metrics: LoadMetrics,
) -> int:
    """Runs a source through the pipeline, starting from what the destination holds.

    Views are brought up to date along with it, with days of the time zone `views_in`; not if None,
    nor by a shard, of which many may run at once.

    Returns:
        How many rows arrived in ``task_run_logs``.
    """
    with translate_errors(pipeline):
        with stage(metrics, "reading state"), hold():
            pipeline.drop()
            pipeline.sync_destination()
        with stage(metrics, "reading logs"), hold.released_after(settings.HELD_WHILE_READING):
            sources = [source, *history.table_if_missing(pipeline)]
            pipeline.extract([adapt_to_destination(each, pipeline) for each in sources])
        if not pipeline.has_pending_data:
            return 0
        with stage(metrics, f"loading into {pipeline.destination.destination_name}"), hold():
            pipeline.normalize()
            info = load_beside_others(pipeline) if shard else pipeline.load()
            load_ids = info.loads_ids if info else []
            metrics.load_ids += load_ids
            brought = count_loaded_rows(pipeline, load_ids)
            report_missing_rows(pipeline, metrics, brought)
            if merges_in_sql(pipeline):
                forget_old_states(pipeline)
            if views_in and not shard:
                _create_views(pipeline, views_in, metrics)
    return sum(brought.values())


def _drain(
    pipeline: dlt.Pipeline, hold: Hold, run: Run, url: str | None, metrics: LoadMetrics
) -> Drained:
    """Drains the spool, if there is one. The API is asked even if the spool cannot be used."""
    if url is None:
        return Drained()

    def known(table: tables.Table, rows: pa.Table) -> Set[str]:
        if not len(rows):
            return frozenset()
        with hold():
            return known_ids(pipeline, table, rows)

    try:
        with stage(metrics, "draining webhooks"), contextlib.closing(open_spool(url)) as spool:
            return drain(spool, run, known)
    except SpoolError as error:
        metrics.problems.append(str(error))
        return Drained()


def _record(
    pipeline: dlt.Pipeline, hold: Hold, metrics: LoadMetrics, outcome: Mapping[str, Any]
) -> str | None:
    """Adds the load to ``komos_loads``; the data is in by now, so what goes wrong spoils nothing.

    Returns:
        What went wrong.
    """
    try:
        with hold():
            history.write(pipeline, metrics, outcome)
    except KomosError as error:
        return f"the load is not in komos_loads: {error}"
    return None


def _source(**options: Any) -> Any:
    try:
        return komos_source(**options)
    except ConfigFieldMissingException as error:
        raise ConfigurationError(NO_API_KEY) from error


def _create_views(pipeline: dlt.Pipeline, zone: str, metrics: LoadMetrics) -> None:
    """The data is in by now: whatever goes wrong here is reported and spoils nothing."""
    try:
        create_views(pipeline, zone)
    except Exception as error:  # noqa: BLE001 - see above
        metrics.problems.append(f"{error} (the data is loaded; --no-views leaves the views out)")
