"""dlt's DuckLake destination, with one attached lake for all connections, and the direct merge.

dlt attaches the lake again for each of a load's some thirty connections, and each time the whole
catalog is read. Here, connections that are open at the same time share one DuckDB with the lake
attached; a load keeps a connection open from its beginning to its end.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import dlt
import duckdb
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.destinations.sql_client import raise_open_connection_error
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from komos_source.destinations.capabilities import CachedCapabilities
from komos_source.destinations.loading_path import with_direct_merge


class _Owner(DuckLakeSqlClient):
    def close_connection(self) -> None:
        """Detaches the lake. dlt calls ``fetchone()`` of a relation, which DuckDB 2.0 lacks."""
        if self._conn:
            with contextlib.suppress(duckdb.Error):  # there may be no transaction
                self._conn.execute("ROLLBACK")
            ((current,),) = self._conn.execute("SELECT current_database()").fetchall()
            if current == self.credentials.ducklake_name:
                name = self.capabilities.escape_identifier(current)
                self._conn.execute(f"USE memory; DETACH {name}")
        DuckDbSqlClient.close_connection(self)


@dataclass
class _Lake:
    """An attached lake: the client that attached it, and the number of connections that use it."""

    owner: _Owner
    users: int = 0


class _SqlClient(DuckLakeSqlClient):
    _lakes: ClassVar[dict[str, _Lake]] = {}
    """Attached lakes by the statement that attaches them."""
    _lock: ClassVar[threading.RLock] = threading.RLock()

    @raise_open_connection_error
    def open_connection(self) -> Any:
        if self._conn:
            return self._conn
        with self._lock:
            if self.attach_statement not in self._lakes:
                self._lakes[self.attach_statement] = _Lake(_attached(self))
            lake = self._lakes[self.attach_statement]
            self._conn = lake.owner.native_connection.cursor()
            lake.users += 1
        try:
            name = self.capabilities.escape_identifier(self.credentials.ducklake_name)
            self._conn.execute(f"USE {name}")
            with contextlib.suppress(duckdb.Error):  # the first load creates the dataset
                self._conn.execute(f"SET search_path = '{self.fully_qualified_dataset_name()}'")
        except BaseException:
            self.close_connection()
            raise
        return self._conn

    def close_connection(self) -> None:
        if not self._conn:
            return
        self._conn.close()
        self._conn = None  # type: ignore[assignment] # as in the clients of dlt
        with self._lock:
            lake = self._lakes[self.attach_statement]
            lake.users -= 1
            if not lake.users:
                del self._lakes[self.attach_statement]
                lake.owner.close_connection()


@retry(
    retry=retry_if_exception_type(DestinationConnectionError),
    stop=stop_after_attempt(5),
    wait=wait_random(0.1, 1),
    reraise=True,
)
def _attached(client: DuckLakeSqlClient) -> _Owner:
    """Returns a client with the lake attached.

    The first connection creates the catalog; of several processes that do so at the same time all
    but one fail, and retry.
    """
    owner = _Owner(*_arguments(client))
    owner.open_connection()
    return owner


def _arguments(client: DuckLakeSqlClient) -> tuple[Any, ...]:
    """Returns the arguments that a client was created with."""
    return (
        client.dataset_name,
        client.staging_dataset_name,
        client.credentials,
        client.capabilities,
        client.override_data_path,
        client.automatic_migration,
    )


class _Client(DuckLakeClient):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sql_client = _SqlClient(*_arguments(self.sql_client))


class ducklake(CachedCapabilities, dlt.destinations.ducklake):  # noqa: N801 - dlt reads the destination's name off the class
    """DuckLake, as `dlt.destinations.ducklake`."""

    @property
    def client_class(self) -> Any:
        """The class of dlt's job client."""
        return with_direct_merge(_Client)
