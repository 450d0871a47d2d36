"""One load, in the order of events.

Lock the pipeline, restore the state from the destination, load webhook deliveries, extract from the
API, normalize, load, reconcile, create views, write the load history.

dlt's working directory is disposable here. After a crash dlt would finish the pending load package
and stop without extracting, from a local state that is ahead of the destination's. Since the API
can be read again, each load starts from the state in the destination instead.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import pyarrow as pa
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings, telemetry
from komos_source.analytics.views import create_views
from komos_source.config import check_number, settings_of, time_zone
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.loading_path import bytes_per_package
from komos_source.destinations.locking import lock_dataset, lock_pipeline
from komos_source.destinations.pipeline import (
    attached,
    check_names,
    dataset_label,
    duckdb_file,
    make_pipeline,
    remove_working_directory,
)
from komos_source.destinations.pruned_runs import pruned_ids
from komos_source.destinations.queries import count_recovered_runs, delete_old_states, known_ids
from komos_source.destinations.write_disposition import merges_in_sql
from komos_source.exceptions import (
    ApiUnreachableError,
    DestinationError,
    KomosError,
    LockedError,
    RequestError,
    SpoolError,
)
from komos_source.extract.options import SourceOptions, check_selection
from komos_source.load_result import LoadResult
from komos_source.loading import history
from komos_source.loading.load_package import LoadContext, run_package
from komos_source.loading.reconciliation import count_loaded_rows
from komos_source.loading.shard_count import check_shard_count
from komos_source.metrics import LoadMetrics
from komos_source.redaction.config import configured_redactor
from komos_source.shard import Shard
from komos_source.source import build_source
from komos_source.tables import Table
from komos_source.webhooks.config import spool_in_use
from komos_source.webhooks.drain import Drained, drain
from komos_source.webhooks.events import Decoded, decode
from komos_source.webhooks.open_spool import open_spool

if TYPE_CHECKING:
    from komos_source.webhooks.spool_tables import Spooled


def load(
    *,
    run_ids: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    shard: Shard | None = None,
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    lock_timeout: float = settings.LOCK_TIMEOUT,
    views: bool = True,
    poll: bool | Literal["tracked"] = True,
    spool: str | Literal[False] | None = None,
    on_start: Callable[[LoadMetrics], None] | None = None,
    **options: Unpack[SourceOptions],
) -> LoadResult:
    """Loads what is new, once: first the webhook deliveries, then what the API shows.

    A load of selected runs or tasks, or of a shard, does not load webhook deliveries. If the API is
    out of reach, the deliveries are loaded all the same.

    Args:
        run_ids: Load the logs of these runs only.
        task_ids: Load the runs of these tasks only.
        shard: Load only this share of the tasks; see `komos_source.load_shard`.
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: dlt's name of the pipeline; its state and its lock go by it.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for another load, and for another process to close DuckDB.
        views: Whether to create the views of `komos_source.analytics` where they are missing.
        poll: Whether to ask the API; if not, only webhook deliveries are loaded. With ``"tracked"``
            it is asked only for runs that deliveries have named, or that were not settled before.
        spool: URL of the spool of webhook deliveries. None is the configured one, if a spool is in
            use; False loads no deliveries.
        on_start: Called with the metrics of the load, which grow while it runs; another thread may
            read them to show progress.
        options: The other arguments of `komos_source.komos_source`; one that is None comes from
            dlt's configuration.

    Raises:
        UsageError: An argument cannot be used; nothing has been touched.
        KomosError: Nothing was loaded; the message says what to do. What had been loaded before is
            as it was.
    """
    check_names(pipeline_name, dataset_name)
    check_number("lock_timeout", lock_timeout, 0)
    metrics = LoadMetrics()
    left_out: set[str] = set()
    if on_start:
        on_start(metrics)
    source = None
    selected = run_ids is not None or task_ids is not None or shard is not None
    with settings_of(pipeline_name):
        if poll:
            listed = [] if poll == "tracked" else task_ids
            chosen = {"run_ids": run_ids, "task_ids": listed, "shard": shard}
            options.setdefault("max_bytes", bytes_per_package(destination))
            source = build_source(metrics, left_out, **chosen, **options)
        zone, redactor = time_zone(), configured_redactor()
        spool_url = None if selected or spool is False else spool or spool_in_use()
    name = pipeline_name + shard.suffix if shard else pipeline_name
    directory = Path(pipelines_dir or get_dlt_pipelines_dir())
    labels = {"pipeline_name": name, "destination": destination, "dataset": dataset_name}
    with telemetry.load_span(metrics, labels), lock_pipeline(directory, name, lock_timeout):
        # A load that was killed may have left the working directory in any state.
        remove_working_directory(directory, name)
        pipeline = make_pipeline(destination, dataset_name, name, pipelines_dir, shard)
        file = duckdb_file(pipeline)
        named = check_selection(run_ids, None, None).run_ids or ()
        context = LoadContext(
            pipeline, file, metrics, lock_timeout, shard, named, left_out, redactor
        )
        with (
            translate_errors(pipeline),
            lock_dataset(pipeline, lock_timeout),
            attached(pipeline),
        ):
            with context.locked_database():
                check_shard_count(pipeline, shard, polls=poll is True)
            try:
                # A spool that is given explicitly is drained whatever dataset it belongs to.
                drained = _load_deliveries(context, spool_url, check_owner=not spool)
                api_rows, api_failure = _load_from_api(context, source, drained)
            except (DestinationError, LockedError):
                raise  # the history cannot be written either
            except KomosError as error:
                _write_history(context, error)
                raise
            with context.locked_database():
                if metrics.load_ids and not shard:
                    _maintain(context, zone if views else None, spool_url)
                result = _result(context, drained, api_rows, api_failure)
            result = result.with_problem(_write_history(context, result))
        telemetry.load_ended(result, labels)
    return result


def _load_deliveries(context: LoadContext, url: str | None, *, check_owner: bool) -> Drained:
    """Loads the webhook deliveries in the spool. One that fails is a problem that is reported."""
    pipeline, metrics = context.pipeline, context.metrics
    if url is None:
        return Drained()
    if not merges_in_sql(pipeline):
        metrics.problems.append(
            "The webhook deliveries were not loaded: only SQL destinations are supported."
        )
        return Drained()

    def known(table: Table, rows: pa.Table) -> Set[tuple[str, str]]:
        with context.locked_database():
            return known_ids(pipeline, table, rows) | pruned_ids(pipeline, rows)

    def decode_new(deliveries: Sequence[Spooled]) -> Decoded:
        return decode(deliveries, context.redactor).new(known)

    try:
        with (
            telemetry.stage(metrics, "loading webhook deliveries"),
            contextlib.closing(open_spool(url)) as spool,
        ):
            owner = dataset_label(pipeline) if check_owner else None
            drained = drain(spool, functools.partial(run_package, context), decode_new, owner)
    except SpoolError as error:
        metrics.problems.append(str(error))
        return Drained()
    metrics.load_ids += drained.load_ids
    metrics.problems += drained.problems
    return drained


def _load_from_api(context: LoadContext, source: Any, drained: Drained) -> tuple[int, str | None]:
    """Loads what the API shows.

    Returns:
        How many rows arrived, and why the API could not be asked, if it could not but deliveries
        were loaded.
    """
    if source is None:
        return 0, None
    try:
        rows = run_package(context, source, context.metrics)
        while context.metrics.is_partial:
            rows += run_package(context, source, context.metrics)
        return rows, None
    except (ApiUnreachableError, RequestError) as error:
        if not drained.deliveries:
            raise
        context.metrics.problems.append(str(error))
        return 0, str(error)


def _maintain(context: LoadContext, zone: str | None, spool_url: str | None) -> None:
    """Deletes old states, creates views and updates the counts of recovered runs.

    The data is loaded already: what fails here is reported and changes nothing else.
    """
    pipeline, problems = context.pipeline, context.metrics.problems
    if not merges_in_sql(pipeline):
        return
    try:
        with translate_errors(pipeline):
            delete_old_states(pipeline)
            if spool_url:
                count_recovered_runs(pipeline)
    except KomosError as error:
        problems.append(
            f"The data is loaded, but old states or counts in its tables were not updated: {error}"
        )
    if zone:
        try:
            create_views(pipeline, zone, replace=bool(context.metrics.notes))
        except Exception as error:  # noqa: BLE001 - each database has errors of its own
            problems.append(
                f"{error} The data is loaded; --no-views (in Python: views=False) leaves the views "
                "out."
            )


def _result(
    context: LoadContext, drained: Drained, api_rows: int, api_failure: str | None
) -> LoadResult:
    metrics = context.metrics
    rows = drained.rows + api_rows
    if drained.rows and api_rows:
        # An entry that was pushed may have been read from the API too: count it once.
        rows = sum(count_loaded_rows(context.pipeline, metrics.load_ids).values())
    failures = {**drained.failures, **metrics.failures}
    metrics.stage = "done"
    return LoadResult(
        runs_seen=max(metrics.runs_seen, len(drained.run_ids)),
        runs_fetched=metrics.logs_read - len(metrics.failures),
        entries_loaded=rows,
        entries_rejected=metrics.rejected + drained.rejected,
        runs_failed=len(failures),
        window_gaps=metrics.window_gaps,
        requests=metrics.requests,
        seconds=metrics.seconds,
        failures=failures,
        problems=tuple(metrics.problems),
        notes=tuple(metrics.notes),
        api_failure=api_failure,
    )


def _write_history(context: LoadContext, outcome: LoadResult | Exception) -> str | None:
    """Adds the load to ``komos_loads``.

    Returns:
        What went wrong; the data is loaded all the same.
    """
    try:
        with translate_errors(context.pipeline), context.locked_database():
            redaction = context.redactor.version
            history.write(context.pipeline, context.metrics, outcome, redaction=redaction)
    except KomosError as error:
        return f"The load is not in komos_loads: {error}"
    return None
