"""A durable queue of deliveries in a database: written by the receivers, drained by the loads.

SQLite in a file by default; any database of SQLAlchemy's for several receivers behind a load
balancer. A delivery that `put` has returned for is safe, whatever happens to the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from komos_source.exceptions import ConfigurationError, SpoolError
from komos_source.settings import DRAIN_BYTES, DRAIN_DELIVERIES, SPOOL_BUSY_TIMEOUT
from komos_source.webhooks.signature import Delivery

_KEYS_PER_STATEMENT = 500

_DELIVERIES = sa.Table(
    "komos_deliveries",
    sa.MetaData(),
    # SQLite numbers rows by itself where the key is an INTEGER; AUTOINCREMENT uses none twice.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(36), nullable=False),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A delivery in the spool.

    Attributes:
        number: Its place in the queue.
        event: Its type.
        run_id: The run it is about; empty if it names none.
        received_at: When it came, by this side's clock.
        body: JSON, in UTF-8.
    """

    number: int
    event: str
    run_id: str
    received_at: datetime
    body: bytes


class Spool:
    """The queue behind one SQLAlchemy URL. Safe to use from several threads and processes.

    Args:
        url: Such as ``sqlite:///komos_spool.db`` or ``postgresql+psycopg://…``.

    Raises:
        ConfigurationError: The URL is none, or its driver is not installed.
        SpoolError: The database cannot be reached, or refuses the table.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
            sqlite = parsed.get_backend_name() == "sqlite"
            if sqlite and parsed.database in {None, "", ":memory:"}:
                raise ConfigurationError("a spool in memory would lose what it took: name a file")
            self._engine = sa.create_engine(
                parsed,
                connect_args={"timeout": SPOOL_BUSY_TIMEOUT} if sqlite else {},
                pool_pre_ping=not sqlite,
            )
        except (SQLAlchemyError, ImportError, ValueError) as error:
            # The message of a URL that cannot be parsed repeats it, password and all.
            reason = error if isinstance(error, ImportError) else type(error).__name__
            raise ConfigurationError(
                f"the spool's URL cannot be used ({reason}): SOURCES__KOMOS__SPOOL takes a URL of "
                "SQLAlchemy's, such as sqlite:///komos_spool.db or postgresql+psycopg://user@host/db"
            ) from error
        self.name = parsed.render_as_string(hide_password=True)
        if sqlite:
            sa.event.listen(self._engine, "connect", _make_durable)
        with self._errors_named():
            self._create_table()

    def _create_table(self) -> None:
        try:
            _DELIVERIES.create(self._engine, checkfirst=True)
        except SQLAlchemyError:
            # Another process may have made it since we looked.
            if not sa.inspect(self._engine).has_table(_DELIVERIES.name):
                raise

    def put(self, deliveries: Sequence[Delivery]) -> int:
        """Keeps deliveries; those that are there already are passed over.

        One commit, unless another receiver keeps some of the same at the same time.

        Returns:
            How many were new.

        Raises:
            SpoolError: Not all of them have been kept: they are to be sent again.
        """
        by_digest = {delivery.digest: delivery for delivery in deliveries}
        with self._errors_named():
            try:
                return self._put_new(by_digest)
            except DBAPIError as error:
                if not _others_were_at_it(error):
                    raise
            # A commit for each: who holds one row only, and waits for none, blocks nobody.
            return sum(self._put_one(delivery) for delivery in by_digest.values())

    def _put_one(self, delivery: Delivery) -> int:
        try:
            return self._put_new({delivery.digest: delivery})
        except IntegrityError:
            return 0  # another receiver has kept it since we looked

    def _put_new(self, by_digest: dict[str, Delivery]) -> int:
        now = datetime.now(UTC)
        with self._engine.begin() as connection:
            known: set[str] = set()
            for some in _chunks(list(by_digest)):
                query = sa.select(_DELIVERIES.c.digest).where(_DELIVERIES.c.digest.in_(some))
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
                connection.execute(sa.insert(_DELIVERIES), new)
        return len(new)

    def take(self, deliveries: int = DRAIN_DELIVERIES, size: int = DRAIN_BYTES) -> list[Spooled]:
        """The oldest deliveries, in order; they stay until they are deleted.

        Args:
            deliveries: At most so many.
            size: So many bytes of bodies, or a single one that is larger.

        Raises:
            SpoolError: The spool cannot be read.
        """
        table = _DELIVERIES.c
        sizes = sa.select(table.number, table.size).order_by(table.number).limit(deliveries)
        with self._errors_named(), self._engine.connect() as connection:
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
            return [
                # SQLite keeps no offset; what went in was UTC.
                Spooled(number, event, run_id, received_at.replace(tzinfo=UTC), body)
                for number, event, run_id, received_at, body in rows
            ]

    def delete(self, numbers: Sequence[int]) -> None:
        """Takes deliveries out for good.

        Raises:
            SpoolError: The spool takes nothing now; all of them are left.
        """
        with self._errors_named(), self._engine.begin() as connection:
            for some in _chunks(numbers):
                connection.execute(sa.delete(_DELIVERIES).where(_DELIVERIES.c.number.in_(some)))

    def last_number(self) -> int:
        """Number of the newest delivery that waits; 0 if none does."""
        with self._errors_named(), self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.max(_DELIVERIES.c.number))) or 0

    def waiting(self) -> int:
        """How many deliveries wait."""
        with self._errors_named(), self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(_DELIVERIES)) or 0

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # `orig` is the database's own message; SQLAlchemy's would repeat bodies as parameters.
            reason = getattr(error, "orig", None) or type(error).__name__
            raise SpoolError(f"the spool {self.name} cannot be used: {reason}") from None


def _others_were_at_it(error: DBAPIError) -> bool:
    """Whether another receiver kept some of the same deliveries at the same time.

    Either they were there after all, or each waited for a row of the other's: a deadlock, which
    databases tell by class 40 of SQLSTATE (ISO 9075: "transaction rollback").
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, IntegrityError) or state.startswith("40")


def _make_durable(connection: Any, _: Any) -> None:
    """Readers beside a writer (WAL), and a commit is on the disk when it returns (FULL)."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _KEYS_PER_STATEMENT):
        yield items[start : start + _KEYS_PER_STATEMENT]
