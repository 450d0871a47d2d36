"""Runs a query against whatever holds the tables, and hands back a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

import pandas as pd
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source.analytics.render import Options, render
from komos_source.config import time_zone as configured_time_zone
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.exceptions import DestinationError
from komos_source.settings import LOCK_TIMEOUT


class SqlSource(Protocol):
    """What analyses read through: a dlt pipeline, or whatever else gives dlt's SQL client."""

    def sql_client(self) -> AbstractContextManager[Any]:
        """Connects to the destination while the context lasts."""


def query(
    source: SqlSource,
    name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str | None = None,
    recent_days: int = 2,
    levels: Sequence[str] | None = None,
    task_id: str | None = None,
    node_id: str | None = None,
    run_id: str | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Runs a query of this package over a period; without bounds it gives what its view gives.

    The text of the query is run, so the views need not be there. The connection is closed before
    this returns, and where another process has a DuckDB file open it waits for up to a minute.

    Args:
        source: A dlt pipeline, or whatever else has its ``sql_client()``.
        name: Of the query: the name of its view or file.
        since: Runs that began before are left out.
        until: Runs that began at this time or later are left out.
        time_zone: IANA name of the time zone days are counted in; the configured one if None.
        recent_days: What ``new_in_window`` means by recent.
        levels: Templates of these levels only; masking is what takes time in a large table, and
            most entries are info. Entries likewise.
        task_id: Only this task, where the query lists entries; likewise the next two.
        node_id: Only this node.
        run_id: Only this run.
        limit: At most so many entries (of a run; of each node and level) or steps.

    Raises:
        LockedError: Another process kept the DuckDB file open.
        DestinationError: Nothing has been loaded yet, or the destination cannot be reached.
    """
    zone = time_zone or configured_time_zone()
    options = Options(
        since, until, zone, recent_days, levels or None, task_id, node_id, run_id, limit
    )
    with connect_when_unlocked(source.sql_client, LOCK_TIMEOUT) as client:
        dialect = client.capabilities.sqlglot_dialect
        text = render(name, dialect, options, client.make_qualified_table_name)
        try:
            with client.execute_query(text) as cursor:
                columns = [column[0].lower() for column in cursor.description]
                found = pd.DataFrame(cursor.fetchall(), columns=columns)
        except DatabaseUndefinedRelation as error:
            raise DestinationError(
                f"there are no Komos tables in the dataset {client.dataset_name!r} yet: run "
                "`komos load` first (or `komos demo`, to see made data)"
            ) from error
    if "day" in found:
        found["day"] = pd.to_datetime(found["day"])
    return found
