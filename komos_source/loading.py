"""One load from start to report: start from what the destination holds, extract, load, verify.

dlt's working directory is disposable here. After a crash dlt would finish the pending package and
stop without extracting, from a local state that has moved past what arrived; since the API can be
read again, every load starts from the state in the destination instead.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source import arguments, schemas, settings, state
from komos_source.arrivals import arrived
from komos_source.claims import check_buckets, load_beside_others
from komos_source.configuration import time_zone, use_defaults_for
from komos_source.destinations import destination_for
from komos_source.endpoint import NO_API_KEY
from komos_source.exceptions import (
    ApiUnreachableError,
    ConfigurationError,
    DestinationError,
    KomosError,
    RequestError,
    SpoolError,
    UsageError,
)
from komos_source.fitting import fit, merges_in_sql
from komos_source.ledger import Ledger
from komos_source.load_report import LoadReport
from komos_source.locking import duckdb_held, one_load_at_a_time
from komos_source.shards import Shard
from komos_source.source import komos_source
from komos_source.stored import count_recovered, forget_old_states, known_ids
from komos_source.views import create_views
from komos_source.webhooks.configuration import spool_in_use
from komos_source.webhooks.draining import Drained, Run, drain
from komos_source.webhooks.extra import open_spool

_Hold = Callable[[], AbstractContextManager[None]]
"""Keeps other processes out of the destination for the time of some steps."""


def load(
    *,
    run_ids: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    since: str | None = None,
    full_refresh: bool = False,
    destination: str = settings.DESTINATION,
    dataset: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    lock_timeout: float = settings.LOCK_TIMEOUT,
    views: bool = True,
    ledger: Ledger | None = None,
    spool: str | None = None,
    poll: bool = True,
    shard: Shard | None = None,
    **source_options: Any,
) -> LoadReport:
    """Loads what is new, once: first what webhooks have brought, then what the API shows.

    A load of chosen runs or tasks, or of a shard, leaves the webhooks' spool alone. If the API is
    out of reach, what was in the spool is loaded all the same.

    Args:
        run_ids: See `komos_source.komos_source`, as for the next three.
        task_ids: See there.
        since: See there.
        full_refresh: See there.
        destination: Name of a dlt destination.
        dataset: Dataset (schema) the tables are in.
        pipeline_name: dlt's name for this pipeline; its state and its lock go by it.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for another load, and for another process to close DuckDB.
        views: Whether to create the views of `komos_source.analytics` where they are missing.
        ledger: Filled while the load runs, for whoever wants to watch.
        spool: URL of the webhooks' spool; as configured if None, if a spool is in use at all.
        poll: Whether to ask the API; without, only the spool is drained.
        shard: Load only what is in this bucket; see `komos_source.sharding.load_shard`.
        source_options: Further arguments of `komos_source.komos_source`, such as ``api_key``.

    Raises:
        KomosError: Nothing was loaded; the message says what to do. Whatever had been loaded
            before is untouched.
    """
    started = time.monotonic()
    ledger = ledger if ledger is not None else Ledger()
    arguments.check(run_ids, task_ids, since)
    zone = time_zone()
    directory = Path(pipelines_dir or get_dlt_pipelines_dir())
    name = pipeline_name + shard.suffix if shard else pipeline_name
    source = poll and _source(
        run_ids=run_ids,
        task_ids=task_ids,
        since=since,
        full_refresh=full_refresh,
        ledger=ledger,
        shard=shard,
        **source_options,
    )
    chosen = run_ids is not None or task_ids is not None or shard is not None
    spool_url = None if chosen else spool or spool_in_use()
    with one_load_at_a_time(directory, name, lock_timeout):
        # A load that was killed may have left it in any state, and dlt reads it at once.
        shutil.rmtree(directory / name, ignore_errors=True)
        pipeline = make_pipeline(destination, dataset, name, pipelines_dir, shard)
        hold = functools.partial(_holding, pipeline, duckdb_file(pipeline), lock_timeout)
        with hold():
            check_buckets(pipeline, shard, polls=poll)
        if spool_url and not merges_in_sql(pipeline):
            ledger.problems.append(
                "the webhooks' spool has been left alone: it can be drained into databases only"
            )
            spool_url = None
        run = functools.partial(_run, pipeline, hold, shard, zone if views else None)
        pushed = _drain(pipeline, hold, run, spool_url, ledger)
        rows, api_failure = pushed.rows, None
        try:
            if source:
                rows += run(source, ledger)
        except (ApiUnreachableError, RequestError) as error:
            if not pushed.deliveries:
                raise
            api_failure = str(error)
            ledger.problems.append(api_failure)
        if spool_url and ledger.logs_read:
            with hold():
                count_recovered(pipeline)
    ledger.stage = "done"
    failures = {**pushed.failures, **ledger.failures}
    return LoadReport(
        runs_seen=max(ledger.runs_seen, len(pushed.run_ids)),
        runs_fetched=ledger.logs_read - len(ledger.failures),
        entries_loaded=rows,
        entries_rejected=ledger.rejected + pushed.rejected,
        runs_failed=len(failures),
        window_gaps=ledger.window_gaps,
        requests=ledger.requests,
        seconds=round(time.monotonic() - started, 3),
        failures=failures,
        problems=tuple(ledger.problems),
        api_failure=api_failure,
    )


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
) -> dlt.Pipeline:
    """The pipeline that loads run in, and that analyses read through.

    A shard stages in a dataset of its own.

    Raises:
        UsageError: dlt knows no such destination.
    """
    use_defaults_for(pipeline_name)
    try:
        return dlt.pipeline(
            pipeline_name,
            pipelines_dir=pipelines_dir or get_dlt_pipelines_dir(),
            destination=destination_for(destination, shard),
            dataset_name=dataset,
        )
    except (UnknownDestinationModule, ImportError) as error:
        raise UsageError(
            f"dlt has no destination {destination!r}: use duckdb, postgres, bigquery, snowflake or "
            "another that dlt lists"
        ) from error


def duckdb_file(pipeline: dlt.Pipeline) -> str | None:
    """The file behind a DuckDB destination; None for any other."""
    if pipeline.destination.destination_name != "duckdb":
        return None
    credentials: Any = pipeline.destination_client().config.credentials
    path = str(credentials.database)
    return None if path == ":memory:" else path


def _run(
    pipeline: dlt.Pipeline,
    hold: _Hold,
    shard: Shard | None,
    views_in: str | None,
    source: Any,
    ledger: Ledger,
) -> int:
    """Runs a source through the pipeline, starting from what the destination holds.

    Views are brought up to date along with it, with days of the time zone `views_in`; not if None,
    nor by a shard, of which many may run at once.

    Returns:
        How many rows arrived in ``task_run_logs``.
    """
    with _errors_reworded(pipeline):
        ledger.stage = "reading state"
        with hold():
            pipeline.drop()
            pipeline.sync_destination()
        ledger.stage = "reading logs"
        pipeline.extract(fit(source, pipeline))
        if not pipeline.has_pending_data:
            return 0
        ledger.stage = f"loading into {pipeline.destination.destination_name}"
        with hold():
            pipeline.normalize()
            info = load_beside_others(pipeline) if shard else pipeline.load()
            brought = arrived(pipeline, info.loads_ids if info else [])
            _distrust_what_is_missing(pipeline, ledger, brought)
            if merges_in_sql(pipeline):
                forget_old_states(pipeline)
            if views_in and not shard:
                _create_views(pipeline, views_in, ledger)
    return sum(brought.values())


def _drain(
    pipeline: dlt.Pipeline, hold: _Hold, run: Run, url: str | None, ledger: Ledger
) -> Drained:
    """Drains the spool, if there is one. The API is asked even if the spool cannot be used."""
    if url is None:
        return Drained()

    def known(table: schemas.Table, rows: pa.Table) -> Set[str]:
        if not len(rows):
            return frozenset()
        with hold():
            return known_ids(pipeline, table, rows)

    ledger.stage = "draining webhooks"
    try:
        with contextlib.closing(open_spool(url)) as spool:
            return drain(spool, run, known)
    except SpoolError as error:
        ledger.problems.append(str(error))
        return Drained()


@contextlib.contextmanager
def _holding(pipeline: dlt.Pipeline, file: str | None, lock_timeout: float) -> Iterator[None]:
    """For the time of some steps the destination is ours alone, where it allows only one anyway."""
    with _errors_reworded(pipeline), duckdb_held(file, lock_timeout):
        yield


def _source(**options: Any) -> Any:
    try:
        return komos_source(**options)
    except ConfigFieldMissingException as error:
        raise ConfigurationError(NO_API_KEY) from error


@contextlib.contextmanager
def _errors_reworded(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Dlt wraps what went wrong; here the cause comes out, worded for whoever must act."""
    try:
        yield
    except PipelineStepFailed as error:
        raise _ours(error) or DestinationError(
            f"the {error.step} step failed: {error.exception}"
        ) from error
    except KomosError:
        raise
    except Exception as error:
        if found := _ours(error):
            raise found from error
        raise DestinationError(
            f"the destination {pipeline.destination.destination_name} cannot be used: {error}"
        ) from error


