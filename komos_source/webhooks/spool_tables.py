"""The tables of a spool, and their rows as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from komos_source.timestamps import as_utc

METADATA = sa.MetaData()


def _content() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


# SQLite numbers rows by itself where the key is an INTEGER.
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
DELIVERIES = sa.Table(
    "komos_deliveries",
    METADATA,
    sa.Column("number", _NUMBER, primary_key=True),
    *_content(),
    sa.Index("komos_deliveries_size", "size"),  # counting reads this instead of all bodies
    sqlite_autoincrement=True,  # no number is used twice
)
FAILED = sa.Table(
    "komos_deliveries_failed",
    METADATA,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
    *_content(),
    sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
OWNER = sa.Table(
    "komos_spool_owner",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A delivery in the spool.

    Attributes:
        number: Its position in the queue.
        event: Its type.
        run_id: The run it is about; empty if it names none.
        received_at: When it was received, by the receiver's clock.
        body: JSON in UTF-8.
    """

    number: int
    event: str
    run_id: str
    received_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """How full a spool is.

    Attributes:
        waiting: Number of deliveries.
        bytes: Total size of their bodies.
        oldest: When the oldest was received; None if the spool is empty.
        set_aside: Number of deliveries that the destination refused, which are not among them.
    """

    waiting: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    set_aside: int = 0


def spooled(row: Any) -> Spooled:
    """A row of number, event, run id, time of receipt and body."""
    number, event, run_id, received_at, body = row
    # SQLite keeps no offset; everything is stored in UTC.
    return Spooled(number, event, run_id, as_utc(received_at), body)
