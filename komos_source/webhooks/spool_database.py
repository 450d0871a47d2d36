"""The database of a spool: durable transactions, limited in time; no secret in a message."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from komos_source.exceptions import ConfigurationError, SpoolError
from komos_source.webhooks.settings import SPOOL_TIMEOUT
from komos_source.webhooks.spool_tables import METADATA

_OPENED_FILE = "komos_source.opened_file"
"""Key in a connection's `info` of the SQLite file that it has open, as `_OpenedFile`."""
_VACUUM_PAGES = 20_000
"""Free pages that SQLite gives back to the disk at once: more than one drained batch leaves."""
_WAL_BYTES = 4 * 2**20
_SECRET_OPTION = re.compile("pass|secret|token|key|cred", re.IGNORECASE)


class ConcurrentPutError(SpoolError):
    """Another process stored the same rows at the same time."""


class SpoolDatabase:
    """The database behind one SQLAlchemy URL, with the tables of a spool.

    Args:
        url: Such as ``sqlite:///komos_spool.db`` or ``postgresql+psycopg://…``.

    Attributes:
        name: The URL without user, password and options, for messages.

    Raises:
        ConfigurationError: The URL cannot be used, or the driver of the database is not installed.
        SpoolError: The database cannot be reached, or refuses the tables.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
            sqlite = parsed.get_backend_name() == "sqlite"
            if sqlite and parsed.database in {None, "", ":memory:"}:
                raise ConfigurationError(
                    "a spool in memory is lost when its process ends: name a file"
                )
            self._engine = _create_engine(parsed)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            # The message of a URL that cannot be parsed repeats it, password and all.
            reason = error if isinstance(error, ImportError) else type(error).__name__
            raise ConfigurationError(
                f"the spool's URL cannot be used ({reason}): SOURCES__KOMOS__SPOOL takes an "
                "SQLAlchemy URL such as sqlite:///komos_spool.db or "
                "postgresql+psycopg://user@host/db"
            ) from None
        self.name = _shown_url(parsed)
        self._secrets = _secrets_in(parsed)
        path = (parsed.database or "").removeprefix("file:")
        self._directory = os.path.dirname(os.path.abspath(path)) if sqlite else ""
        with self._errors():
            self._create_tables()

    def _create_tables(self) -> None:
        for table in METADATA.sorted_tables:
            try:
                table.create(self._engine, checkfirst=True)
            except SQLAlchemyError:
                # Another process may have created it in the meantime.
                if not sa.inspect(self._engine).has_table(table.name):
                    raise

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def free_disk(self) -> int | None:
        """Bytes that are free on the disk of a SQLite file; None for other databases.

        Raises:
            SpoolError: The disk cannot be read.
        """
        try:
            return shutil.disk_usage(self._directory).free if self._directory else None
        except OSError as error:
            raise SpoolError(f"the spool {self.name} cannot be used: {error}") from None

    def free_pages(self) -> None:
        """Gives the space of deleted rows in a SQLite file back to the disk."""
        if self._directory:
            # What fails here (a receiver holds the lock) is done after the next batch.
            with contextlib.suppress(sqlite3.Error), self._engine.connect() as connection:
                # `execute` takes one step only, which is one page; `executescript` takes all.
                cursor: Any = connection.connection.cursor()
                cursor.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction; after it, the database file must still be the one that was opened.

        Raises:
            ConcurrentPutError: Another process stored the same rows at the same time.
            SpoolError: The database cannot be used.
        """
        with self._errors():
            with self._engine.begin() as connection:
                opened: _OpenedFile | None = connection.info.get(_OPENED_FILE)
                yield connection
            if opened and opened != _OpenedFile.at(opened.path):
                # What this connection commits is lost with it: start again with the file by name.
                self._engine.dispose()
                self._create_tables()
                raise SpoolError(
                    f"the file of the spool {self.name} was removed or replaced while it was in "
                    "use: deliveries in the removed file are lost unless it is restored"
                )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises errors of the database as `SpoolError`, without secrets."""
        try:
            yield
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError) and _is_concurrent_put(error):
                raise ConcurrentPutError(self._message(error)) from None
            raise SpoolError(self._message(error)) from None

    def _message(self, error: SQLAlchemyError) -> str:
        # `orig` is the database's own message; SQLAlchemy's would repeat bodies as parameters.
        reason = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return f"the spool {self.name} cannot be used: {reason}"


def _is_concurrent_put(error: DBAPIError) -> bool:
    """Whether another process stored the same rows at the same time.

    Either they exist by now, or each process waited for a row of the other's: a deadlock, which
    databases report by class 40 of SQLSTATE (ISO 9075: "transaction rollback").
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, IntegrityError) or state.startswith("40")


def _create_engine(url: sa.URL) -> sa.Engine:
    """Creates an engine; raises what SQLAlchemy raises."""
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not (url.database or "").startswith("file:"):
        # For the owner only; SQLite gives its other files the same mode.
        with contextlib.suppress(OSError):
            os.close(os.open(url.database or "", os.O_CREAT | os.O_RDWR, 0o600))
    engine = sa.create_engine(url, connect_args=_connect_args(url), pool_pre_ping=not sqlite)
    if sqlite:
        sa.event.listen(engine, "connect", _set_up_sqlite)
    elif url.get_backend_name() == "postgresql":
        sa.event.listen(engine, "begin", _limit_statements)
    return engine


class _OpenedFile(NamedTuple):
    """A database file: its path and which file that was when it was opened."""

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> _OpenedFile | None:
        """The file that a path leads to now; None if there is none."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return cls(path, status.st_dev, status.st_ino)


def _shown_url(url: sa.URL) -> str:
    """Scheme, host and database: user, password and options may be secrets."""
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.drivername}://{host}{port}/{url.database or ''}"


def _secrets_in(url: sa.URL) -> list[str]:
    """Values of a URL that no message may repeat."""
    options = (str(value) for name, value in url.query.items() if _SECRET_OPTION.search(name))
    return [value for value in (url.password, *options) if value]


def _connect_args(url: sa.URL) -> dict[str, Any]:
    """Limits on the time that a connection may take to open, or to notice that its peer is gone."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": SPOOL_TIMEOUT}
    if url.get_driver_name() in {"psycopg", "psycopg2"}:
        limits = {
            "connect_timeout": int(SPOOL_TIMEOUT),
            "keepalives_idle": int(SPOOL_TIMEOUT),
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": int(2 * SPOOL_TIMEOUT * 1000),
        }
        options: dict[str, Any] = {n: value for n, value in limits.items() if n not in url.query}
        if url.get_driver_name() == "psycopg":
            # A statement that is prepared belongs to a session, which poolers give to others.
            options["prepare_threshold"] = None
        return options
    return {}


def _limit_statements(connection: sa.Connection) -> None:
    """Limits a statement, waiting for locks included, on Postgres.

    For each transaction: behind a connection pooler, a setting of the session would reach others.
    """
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(SPOOL_TIMEOUT * 1000)}")


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """Readers beside a writer (WAL); a commit is on the disk when it returns (FULL)."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in a new file only
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info[_OPENED_FILE] = _OpenedFile.at(path)


@retry(
    # SQLite's own wait for locks does not cover the change of the journal mode.
    retry=retry_if_exception(
        lambda error: getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    ),
    wait=wait_random(0.01, 0.05),
    stop=stop_after_delay(SPOOL_TIMEOUT),
    reraise=True,
)
def _use_wal(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
