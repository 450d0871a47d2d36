"""Connections to the database of a spool: durable, limited in time; no secret in their names."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from typing import Any, NamedTuple

import sqlalchemy as sa
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from komos_source.webhooks.settings import SPOOL_TIMEOUT

OPENED_FILE = "komos_source.opened_file"
"""Key in a connection's `info` of the SQLite file that it has open, as `OpenedFile`."""
_WAL_BYTES = 4 * 2**20
_SECRET_OPTION = re.compile("pass|secret|token|key|cred", re.IGNORECASE)


def create_engine(url: sa.URL) -> sa.Engine:
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


class OpenedFile(NamedTuple):
    """A database file: its path and which file that was when it was opened."""

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> OpenedFile | None:
        """The file that a path leads to now; None if there is none."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return cls(path, status.st_dev, status.st_ino)


def shown_url(url: sa.URL) -> str:
    """Scheme, host and database: user, password and options may be secrets."""
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.drivername}://{host}{port}/{url.database or ''}"


def secrets_in(url: sa.URL) -> list[str]:
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
    record.info[OPENED_FILE] = OpenedFile.at(path)


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
