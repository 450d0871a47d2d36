"""A durable queue of deliveries in a database: receivers write it, loads drain it.

SQLite in a file by default; any database that SQLAlchemy supports for several receivers behind a
load balancer. Once `put` has returned, its deliveries survive any crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from komos_source.exceptions import SpoolError
from komos_source.redaction.config import configured_redactor
from komos_source.redaction.redactor import Redactor
from komos_source.timestamps import as_utc
from komos_source.webhooks.redact_deliveries import redact_deliveries
from komos_source.webhooks.refused_deliveries import RefusedDeliveries
from komos_source.webhooks.settings import DRAIN_BYTES, DRAIN_DELIVERIES, SPOOL_RESERVE
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool_database import ConcurrentPutError, SpoolDatabase
from komos_source.webhooks.spool_tables import (
    DELIVERIES,
    FAILED,
    OWNER,
    Spooled,
    SpoolStats,
    spooled,
)

_KEYS_PER_STATEMENT = 500


class Spool:
    """The queue behind one SQLAlchemy URL. Safe to use from several threads and processes.

    Args:
        url: Such as ``sqlite:///komos_spool.db`` or ``postgresql+psycopg://…``.
        reserve: Bytes to leave free on the disk of a SQLite spool.
        redactor: Redacts deliveries before they are stored; by the configured rules if None.

    Attributes:
        name: The URL without user, password and options, for messages.
        refused: Deliveries that the destination refused.

    Raises:
        ConfigurationError: The URL or a rule of redaction cannot be used, or the driver of the
            database is not installed.
        SpoolError: The database cannot be reached, or refuses the tables.
    """

    def __init__(
        self, url: str, *, reserve: int = SPOOL_RESERVE, redactor: Redactor | None = None
    ) -> None:
        self._redactor = configured_redactor() if redactor is None else redactor
        self._reserve = reserve
        self._database = SpoolDatabase(url)
        self.name = self._database.name
        self.refused = RefusedDeliveries(self._database.transaction)

    def put(self, deliveries: Sequence[Delivery]) -> int:
        """Stores deliveries, redacted; those that the spool holds already are skipped.

        One commit, unless another receiver stores some of the same at the same time.

        Returns:
            How many were new.

        Raises:
            SpoolError: Not all of them are stored: they have to be sent again.
        """
        by_digest = {each.digest: each for each in redact_deliveries(deliveries, self._redactor)}
        self.check_free_space()
        try:
            return self._put_new(by_digest)
        except ConcurrentPutError:
            # A commit for each: a process that holds one row cannot be part of a deadlock.
            return sum(self._put_one(delivery) for delivery in by_digest.values())

    def _put_one(self, delivery: Delivery) -> int:
        try:
            return self._put_new({delivery.digest: delivery})
        except ConcurrentPutError:
            return 0  # another receiver has stored it

    def _put_new(self, by_digest: Mapping[str, Delivery]) -> int:
        now = datetime.now(UTC)
        with self._database.transaction() as connection:
            known: set[str] = set()
            for some in _chunks(list(by_digest)):
                query = sa.select(DELIVERIES.c.digest).where(DELIVERIES.c.digest.in_(some))
                known.update(connection.scalars(query))
            new = [
                {
                    "digest": digest,
                    "event": delivery.event,
                    "run_id": delivery.run_id,
                    "received_at": now,
                    "size": len(delivery.body),
                    "body": delivery.body,
                }
                for digest, delivery in by_digest.items()
                if digest not in known
            ]
            if new:
                connection.execute(sa.insert(DELIVERIES), new)
        return len(new)

    def take(self, deliveries: int = DRAIN_DELIVERIES, size: int = DRAIN_BYTES) -> list[Spooled]:
        """The oldest deliveries, in order; they stay until they are deleted.

        Args:
            deliveries: Their number at most.
            size: The total bytes of their bodies at most; a single larger one is returned alone.

        Raises:
            SpoolError: The spool cannot be read.
        """
        table = DELIVERIES.c
        sizes = sa.select(table.number, table.size).order_by(table.number).limit(deliveries)
        with self._database.transaction() as connection:
            numbers: list[int] = []
            for number, each in connection.execute(sizes):
                size -= each
                if numbers and size < 0:
                    break
                numbers.append(number)
            if not numbers:
                return []
            rows = connection.execute(
                sa.select(table.number, table.event, table.run_id, table.received_at, table.body)
                .where(table.number.between(numbers[0], numbers[-1]))
                .order_by(table.number)
            )
            return [spooled(row) for row in rows]

    def delete(self, numbers: Sequence[int]) -> None:
        """Deletes deliveries for good; SQLite gives their space back to the disk.

        Raises:
            SpoolError: The spool cannot be written; all of them are left.
        """
        with self._database.transaction() as connection:
            for some in _chunks(numbers):
                connection.execute(sa.delete(DELIVERIES).where(DELIVERIES.c.number.in_(some)))
        self._database.free_pages()

    def claim(self, owner: str) -> str | None:
        """Records which dataset this spool belongs to, unless that has been recorded before.

        Args:
            owner: Destination and dataset, such as ``duckdb/komos``.

        Returns:
            The recorded owner if it is another one, else None.

        Raises:
            SpoolError: The spool cannot be read or written.
        """
        if (recorded := self._owner()) is None:
            with (
                contextlib.suppress(ConcurrentPutError),
                self._database.transaction() as connection,
            ):
                connection.execute(sa.insert(OWNER).values(id=1, owner=owner))
            recorded = self._owner()
        return None if recorded == owner else recorded

    def _owner(self) -> str | None:
        with self._database.transaction() as connection:
            owner: str | None = connection.scalar(sa.select(OWNER.c.owner))
            return owner

    def last_number(self) -> int:
        """Number of the newest delivery that waits; 0 if none does.

        Raises:
            SpoolError: The spool cannot be read.
        """
        with self._database.transaction() as connection:
            return connection.scalar(sa.select(sa.func.max(DELIVERIES.c.number))) or 0

    def waiting(self) -> int:
        """How many deliveries wait.

        Raises:
            SpoolError: The spool cannot be read.
        """
        return self.stats().waiting

    def stats(self) -> SpoolStats:
        """How full the spool is.

        Raises:
            SpoolError: The spool cannot be read.
        """
        count = sa.func.count(), sa.func.coalesce(sa.func.sum(DELIVERIES.c.size), 0)
        oldest = sa.select(DELIVERIES.c.received_at).order_by(DELIVERIES.c.number).limit(1)
        with self._database.transaction() as connection:
            waiting, size = connection.execute(sa.select(*count).select_from(DELIVERIES)).one()
            first = connection.scalar(oldest)
            set_aside = connection.scalar(sa.select(sa.func.count()).select_from(FAILED)) or 0
        return SpoolStats(waiting, int(size), as_utc(first) if first else None, set_aside)

    def check_free_space(self) -> None:
        """Checks that the disk of a SQLite spool has more room than the reserve.

        Raises:
            SpoolError: It has not: a load would not have the room to drain the spool.
        """
        if not self._reserve or (free := self._database.free_disk()) is None:
            return
        if free < self._reserve:
            raise SpoolError(
                f"the disk of the spool {self.name} has {free / 2**20:,.0f} MiB free, less than "
                f"the reserve of {self._reserve / 2**20:,.0f} MiB that a load needs to drain it: "
                "free disk space, run a load, or set SOURCES__KOMOS__SPOOL_RESERVE (bytes)"
            )

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _KEYS_PER_STATEMENT):
        yield items[start : start + _KEYS_PER_STATEMENT]
