"""Read access to loaded data, one short connection a query.

A page or a notebook may stay open for days. So no connection outlives its query, a DuckDB file that
another process has open is waited for, and a file that does not exist is not created.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.analytics.file_copy import write_copy
from komos_source.destinations.error_messages import describe_cause
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.destinations.pipeline import duckdb_file, make_pipeline, temporary_directory
from komos_source.exceptions import DestinationError, NotLoadedError, UsageError
from komos_source.extras import requires_extra
from komos_source.settings import DATASET_NAME, DESTINATION, LOCK_TIMEOUT, PIPELINE_NAME

if TYPE_CHECKING:
    import pandas as pd

WHAT_TO_RUN = (
    "Run `komos load` to fill it, or `komos demo` for sample data and then read "
    "komos-demo/komos-demo.duckdb: `--database FILE`, in Python `open_database(database=…)`"
)


class SqlSource(Protocol):
    """What analyses read from: a `Database`, a dlt pipeline, or anything with dlt's SQL client."""

    def sql_client(self) -> AbstractContextManager[Any]:
        """Connects to the destination while the context lasts."""


@dataclass(frozen=True, slots=True)
class Database:
    """The loaded tables, for reading. See `open_database`.

    Attributes:
        pipeline: A dlt pipeline for the destination.
        location: The file or destination, and the dataset, for messages.
        directory: dlt's working directory: its own, as a load empties that of its pipeline.
    """

    pipeline: dlt.Pipeline
    location: str
    directory: TemporaryDirectory[str]

    @contextlib.contextmanager
    def sql_client(self) -> Iterator[Any]:
        """Connects to the destination while the context lasts; to DuckDB for reading only."""
        client: Any = self.pipeline.sql_client()
        if duckdb_file(self.pipeline):
            client.credentials.read_only = True
        with client:
            yield client

    def sql(self, text: str) -> pd.DataFrame:
        """Runs a query of your own; tables and views need no schema in front of their name.

        A DuckDB file that another process has open, such as a load, is waited for, up to a minute.

        Args:
            text: The query, in the SQL of the destination.

        Raises:
            LockedError: Another process kept the DuckDB file open.
            DestinationError: There is no such table, the query is wrong, or the destination cannot
                be read.
        """
        with requires_extra("analysis", "analyses"):
            import pandas as pd

        try:
            columns, rows = fetch(self, lambda _: text)
        except NotLoadedError as error:
            raise NotLoadedError(
                f"the query names something that is not in {self.location}: "
                f"{describe_cause(error.__cause__ or error)} `komos load` creates tables and views."
            ) from error
        return pd.DataFrame(rows, columns=columns)

    def copy_to(self, file: str | Path) -> None:
        """Copies a DuckDB file, views included, for a program that keeps the copy open.

        The copy is complete at any moment: a new one replaces it as a whole. The file is waited for
        as in `sql`.

        Args:
            file: The copy to write or to replace.

        Raises:
            UsageError: The destination is not a DuckDB file, or the copy is the file itself.
            LockedError: Another process kept the DuckDB file open.
            DestinationError: The file cannot be read, or the copy cannot be written.
        """
        source, copy = duckdb_file(self.pipeline), Path(file)
        if source is None or copy.resolve() == Path(source).resolve():
            raise UsageError(
                f"{self.location} cannot be copied to {copy}: name a file other than the DuckDB "
                "file that is loaded; other destinations can be read while they are loaded."
            )
        require_file(source)
        write_copy(Path(source), copy)

    def task_names(self) -> dict[str, str]:
        """Names of the tasks by id; tasks without a name are left out."""
        return read_task_names(self)


