"""The queries of `komos_source.analytics` as views in the destination, for any SQL tool.

Runs after each load of `komos load`, so sqlglot is imported only when a view has to be created.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from komos_source import tables
from komos_source.analytics.database import require_file
from komos_source.analytics.descriptions import column_descriptions, view_description
from komos_source.config import time_zone as configured_time_zone
from komos_source.destinations.comments import COMMENT_DIALECTS, write_comments
from komos_source.destinations.error_messages import describe_cause
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.destinations.pipeline import duckdb_file
from komos_source.exceptions import DestinationError, NotLoadedError
from komos_source.settings import LOCK_TIMEOUT
from komos_source.tables import NODE_HEALTH_HISTORY

VIEWS = (
    *("node_health", "node_health_daily", "message_templates", "node_gaps"),
    *("run_outcomes", "run_steps"),
)
_ANALYTICS = Path(__file__).parent
_MARKER = "_dlt_komos_views"
"""A view whose only column is named after the version of the views: one query of the catalogue
shows which views exist and whether they are current. Tools that skip the tables of dlt skip it."""


def create_views(
    pipeline: dlt.Pipeline,
    time_zone: str | None = None,
    *,
    replace: bool = False,
    only_existing: bool = False,
) -> bool:
    """Creates the views where one is missing or its text has changed.

    Dialects that the rendered queries are not tested in (`render.DIALECTS`) get none.

    Args:
        pipeline: Its destination holds the tables.
        time_zone: IANA name of the time zone of the days in ``node_health_daily``; as configured if
            None.
        replace: Create all of them: in Postgres the views of a renamed table still read that one.
        only_existing: Create none in a dataset that has no views.

    Returns:
        Whether any view was created.

    Raises:
        LockedError: Another process kept the DuckDB file open.
        NotLoadedError: A table does not exist.
        DestinationError: The database rejected a view; the tables are unchanged.
    """
    require_file(duckdb_file(pipeline))
    zone = time_zone or configured_time_zone()
    connect: Callable[[], Any] = pipeline.destination_client
    with connect_when_unlocked(connect, LOCK_TIMEOUT) as client:
        if not isinstance(client, SqlJobClientBase):
            return False
        found = {
            name: {column.lower() for column in columns}
            for name, columns in client.get_storage_tables(
                [*VIEWS, _MARKER, NODE_HEALTH_HISTORY.name]
            )
        }
        if only_existing and not found.get(_MARKER):
            return False
        has_history = bool(found.get(NODE_HEALTH_HISTORY.name))
        version = f"v_{_version(zone, has_history)}"
        dialect = pipeline.destination.capabilities().sqlglot_dialect
        current = not replace and version in found.get(_MARKER, ())
        if current and all(map(found.get, VIEWS)) and _are_views(client.sql_client, dialect):
            return False
        from komos_source.analytics.render import DIALECTS, Options, render

        if dialect not in DIALECTS:
            return False
        names = _bare if dialect == "duckdb" else client.sql_client.make_qualified_table_name
        failures = []
        for view in VIEWS:
            text = render(view, dialect, Options(time_zone=zone, history=has_history), names)
            try:
                _create(client.sql_client, view, text)
            except DestinationError as error:
                failures.append(error)
        if dialect in COMMENT_DIALECTS:
            _write_comments(client)
        if failures:
            raise failures[0]
        _create(client.sql_client, _MARKER, f"SELECT 1 AS {version}")
    return True


def _are_views(client: SqlClientBase[Any], dialect: str | None) -> bool:
    """Returns whether no table has the name of a view; not asked where catalogues differ."""
    if dialect not in {"duckdb", "postgres"}:
        return True
    rows = client.execute_sql(
        "SELECT table_name FROM information_schema.views WHERE table_schema = %s",
        client.dataset_name,
    )
    return {*VIEWS} <= {name for (name,) in rows or ()}


def _write_comments(client: SqlJobClientBase) -> None:
    """Describes tables and views in the database, as far as they exist."""
    described = [
        ("TABLE", table.name, table.description, {c.name: c.description for c in table.columns})
        for table in tables.TABLES
    ] + [("VIEW", view, view_description(view), column_descriptions(view)) for view in VIEWS]
    stored = dict(client.get_storage_tables([name for _, name, *_ in described]))
    for kind, name, description, columns in described:
        present = {column: text for column, text in columns.items() if column in stored[name]}
        if present:
            # Only its owner may comment on a table of Postgres; a load needs less.
            with contextlib.suppress(DatabaseException):
                write_comments(client.sql_client, kind, name, description, present)


def _bare(table: str) -> str:
    """Returns the name alone: DuckDB finds it beside the view, however the file is attached.

    It refuses qualified names in a view where file and dataset have the same name (DuckDB 2.0).
    """
    return table


def _create(client: SqlClientBase[Any], view: str, text: str) -> None:
    name = client.make_qualified_table_name(view)
    try:
        try:
            client.execute_sql(f"CREATE OR REPLACE VIEW {name} AS\n{text}")
        except DatabaseException:  # Postgres replaces no view by one with other columns
            client.execute_sql(f"DROP VIEW IF EXISTS {name}")
            client.execute_sql(f"CREATE VIEW {name} AS\n{text}")
    except DatabaseUndefinedRelation as error:
        raise NotLoadedError(
            f"the view {view} could not be created: {describe_cause(error)} Load all tables into "
            f"the dataset {client.dataset_name!r} first."
        ) from error
    except DatabaseException as error:
        raise DestinationError(
            f"the view {view} could not be created: {describe_cause(error)}"
        ) from error


def _version(time_zone: str, has_history: bool) -> str:
    """Hashes the files that views and comments are made from, and what else they depend on."""
    digest = hashlib.sha256(f"{time_zone} {has_history}".encode())
    queries = sorted(_ANALYTICS.glob("*.sql"))
    for file in (*queries, _ANALYTICS / "render.py", Path(tables.__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
