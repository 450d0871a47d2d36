"""The dlt pipeline of this source: made, and kept for a time from other processes."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir

from komos_source import settings
from komos_source.config import use_defaults_for
from komos_source.destinations import destination_for
from komos_source.exceptions import UsageError
from komos_source.shard import Shard

_PIPELINE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_DATASET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_MADE_BY_DLT = frozenset({"schemas", "extract", "normalize", "load", "trace.pickle"})


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

    Raises:
        UsageError: The directory would not be one that dlt made for a pipeline of this name.
    """
    directory = pipelines_dir / pipeline_name
    # Names are checked before; this is the last check before something is deleted.
    if directory.is_symlink() or directory.resolve().parent != pipelines_dir.resolve():
        raise UsageError(f"{directory} is not a working directory of dlt: it was left as it is.")
    if not directory.exists():
        return
    found = {path.name for path in directory.iterdir()}
    if "state.json" not in found and not found <= _MADE_BY_DLT:
        raise UsageError(
            f"{directory} holds files that are not dlt's: it was left as it is. Use another "
            "--pipeline-name, or move the files."
        )
    shutil.rmtree(directory, ignore_errors=True)


def duckdb_file(pipeline: dlt.Pipeline) -> str | None:
    """The file behind a DuckDB destination; None for any other."""
    if pipeline.destination.destination_name != "duckdb":
        return None
    credentials: Any = pipeline.destination_client().config.credentials
    path = str(credentials.database)
    return None if path == ":memory:" else path


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