def open_database(
    destination: str = DESTINATION,
    dataset_name: str = DATASET_NAME,
    pipeline_name: str = PIPELINE_NAME,
    database: str | Path | None = None,
) -> Database:
    """Opens the loaded data for reading. Nothing is connected until the first query.

    Each query waits up to a minute for a DuckDB file that another process has open, such as a load.

    Args:
        destination: Name of a dlt destination.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: dlt's name of the pipeline, under which its configuration is found.
        database: A DuckDB file to read instead of the configured destination.

    Raises:
        DestinationError: The DuckDB file does not exist; the message says what to run.
    """
    directory = temporary_directory()
    pipeline = make_pipeline(
        "duckdb" if database else destination,
        dataset_name,
        pipeline_name,
        directory.name,
        database=database,
    )
    file = duckdb_file(pipeline)
    require_file(file)
    return Database(pipeline, f"{file or destination}, dataset {dataset_name}", directory)


@dataclass(frozen=True, slots=True)
class _Connected:
    client: Any

    def sql_client(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext(self.client)


@contextlib.contextmanager
def connected(source: SqlSource) -> Iterator[SqlSource]:
    """Lets several queries share one connection, as dlt takes 0.1 s for each.

    Yields:
        The same data; the connection is closed at the end of the context.

    Raises:
        LockedError: Another process kept the DuckDB file open.
        DestinationError: The destination cannot be connected to.
    """
    if isinstance(source, dlt.Pipeline):
        require_file(duckdb_file(source))
    with connect_when_unlocked(source.sql_client, LOCK_TIMEOUT) as client:
        yield _Connected(client)


def fetch(
    source: SqlSource, sql: str | Callable[[Any], str], *parameters: Any
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one query over a connection of its own.

    Args:
        source: Where to read.
        sql: The query, with each table's name in braces; or a function of dlt's SQL client.
        parameters: Values for ``%s`` in the query.

    Returns:
        The names of the columns in lower case, and the rows.

    Raises:
        LockedError: Another process kept the DuckDB file open.
        NotLoadedError: The tables do not exist.
        DestinationError: The destination cannot be read.
    """
    if isinstance(source, dlt.Pipeline):
        require_file(duckdb_file(source))
    name = source.location if isinstance(source, Database) else "the database"
    with connect_when_unlocked(source.sql_client, LOCK_TIMEOUT, name) as client:
        text = sql.format_map(_QualifiedNames(client)) if isinstance(sql, str) else sql(client)
        try:
            with client.execute_query(text, *parameters) as cursor:
                columns = [column[0].lower() for column in cursor.description]
                return columns, [tuple(map(_in_utc, row)) for row in cursor.fetchall()]
        except DatabaseUndefinedRelation as error:
            raise NotLoadedError(
                f"there are no Komos tables in the dataset {client.dataset_name!r}: run "
                "`komos load` first (or `komos demo`, for sample data)"
            ) from error
        except Exception as error:  # each database has errors of its own, also while rows come in
            is_file = client.capabilities.sqlglot_dialect == "duckdb"
            advice = ". If the file is damaged, restore it from a copy, or load into a new one."
            raise DestinationError(
                f"the dataset {client.dataset_name!r} cannot be read: {describe_cause(error)}"
                f"{advice if is_file else ''}"
            ) from error


def read_task_names(source: SqlSource) -> dict[str, str]:
    """Names of the tasks by id; tasks without a name are left out."""
    try:
        return dict(fetch(source, "SELECT id, name FROM {tasks} WHERE name <> ''")[1])
    except NotLoadedError:  # a load of runs by id alone creates no such table
        return {}


def _in_utc(value: Any) -> Any:
    """The value; a time in UTC instead of the session's time zone.

    With summer time, times of a column would have different offsets, which pandas does not compute
    with.
    """
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


class _QualifiedNames(dict[str, str]):
    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, table: str) -> str:
        name: str = self._client.make_qualified_table_name(table)
        return name


def require_file(file: str | None) -> None:
    """Refuses a DuckDB file that does not exist, which DuckDB would create.

    Raises:
        DestinationError: There is no such file; the message says what to run.
    """
    if file and not Path(file).exists():
        raise DestinationError(f"there is no database {file} yet. {WHAT_TO_RUN}")