def _ours(error: BaseException | None) -> BaseException | None:
    """Our own error, or an interruption, among an error's causes and members."""
    while error is not None:
        if isinstance(error, KomosError | KeyboardInterrupt):
            return error
        for member in getattr(error, "exceptions", ()):
            if found := _ours(member):
                return found
        error = error.__cause__ or error.__context__
    return None


def _distrust_what_is_missing(
    pipeline: dlt.Pipeline, ledger: Ledger, brought: Mapping[str, int]
) -> None:
    """Where fewer rows arrived than were emitted: says so; the next load reads them again."""
    missing = {
        run_id: f"{count} entries were emitted, {brought.get(run_id, 0)} arrived"
        for run_id, count in ledger.emitted.items()
        if brought.get(run_id, 0) != count
    }
    if not missing:
        return
    ledger.failures.update(missing)

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def distrust() -> Any:
        @dlt.resource(**schemas.TASK_RUN_LOG_LOADS.hints())
        def rows() -> Iterator[Any]:
            state.distrust(missing, dlt.current.source_state())
            yield schemas.TASK_RUN_LOG_LOADS.from_rows(
                [
                    {
                        "run_id": run_id,
                        "checked_at": datetime.now(UTC),
                        "settled": False,
                        "outcome": "failed",
                        "detail": detail,
                    }
                    for run_id, detail in missing.items()
                ]
            )

        return rows

    pipeline.extract(fit(distrust(), pipeline))
    pipeline.normalize()
    pipeline.load()


def _create_views(pipeline: dlt.Pipeline, zone: str, ledger: Ledger) -> None:
    """The data is in by now: whatever goes wrong here is reported and spoils nothing."""
    try:
        create_views(pipeline, zone)
    except Exception as error:  # noqa: BLE001 - see above
        ledger.problems.append(f"{error} (the data is loaded; --no-views leaves the views out)")
