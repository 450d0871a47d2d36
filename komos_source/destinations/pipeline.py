"""The dlt pipeline of this source: made, and kept for a time from other processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings
from komos_source.config import use_defaults_for
from komos_source.destinations import destination_for
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import duckdb_held
from komos_source.exceptions import UsageError
from komos_source.shard import Shard


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
    database: str | None = None,
) -> dlt.Pipeline:
    """The pipeline that loads run in, and that analyses read through.

    A shard stages in a dataset of its own.

    Args:
        destination: See `komos_source.loading.load.load`, as for the next four.
        dataset_name: See there.
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
            dataset_name=dataset_name,
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


class Hold:
    """Keeps other processes out of the destination, where it lets only one in anyway.

    Taken when the first step needs the destination, and kept for those that follow, as opening a
    DuckDB file takes longer than many a step; let go where something else takes long, and on
    leaving the block of this context manager.

    Args:
        pipeline: Whose destination is meant.
        lock_timeout: Seconds to wait for another process to close the file.
    """

    def __init__(self, pipeline: dlt.Pipeline, lock_timeout: float) -> None:
        self._pipeline = pipeline
        self._file = duckdb_file(pipeline)
        self._lock_timeout = lock_timeout
        self._lock = threading.RLock()
        self._held: contextlib.ExitStack | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._release()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """For steps that use the destination; what goes wrong in them comes out as our errors."""
        with translate_errors(self._pipeline):
            with self._lock:
                if self._held is None:
                    held = contextlib.ExitStack()
                    held.enter_context(duckdb_held(self._file, self._lock_timeout))
                    self._held = held
            yield

    @contextlib.contextmanager
    def released_after(self, seconds: float) -> Iterator[None]:
        """For steps that do not use the destination: if they take long, others are let in."""
        timer = threading.Timer(seconds, self._release)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # it may have just begun

    def _release(self) -> None:
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None


@contextlib.contextmanager
def lake_attached(pipeline: dlt.Pipeline) -> Iterator[None]:
    """A DuckLake is attached once for all that is done meanwhile; nothing happens elsewhere."""
    if pipeline.destination.destination_name != "ducklake":
        yield
        return
    with translate_errors(pipeline):
        client = pipeline.sql_client()
        client.open_connection()
    try:
        yield
    finally:
        client.close_connection()
