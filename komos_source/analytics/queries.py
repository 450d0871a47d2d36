"""Runs a query of this package in the destination and returns a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd

from komos_source.analytics.database import SqlSource, fetch
from komos_source.analytics.render import Options, filters, reads_history, render
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import NotLoadedError, UsageError


def query(
    source: SqlSource,
    name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str | None = None,
    recent_days: int | None = None,
    new_since: datetime | None = None,
    levels: Sequence[str] | None = None,
    task_id: str | None = None,
    node_id: str | None = None,
    run_id: str | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Runs a query over a period; without arguments the result is that of the view of its name.

    A filter that the query does not have is refused: the error names those that it has. The views
    need not exist. The connection is closed before this returns; a DuckDB file that
    another process has open is waited for, up to a minute.

    Args:
        source: What `open_database` returns, a dlt pipeline, or anything else with its
            ``sql_client()``.
        name: Name of the query, which is that of its view or file.
        since: Leaves out runs that started before.
        until: Leaves out runs that started at this time or later.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.
        recent_days: Number of days before the newest run that ``new_in_window`` calls recent; 2 if
            None.
        new_since: ``new_in_window`` marks templates that nothing wrote before this time, however
            `since` is set; `recent_days` before the newest run if None.
        levels: Only templates or entries of these levels. Masking is what takes time in a large
            table, and most entries are of the level info.
        task_id: Only this task.
        node_id: Only this node; ``(no node)`` is that of entries without one.
        run_id: Only this run.
        limit: Maximum number of entries (of a run; of each node and level) or steps.

    Returns:
        The rows of the query; docs/tables.md describes the columns of each view. Times are UTC.

    Raises:
        UsageError: There is no such query, or it has no such filter.
        LockedError: Another process kept the DuckDB file open.
        DestinationError: Nothing has been loaded yet, or the destination cannot be read.
    """
    given: dict[str, Any] = {
        "since": since,
        "until": until,
        "recent_days": recent_days,
        "new_since": new_since,
        "levels": levels or None,
        "task_id": task_id,
        "node_id": node_id,
        "run_id": run_id,
        "limit": limit,
    }
    given = {option: value for option, value in given.items() if value is not None}
    known = filters(name)
    if unknown := [option for option in given if option not in known]:
        raise UsageError(
            f"the query {name} has no filter {unknown[0]}: it has {', '.join(known)}. Leave it "
            "out, or select from the rows."
        )
    options = Options(time_zone=time_zone or configured_time_zone(), history=True, **given)

    def text(client: Any) -> str:
        dialect = client.capabilities.sqlglot_dialect
        return render(name, dialect, options, client.make_qualified_table_name)

    try:
        columns, rows = fetch(source, text)
    except NotLoadedError:
        if not reads_history(name):
            raise
        options = replace(options, history=False)  # nothing was ever pruned
        columns, rows = fetch(source, text)
    found = pd.DataFrame(rows, columns=columns)
    if "day" in found:
        found["day"] = pd.to_datetime(found["day"])
    return found
