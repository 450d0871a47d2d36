"""The dlt pipeline of this source: made, and kept for a time from other processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings
from komos_source.configuration import use_defaults_for
from komos_source.destinations import destination_for
from komos_source.exceptions import UsageError
from komos_source.locking import duckdb_held
from komos_source.rewording import errors_reworded
from komos_source.shards import Shard

Hold = Callable[[], AbstractContextManager[None]]
"""Keeps other processes out of the destination for the time of some steps."""


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
    database: str | None = None,
) -> dlt.Pipeline:
    """The pipeline that loads run in, and that analyses read through.

    A shard stages in a dataset of its own.

    Args:
        destination: See `komos_source.loading.load`, as for the next four.
        dataset: See there.
        pipeline_name: See there.
        pipelines_dir: See there.
        shard: See there.
        database: A DuckDB file to use in place of the configured one.

    Raises:
        UsageError: dlt knows no such destination.
    """
    use_defaults_for(pipeline_name)
    try:
        return dlt.pipeline(
            pipeline_name,
            pipelines_dir=pipelines_dir or get_dlt_pipelines_dir(),
            destination=destination_for(destination, shard, database),
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


@contextlib.contextmanager
def holding(pipeline: dlt.Pipeline, file: str | None, lock_timeout: float) -> Iterator[None]:
    """For the time of some steps the destination is ours alone, where it allows only one anyway."""
    with errors_reworded(pipeline), duckdb_held(file, lock_timeout):
        yield


@contextlib.contextmanager
def lake_attached(pipeline: dlt.Pipeline) -> Iterator[None]:
    """A DuckLake is attached once for all that is done meanwhile; nothing happens elsewhere."""
    if pipeline.destination.destination_name != "ducklake":
        yield
        return
    with errors_reworded(pipeline):
        client = pipeline.sql_client()
        client.open_connection()
    try:
        yield
    finally:
        client.close_connection()
