"""What commands that change loaded data have in common: locks, and the row of ``komos_loads``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dlt
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.analytics.database import require_file
from komos_source.config import check_number, settings_of
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import lock_dataset, lock_pipeline
from komos_source.destinations.pipeline import (
    check_names,
    duckdb_file,
    make_pipeline,
    temporary_directory,
)
from komos_source.destinations.pruned_runs import can_prune
from komos_source.exceptions import NotLoadedError, UsageError
from komos_source.load_result import LoadResult


@contextlib.contextmanager
def pipeline_without_loads(
    destination: str,
    dataset_name: str,
    pipeline_name: str,
    pipelines_dir: str | None,
    lock_timeout: float,
    unsupported: str,
) -> Iterator[dlt.Pipeline]:
    """A pipeline into loaded data that no load changes meanwhile. A DuckDB file is not locked yet.

    Args:
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: dlt's name of the pipeline; its lock keeps loads out.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for a load.
        unsupported: What to say of a destination other than DuckDB and Postgres.

    Raises:
        UsageError: A name or number cannot be used, or the destination is not supported.
        NotLoadedError: Nothing has been loaded.
        KomosError: The destination cannot be used.
    """
    check_names(pipeline_name, dataset_name)
    check_number("lock_timeout", lock_timeout, 0)
    directory = Path(pipelines_dir or get_dlt_pipelines_dir())
    with (
        settings_of(pipeline_name),
        lock_pipeline(directory, pipeline_name, lock_timeout),
        temporary_directory() as temporary,
    ):
        pipeline = make_pipeline(destination, dataset_name, pipeline_name, temporary)
        if not can_prune(pipeline):
            raise UsageError(unsupported)
        require_file(duckdb_file(pipeline))
        with translate_errors(pipeline), lock_dataset(pipeline, lock_timeout):
            try:
                yield pipeline
            except DatabaseUndefinedRelation as error:
                raise NotLoadedError(
                    f"there are no Komos tables in the dataset {dataset_name!r}: run `komos load` "
                    "first"
                ) from error


def as_load(sentence: str, seconds: float) -> LoadResult:
    """What was done as ``komos_loads`` has it: a load that loaded nothing, with a note."""
    return LoadResult(
        runs_seen=0,
        runs_fetched=0,
        entries_loaded=0,
        entries_rejected=0,
        runs_failed=0,
        window_gaps=0,
        requests=0,
        seconds=seconds,
        notes=(sentence,),
    )
