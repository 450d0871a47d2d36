"""One load from start to report: start from what the destination holds, extract, load, verify.

dlt's working directory is disposable here. After a crash dlt would finish the pending package and
stop without extracting, from a local state that has moved past what arrived; since the API can be
read again, every load starts from the state in the destination instead.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source import arguments, schemas, settings, state
from komos_source.arrivals import arrived
from komos_source.claims import check_buckets, load_beside_others
from komos_source.configuration import use_defaults_for
from komos_source.destinations import destination_for
from komos_source.endpoint import NO_API_KEY
from komos_source.exceptions import (
    ConfigurationError,
    DestinationError,
    KomosError,
    UsageError,
)
from komos_source.fitting import fit
from komos_source.ledger import Ledger
from komos_source.locking import duckdb_held, one_load_at_a_time
from komos_source.shards import Shard
from komos_source.source import komos_source


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one load did.

    Attributes:
        runs_seen: Runs it knew of.
        runs_fetched: Logs it read.
        entries_loaded: Rows that arrived in ``task_run_logs``.
        entries_rejected: Entries that went to ``task_run_logs_rejected`` instead.
        runs_failed: Runs that could not be fetched; the next load tries them again.
        window_gaps: Tasks whose runs may have slipped out of sight unseen.
        requests: HTTP requests sent.
        seconds: How long it took.
        failures: Why runs could not be fetched, by run id.
        problems: What else went wrong.
    """

    runs_seen: int
    runs_fetched: int
    entries_loaded: int
    entries_rejected: int
    runs_failed: int
    window_gaps: int
    requests: int
    seconds: float
    failures: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0 done; 1 nothing could be done; 3 done, but not everything could be fetched."""
        if self.problems and not self.runs_seen:
            return 1
        return 3 if self.failures or self.problems else 0

    def to_json(self) -> dict[str, Any]:
        """The counts, as ``komos load --json`` prints them."""
        return {
            name: getattr(self, name)
            for name in (
                "runs_seen",
                "runs_fetched",
                "entries_loaded",
                "entries_rejected",
                "runs_failed",
                "window_gaps",
                "requests",
                "seconds",
            )
        }


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
    ledger: Ledger | None = None,
    shard: Shard | None = None,
    **source_options: Any,
) -> LoadReport:
    """Loads what is new, once.

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
        ledger: Filled while the load runs, for whoever wants to watch.
        shard: Load only what is in this bucket; see `komos_source.sharding.load_shard`.
        source_options: Further arguments of `komos_source.komos_source`, such as ``api_key``.

    Raises:
        KomosError: Nothing was loaded; the message says what to do. Whatever had been loaded
            before is untouched.
    """
    started = time.monotonic()
    ledger = ledger if ledger is not None else Ledger()
    arguments.check(run_ids, task_ids, since)
    pipeline = make_pipeline(destination, dataset, pipeline_name, pipelines_dir, shard)
    source = _source(
        run_ids=run_ids,
        task_ids=task_ids,
        since=since,
        full_refresh=full_refresh,
        ledger=ledger,
        shard=shard,
        **source_options,
    )
    file = duckdb_file(pipeline)
    with (
        one_load_at_a_time(Path(pipeline.pipelines_dir), pipeline.pipeline_name, lock_timeout),
        _errors_reworded(destination),
    ):
        ledger.stage = "reading state"
        with duckdb_held(file, lock_timeout):
            pipeline.drop()
            pipeline.sync_destination()
            check_buckets(pipeline, shard)
        ledger.stage = "reading logs"
        pipeline.extract(fit(source, pipeline))
        brought: Mapping[str, int] = {}
        if pipeline.has_pending_data:
            ledger.stage = f"loading into {destination}"
            with duckdb_held(file, lock_timeout):
                pipeline.normalize()
                info = load_beside_others(pipeline) if shard else pipeline.load()
                brought = arrived(pipeline, info.loads_ids if info else [])
                _distrust_what_is_missing(pipeline, ledger, brought)
    ledger.stage = "done"
    return LoadReport(
        runs_seen=ledger.runs_seen,
        runs_fetched=ledger.logs_read - len(ledger.failures),
        entries_loaded=sum(brought.values()),
        entries_rejected=ledger.rejected,
        runs_failed=len(ledger.failures),
        window_gaps=ledger.window_gaps,
        requests=ledger.requests,
        seconds=round(time.monotonic() - started, 3),
        failures=dict(ledger.failures),
        problems=tuple(ledger.problems),
    )


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
) -> dlt.Pipeline:
    """The pipeline that loads run in, and that analyses read through.

    A shard has a pipeline, and with it a working directory, and a staging dataset of its own.

    Raises:
        UsageError: dlt knows no such destination.
    """
    name = pipeline_name + shard.suffix if shard else pipeline_name
    use_defaults_for(name)
    try:
        return dlt.pipeline(
            name,
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


def _source(**options: Any) -> Any:
    try:
        return komos_source(**options)
    except ConfigFieldMissingException as error:
        raise ConfigurationError(NO_API_KEY) from error


@contextlib.contextmanager
def _errors_reworded(destination: str) -> Iterator[None]:
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
        raise DestinationError(f"the destination {destination} cannot be used: {error}") from error


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
