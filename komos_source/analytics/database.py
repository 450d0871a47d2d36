"""Where analyses read: the pipeline's destination, opened for one query at a time.

A page or a notebook may stay open for days. So nothing is held between two queries, a DuckDB file
is opened read-only, and one that is not there is not made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source import settings, tables
from komos_source.analytics.query import query
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.destinations.pipeline import duckdb_file, make_pipeline
from komos_source.exceptions import DestinationError

_WHAT_TO_RUN = (
    "Run `komos load` to fill it, or `komos demo` for made data and then look at that with "
    "--database komos-demo/komos-demo.duckdb"
)


@dataclass(frozen=True, slots=True)
class Database:
    """The tables of a destination, to read from. See `open_database`.

    Attributes:
        pipeline: The pipeline that loads them.
        where: What a person calls the place.
        directory: dlt's working directory, one of its own: that of a load belongs to the load.
    """

    pipeline: dlt.Pipeline
    where: str
    directory: TemporaryDirectory[str]

    @contextlib.contextmanager
    def sql_client(self) -> Iterator[Any]:
        """Connects to the destination while the context lasts; DuckDB for reading only."""
        client: Any = self.pipeline.sql_client()
        if duckdb_file(self.pipeline):
            client.credentials.read_only = True
        with client:
            yield client

    def task_names(self) -> dict[str, str]:
        """Names of the tasks by id; tasks that the API has not named are left out."""
        with connect_when_unlocked(self.sql_client, settings.LOCK_TIMEOUT) as client:
            table = client.make_qualified_table_name(tables.TASKS)
            # There is no such table where runs were only ever loaded by id.
            with contextlib.suppress(DatabaseUndefinedRelation):
                rows = client.execute_sql(f"SELECT id, name FROM {table}")  # noqa: S608 - ours
                return {task_id: name for task_id, name in rows or () if name}
        return {}


def open_database(
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    database: str | Path | None = None,
) -> Database:
    """What loads have brought so far, checked to be something.

    Args:
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) the tables are in.
        pipeline_name: dlt's name of the pipeline.
        database: A DuckDB file to read instead of the configured destination.

    Raises:
        DestinationError: There is no database, or no finished run in it; says what to run.
        LockedError: Another process kept the DuckDB file open.
    """
    directory = TemporaryDirectory(prefix="komos-")
    pipeline = make_pipeline(
        "duckdb" if database else destination,
        dataset_name,
        pipeline_name,
        directory.name,
        database=str(database) if database else None,
    )
    file = duckdb_file(pipeline)
    if file and not Path(file).exists():
        raise DestinationError(f"there is no database {file} yet. {_WHAT_TO_RUN}")
    history = Database(pipeline, f"{file or destination}, dataset {dataset_name}", directory)
    if query(history, "newest_run")["newest"].isna().all():
        raise DestinationError(f"there is no finished run in {history.where} yet. {_WHAT_TO_RUN}")
    return history
