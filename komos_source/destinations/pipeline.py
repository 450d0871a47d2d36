"""Creates the dlt pipeline of this source and its destination."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings
from komos_source.config import pipeline_names, use_defaults_for
from komos_source.destinations.error_messages import describe_cause, describe_disk_error
from komos_source.exceptions import ConfigurationError, DestinationError, UsageError
from komos_source.shard import Shard

_TRANSACTIONAL = frozenset(
    {"duckdb", "ducklake", "motherduck", "postgres", "redshift", "snowflake"}
)
"""Databases in which a merge can be one transaction; dlt uses none unless it is configured."""

_PIPELINE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_DATASET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_MADE_BY_DLT = frozenset({"schemas", "extract", "normalize", "load", "state.json", "trace.pickle"})
_TEMPORARY_FILE = re.compile("[0-9a-f]{16}")
"""dlt renames such a file once it is written."""


def make_pipeline(
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    shard: Shard | None = None,
    database: str | Path | None = None,
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
        UsageError: dlt does not know the destination.
        ConfigurationError: The destination's settings cannot be used, or the DuckDB file has the
            name of the dataset.
        DestinationError: The working directory cannot be written.
    """
    use_defaults_for(pipeline_name)
    try:
        pipeline = dlt.pipeline(
            pipeline_name,
            pipelines_dir=pipelines_dir or get_dlt_pipelines_dir(),
            destination=_destination(
                destination,
                shard,
                str(database) if database else _file_in_config_toml(pipeline_name),
            ),
            dataset_name=dataset_name,
        )
        file = duckdb_file(pipeline)
        warning = file and (
            name_clash_warning(file, dataset_name) or _place_warning(file, pipeline.working_dir)
        )
    except (UnknownDestinationModule, ImportError) as error:
        raise UsageError(
            f"dlt has no destination {destination!r}: use duckdb, postgres, bigquery, snowflake or "
            "another that dlt lists"
        ) from error
    except ConfigurationException as error:
        raise ConfigurationError(
            f"the settings of the destination {destination} cannot be used: "
            f"{describe_cause(error)}. Look at DESTINATION__{destination.upper()}__CREDENTIALS and "
            f"at [destination.{destination}] in .dlt/config.toml and .dlt/secrets.toml."
        ) from error
    except OSError as error:
        where = Path(pipelines_dir or get_dlt_pipelines_dir())
        raise DestinationError(
            describe_disk_error(error, where) or f"{where} cannot be used: {error}"
        ) from error
    if warning:
        raise ConfigurationError(warning)
    return pipeline


def temporary_directory() -> TemporaryDirectory[str]:
    """Creates a directory for the working directory of a pipeline that only reads.

    Raises:
        ConfigurationError: No directory for temporary files can be written.
    """
    try:
        return TemporaryDirectory(prefix="komos-")
    except OSError as error:
        raise ConfigurationError(
            f"temporary files cannot be written: {error.strerror}. Set TMPDIR to a directory that "
            "this user can write."
        ) from error


def _file_in_config_toml(pipeline_name: str) -> Any:
    """Returns the DuckDB file that ``config.toml`` names; None if secrets.toml or so name one.

    dlt refuses credentials in ``config.toml``, but the name of a file is no secret.
    """
    for prefix in (*(f"{name}." for name in pipeline_names(pipeline_name)), ""):
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


def check_names(pipeline_name: str, dataset_name: str) -> None:
    """Refuses names that are not plain names, before anything is touched.

    The name of a pipeline is the name of its working directory, which each load removes first.

    Raises:
        UsageError: A name is empty, a path, or has other characters than letters, digits and
            underscores (in a pipeline's name also hyphens).
    """
    if not _PIPELINE_NAME.fullmatch(pipeline_name):
        raise UsageError(
            f"{pipeline_name!r} is not a pipeline name: use letters, digits, '_' and '-', such "
            f"as {settings.PIPELINE_NAME}."
        )
    if not _DATASET_NAME.fullmatch(dataset_name):
        raise UsageError(
            f"{dataset_name!r} is not a dataset name: use letters, digits and '_', such as "
            f"{settings.DATASET_NAME}."
        )


