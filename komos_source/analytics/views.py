"""The queries of `komos_source.analytics` as views in the destination, for any tool to see.

Asked after each load, so it imports nothing heavy until a view has to be created whose text is not
shipped, in ``analytics/duckdb_views``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from komos_source.exceptions import DestinationError

VIEWS = ("node_health", "node_health_daily", "message_templates", "node_gaps", "run_outcomes")
_ANALYTICS = Path(__file__).parent
_MARKER = "_dlt_komos_views"
"""A view whose one column is named after the version of the views: what is there and whether it is
as it should be are then one question to the database's catalogue. Whoever passes over dlt's own
tables passes over it too."""


def create_views(pipeline: dlt.Pipeline, time_zone: str) -> bool:
    """Creates the views where one is missing or its text has changed.

    Other databases than those whose texts are tested (`render.DIALECTS`) get none.

    Args:
        pipeline: Its destination holds the tables.
        time_zone: Of the days in ``node_health_daily``.

    Returns:
        Whether there was anything to do.

    Raises:
        DestinationError: The database refused; the tables are as they were.
    """
    version = f"v_{_version(time_zone)}"
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase):
            return False
        found = {
            name: {column.lower() for column in columns}
            for name, columns in client.get_storage_tables([*VIEWS, _MARKER])
        }
        if all(found.get(view) for view in VIEWS) and version in found.get(_MARKER, ()):
            return False
        dialect = pipeline.destination.capabilities().sqlglot_dialect
        texts = _texts(dialect, time_zone, client.sql_client.make_qualified_table_name)
        if not texts:
            return False
        for view, text in texts.items():
            _create(client.sql_client, view, text)
        _create(client.sql_client, _MARKER, f"SELECT 1 AS {version}")
    return True


def _texts(
    dialect: str | None, time_zone: str, qualified: Callable[[str], str]
) -> Mapping[str, str]:
    """The text of each view; none in a dialect whose texts are not tested.

    What most loads ask for is shipped: rendering takes three times as long as creating the views.
    """
    if (dialect, time_zone) == ("duckdb", "UTC"):
        shipped = _ANALYTICS / "duckdb_views"
        return {view: (shipped / f"{view}.sql").read_text("utf-8") for view in VIEWS}
    from komos_source.analytics.render import DIALECTS, Options, render

    if dialect not in DIALECTS:
        return {}
    names = _bare if dialect == "duckdb" else qualified
    return {view: render(view, dialect, Options(time_zone=time_zone), names) for view in VIEWS}


def _bare(table: str) -> str:
    """DuckDB looks bare names up beside the view, by whatever name the file is attached.

    Full names it refuses in a view where file and dataset are both called ``komos`` (DuckDB 2.0).
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
    except DatabaseException as error:
        raise DestinationError(f"the view {view} could not be created: {error}") from error


def _version(time_zone: str) -> str:
    """Changes with the files that the views' texts come from, or are; takes no parsing."""
    digest = hashlib.sha256(time_zone.encode())
    for file in sorted([*_ANALYTICS.rglob("*.sql"), _ANALYTICS / "render.py"]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
