"""Creates the dlt pipeline of this source and its destination."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import dlt
from dlt.common.destination import Destination
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings
from komos_source.config import use_defaults_for
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import duckdb_held
from komos_source.exceptions import UsageError
from komos_source.shard import Shard

_TRANSACTIONAL = frozenset(
    {"duckdb", "ducklake", "motherduck", "postgres", "redshift", "snowflake"}
)
"""Databases in which a merge can be one transaction; dlt uses none unless it is configured."""


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
    database: str | None = None,
) -> dlt.Pipeline:
    """Creates the pipeline that loads run in, and that analyses read through.

    Args:
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) that the tables are in.
        pipeline_name: dlt's name of the pipeline.
        pipelines_dir: Directory for dlt's working directories; dlt's default if None.
        shard: The shard that is loaded, which has a staging dataset of its own.
        database: A DuckDB file to use instead of the configured one.

    Raises:
        UsageError: dlt does not know the destination, or the name of the DuckDB file is also that
            of the dataset.
    """
    use_defaults_for(pipeline_name)
    try:
        pipeline = dlt.pipeline(
            pipeline_name,
            pipelines_dir=pipelines_dir or get_dlt_pipelines_dir(),
            destination=_destination(
                destination, shard, database or _file_in_config_toml(pipeline_name)
            ),
            dataset_name=dataset_name,
        )
    except (UnknownDestinationModule, ImportError) as error:
        raise UsageError(
            f"dlt has no destination {destination!r}: use duckdb, postgres, bigquery, snowflake or "
            "another that dlt lists"
        ) from error
    if warning := name_clash_warning(pipeline):
        raise UsageError(warning)
    return pipeline


def _file_in_config_toml(pipeline_name: str) -> Any:
    """Returns the DuckDB file that ``config.toml`` names; None if secrets.toml or so name one.

    dlt refuses credentials in ``config.toml``, but the name of a file is no secret.
    """
    for prefix in (f"{pipeline_name}.", ""):
        key = f"{prefix}destination.duckdb.credentials"
        if dlt.secrets.get(key) is not None:
            return None
        configured: Any = dlt.config.get(key)
        if configured is not None:
            return configured.get("database") if isinstance(configured, dict) else configured
    return None


def _destination(name: str, shard: Shard | None, database: Any) -> Any:
    options: dict[str, Any] = {}
    if name in _TRANSACTIONAL:
        options["supports_transactions"] = True
    if shard:
        # Loads that share a staging dataset lose rows without an error.
        options["staging_dataset_name_layout"] = f"%s_staging{shard.suffix}"
    if name in {"duckdb", "ducklake"}:
        options["preferred_loader_file_format"] = "parquet"
        options["supported_loader_file_formats"] = ["parquet"]
        # The files are written once and read once, on this machine.
        options["parquet_format"] = ParquetFormatConfiguration(compression="none")
    match name:
        case "duckdb":
            from komos_source.destinations.duckdb import duckdb

            return duckdb(database, **options)
        case "ducklake":
            from komos_source.destinations.ducklake import ducklake

            return ducklake(**options)
        case "postgres":
            from komos_source.destinations.postgres import postgres

            return postgres(**options)
        case _:
            return Destination.from_reference(name, **options)


def duckdb_file(pipeline: dlt.Pipeline) -> str | None:
    """Returns the file of a DuckDB destination; None for other destinations."""
    if pipeline.destination.destination_name != "duckdb":
        return None
    credentials: Any = pipeline.destination_client().config.credentials
    path = str(credentials.database)
    return None if path.startswith(":") else path


def name_clash_warning(pipeline: dlt.Pipeline) -> str | None:
    """Returns what to do about a DuckDB file that is named like its dataset; None if it is not.

    DuckDB calls a database by the name of its file, and refuses ``komos.task_run_logs`` as
    ambiguous if ``komos`` is both a database and a schema.
    """
    file = duckdb_file(pipeline)
    if file is None:
        return None
    database = Path(file).name.lstrip(".").partition(".")[0]  # as DuckDB calls it
    if database.lower() != str(pipeline.dataset_name).lower():
        return None
    return (
        f"the DuckDB file {file} has the same name as its dataset {pipeline.dataset_name!r}, which "
        f"makes {pipeline.dataset_name}.task_run_logs ambiguous in DuckDB: rename the file, for "
        f"example to {settings.DUCKDB_FILE}, and set DESTINATION__DUCKDB__CREDENTIALS, or choose "
        "another dataset"
    )


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
