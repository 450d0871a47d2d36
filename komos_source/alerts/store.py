"""The table ``komos_alerts`` in the dataset, and the lock that one sender at a time holds.

Plain SQL: a load package takes as long as a load, and would wait for one. The table is created as
dlt creates tables, so that its types are the destination's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from komos_source.alerts.lifecycle import Alert
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import (
    begin_locking,
    connect_when_unlocked,
    lock_file,
    take_advisory_lock,
)
from komos_source.exceptions import DestinationError, LockedError
from komos_source.settings import LOCK_TIMEOUT
from komos_source.tables import KOMOS_ALERTS
from komos_source.timestamps import as_utc

_COLUMNS = [field.name for field in fields(Alert)]


class AlertStore:
    """Reads and writes the alerts of a dataset.

    Args:
        pipeline: Its destination holds the dataset; it must hold loaded tables.
    """

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        self._pipeline = pipeline

    @contextlib.contextmanager
    def lock(self, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Keeps other processes from sending the same; a crash releases it.

        A lock file keeps out processes of this machine, and a lock in Postgres those of all. It is
        not the lock of loads, which may last for minutes.

        Args:
            timeout: Seconds to wait for another process.

        Raises:
            LockedError: Another process held the lock for that long.
            DestinationError: The destination cannot be reached.
        """
        name = f".{self._pipeline.pipeline_name}.{self._pipeline.dataset_name}.alerts.lock"
        file = Path(get_dlt_pipelines_dir()) / name
        with lock_file(file, timeout, lambda: _waited(timeout)), self._lock_in_postgres(timeout):
            yield

    @contextlib.contextmanager
    def _lock_in_postgres(self, timeout: float) -> Iterator[None]:
        if self._pipeline.destination.destination_name != "postgres":
            yield
            return
        label = f"komos_source alerts:{self._pipeline.dataset_name}"
        with translate_errors(self._pipeline), self._pipeline.sql_client() as client:
            begin_locking(client, "alerts")
            if take_advisory_lock(client, label, timeout):
                raise LockedError(_waited(timeout))
            yield

    def read(self) -> list[Alert]:
        """All alerts; none if there is no table yet.

        Raises:
            KomosError: The destination cannot be read.
        """
        columns = ", ".join(_COLUMNS)
        with self._connected() as client:
            table = client.make_qualified_table_name(KOMOS_ALERTS.name)
            try:
                rows = client.execute_sql(f"SELECT {columns} FROM {table}")  # noqa: S608 - constant names
            except DatabaseUndefinedRelation:
                return []
        return [Alert(*map(_in_utc, row)) for row in rows or ()]

    def write(self, alerts: Iterable[Alert], stored: Iterable[Alert]) -> None:
        """Stores alerts that are new or have changed.

        Args:
            alerts: The alerts as they are now.
            stored: What `read` returned.

        Raises:
            KomosError: The destination cannot be written.
        """
        before = {alert.fingerprint: alert for alert in stored}
        changed = [alert for alert in alerts if before.get(alert.fingerprint) != alert]
        if not changed:
            return
        with self._connected() as client:
            table = client.make_qualified_table_name(KOMOS_ALERTS.name)
            insert = (
                f"INSERT INTO {table} ({', '.join(_COLUMNS)}) "  # noqa: S608 - constant names
                f"VALUES ({', '.join(['%s'] * len(_COLUMNS))})"
            )
            values = ", ".join(f"{name} = %s" for name in _COLUMNS[1:])
            update = f"UPDATE {table} SET {values} WHERE fingerprint = %s"  # noqa: S608 - constant names, values are parameters
            for alert in changed:
                key, *rest = astuple(alert)
                if alert.fingerprint in before:
                    client.execute_sql(update, *rest, key)
                else:
                    client.execute_sql(insert, key, *rest)

    def create(self) -> None:
        """Creates the table if it is missing.

        Raises:
            DestinationError: The destination is no database that can be written with SQL.
        """
        with translate_errors(self._pipeline):
            if not isinstance(self._pipeline.destination_client(), SqlJobClientBase):
                raise DestinationError(
                    "alerts need a database that SQL can write to, such as DuckDB or Postgres, to "
                    f"store what has been sent: not {self._pipeline.destination.destination_name}"
                )
            connect: Any = self._pipeline.destination_client
            with connect_when_unlocked(connect, LOCK_TIMEOUT) as client:
                if any(columns for _, columns in client.get_storage_tables([KOMOS_ALERTS.name])):
                    return
                table = dlt.resource([], **KOMOS_ALERTS.hints()).compute_table_schema()
                client.schema.update_table(table)
                columns = [*table["columns"].values()]
                # dlt has no other way to create a table without a load package.
                for statement in client._get_table_update_sql(KOMOS_ALERTS.name, columns, False):  # noqa: SLF001
                    client.sql_client.execute_sql(statement)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        connect: Any = self._pipeline.sql_client
        with (
            translate_errors(self._pipeline),
            connect_when_unlocked(connect, LOCK_TIMEOUT) as client,
        ):
            yield client


def _in_utc(value: Any) -> Any:
    return as_utc(value) if isinstance(value, datetime) else value


def _waited(timeout: float) -> str:
    return (
        f"another process has been sending alerts for this dataset for {timeout:.0f} s: wait for "
        "it to end"
    )
