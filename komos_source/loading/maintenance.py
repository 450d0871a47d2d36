"""What commands that change loaded data have in common: arguments and locks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypedDict

import dlt
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source import settings
from komos_source.analytics.database import require_file
from komos_source.config import check_number, settings_of
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import lock_database, lock_dataset, lock_pipeline
from komos_source.destinations.pipeline import (
    check_names,
    duckdb_file,
    make_pipeline,
    temporary_directory,
)
from komos_source.destinations.pruned_runs import can_change_rows
from komos_source.exceptions import NotLoadedError, UsageError


class PipelineOptions(TypedDict, total=False):
    """Arguments of `komos_source.prune` and `komos_source.redact`: where the loaded data is.

    Attributes:
        destination: Name of a dlt destination: duckdb or postgres.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: dlt's name of the pipeline; its lock keeps loads out meanwhile.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for a load, and for another process to close DuckDB.
    """

    destination: str
    dataset_name: str
    pipeline_name: str
    pipelines_dir: str | None
    lock_timeout: float


@contextlib.contextmanager
def pipeline_without_loads(
    unsupported: str,
    *,
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    lock_timeout: float = settings.LOCK_TIMEOUT,
) -> Iterator[tuple[dlt.Pipeline, Callable[[], AbstractContextManager[None]]]]:
    """A pipeline into loaded data that no load changes meanwhile.

    Args:
        unsupported: What to say of a destination other than DuckDB and Postgres, with
            ``{destination}`` for its name.
        destination: Name of a dlt destination: duckdb or postgres.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: dlt's name of the pipeline.
        pipelines_dir: Where dlt keeps working directories; its own default if None.
        lock_timeout: Seconds to wait for a load, and for another process to close DuckDB.

    Yields:
        The pipeline, and a context manager that keeps other processes out of a DuckDB file.

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
        if not can_change_rows(pipeline):
            raise UsageError(unsupported.format(destination=destination))
        file = duckdb_file(pipeline)
        require_file(file)
        with translate_errors(pipeline), lock_dataset(pipeline, lock_timeout, exclusive=True):
            try:
                yield pipeline, functools.partial(lock_database, file, lock_timeout)
            except DatabaseUndefinedRelation as error:
                raise NotLoadedError(
                    f"there are no Komos tables in the dataset {dataset_name!r}: run `komos load` "
                    "first"
                ) from error