def remove_working_directory(pipelines_dir: Path, pipeline_name: str) -> None:
    """Removes dlt's working directory of a pipeline, which the next load makes again.

    A file beside it records that a load has made it: one that was killed may have left no state.

    Raises:
        UsageError: The directory belongs to another pipeline, or holds what dlt did not make.
    """
    directory = pipelines_dir / pipeline_name
    marker = pipelines_dir / f".{pipeline_name}.komos"
    # Names are checked before; this is the last check before something is deleted.
    if directory.is_symlink() or directory.resolve().parent != pipelines_dir.resolve():
        raise UsageError(f"{directory} is not a working directory of dlt: it was left as it is.")
    if directory.exists():
        found = {path.name for path in directory.iterdir()}
        names = _schema_names(directory)
        made_here = marker.exists() or not found
        is_ours = made_here if names is None else names <= {settings.SOURCE_NAME}
        foreign = [each for each in found - _MADE_BY_DLT if not _TEMPORARY_FILE.fullmatch(each)]
        if foreign or not is_ours:
            raise UsageError(
                f"{directory} belongs to another dlt pipeline, or holds files that dlt did not "
                "make: it was left as it is. Use another pipeline name."
            )
        shutil.rmtree(directory, ignore_errors=True)
    marker.touch()


def _schema_names(directory: Path) -> set[str] | None:
    """Names of the schemas of a pipeline; None if it has no state that can be read."""
    try:
        state: Any = json.loads((directory / "state.json").read_text("utf-8"))
        return {*(state.get("schema_names") or ())}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def duckdb_file(pipeline: dlt.Pipeline) -> str | None:
    """Returns the file of a DuckDB destination; None for other destinations."""
    if pipeline.destination.destination_name != "duckdb":
        return None
    credentials: Any = pipeline.destination_client().config.credentials
    path = str(credentials.database)
    return None if path.startswith(":") else path


def dataset_label(pipeline: dlt.Pipeline) -> str:
    """Returns which dataset a pipeline loads into, without user and password.

    For example ``duckdb:////srv/komos_task_run_logs.duckdb, dataset komos``.
    """
    where = re.sub(r"//[^/@]*@", "//", str(pipeline.destination_client().config))
    return f"{where}, dataset {pipeline.dataset_name}"


def name_clash_warning(file: str, dataset_name: str) -> str | None:
    """Returns what to do about a DuckDB file that is named like its dataset; None if it is not.

    DuckDB calls a database by the name of its file, and refuses ``komos.task_run_logs`` as
    ambiguous if ``komos`` is both a database and a schema.
    """
    database = Path(file).name.lstrip(".").partition(".")[0]  # as DuckDB calls it
    if database.lower() != dataset_name.lower():
        return None
    return (
        f"the DuckDB file {file} has the same name as its dataset {dataset_name!r}, which "
        f"makes {dataset_name}.task_run_logs ambiguous in DuckDB: rename the file, for "
        f"example to {settings.DUCKDB_FILE}, and set DESTINATION__DUCKDB__CREDENTIALS, or choose "
        "another dataset"
    )


def _place_warning(file: str, working_directory: str) -> str | None:
    """Returns what to do about a DuckDB file in the directory that each load removes."""
    if Path(working_directory).resolve() not in Path(file).resolve().parents:
        return None
    return (
        f"the DuckDB file {file} is in the working directory of dlt, which each load removes: set "
        "DESTINATION__DUCKDB__CREDENTIALS to a file elsewhere"
    )


@contextlib.contextmanager
def attached(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Attaches a DuckLake once for all steps inside; does nothing for other destinations."""
    if pipeline.destination.destination_name != "ducklake":
        yield
        return
    client = pipeline.sql_client()
    client.open_connection()
    try:
        yield
    finally:
        client.close_connection()
