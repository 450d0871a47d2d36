"""Deliveries of a spool that the destination refused, kept in a table beside the queue."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from komos_source.settings import QUIET_AFTER, QUIET_SHARE
from komos_source.text import storable_text
from komos_source.timestamps import as_utc
from komos_source.webhooks.spool_tables import DELIVERIES, FAILED, Spooled, spooled


class RefusedDeliveries:
    """The table ``komos_deliveries_failed`` of a spool.

    Args:
        transaction: Opens a transaction in the database of the spool.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._transaction = transaction

    def add(self, number: int, reason: str) -> None:
        """Moves a delivery that the destination refused to the table ``komos_deliveries_failed``.

        Raises:
            SpoolError: The spool cannot be written; the delivery is left.
        """
        columns, now = DELIVERIES.c, datetime.now(UTC)
        waiting = columns.number == number
        reason = storable_text(reason)
        row = sa.select(*columns, *map(sa.literal, (now, now, reason))).where(waiting)
        digest = sa.select(columns.digest).where(waiting).scalar_subquery()
        with self._transaction() as connection:
            # One that has been set aside already is in that table only.
            again = sa.update(FAILED).where(FAILED.c.number == number)
            connection.execute(again.values(tried_at=now, reason=reason))
            connection.execute(sa.delete(FAILED).where(FAILED.c.digest == digest))
            names = [*columns.keys(), "failed_at", "tried_at", "reason"]
            connection.execute(sa.insert(FAILED).from_select(names, row))
            connection.execute(sa.delete(DELIVERIES).where(waiting))

    def take(self, deliveries: int, now: datetime) -> list[Spooled]:
        """Deliveries to try again: first those not tried for longest; they stay until deleted.

        After `QUIET_AFTER` a delivery is tried ever more rarely.

        Raises:
            SpoolError: The spool cannot be read.
        """
        table = FAILED.c
        times = sa.select(table.number, table.failed_at, table.tried_at)
        with self._transaction() as connection:
            due = [
                number
                for number, failed_at, tried_at in connection.execute(
                    times.order_by(table.tried_at)
                )
                if _is_due(now - as_utc(failed_at), now - as_utc(tried_at))
            ]
            rows = connection.execute(
                sa.select(table.number, table.event, table.run_id, table.received_at, table.body)
                .where(table.number.in_(due[:deliveries]))
                .order_by(table.number)
            )
            return [spooled(row) for row in rows]

    def delete(self, number: int) -> None:
        """Deletes a delivery that was set aside, for good.

        Raises:
            SpoolError: The spool cannot be written; it is left.
        """
        with self._transaction() as connection:
            connection.execute(sa.delete(FAILED).where(FAILED.c.number == number))

    def since(self, moment: datetime) -> tuple[int, str]:
        """How many of the deliveries set aside since then still are, and why the last one is.

        Raises:
            SpoolError: The spool cannot be read.
        """
        since = FAILED.c.failed_at >= moment
        last = sa.select(FAILED.c.reason).where(since).order_by(FAILED.c.failed_at.desc())
        with self._transaction() as connection:
            number = connection.scalar(sa.select(sa.func.count()).where(since)) or 0
            return number, connection.scalar(last.limit(1)) or ""


def _is_due(failing_for: timedelta, since_last_try: timedelta) -> bool:
    lately = failing_for < timedelta(seconds=QUIET_AFTER)
    clock_set_back = since_last_try < timedelta()
    return lately or clock_set_back or since_last_try * QUIET_SHARE >= failing_for
