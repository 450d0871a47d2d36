"""Draining a real spool, with a destination that is a list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.exceptions import DestinationError
from komos_source.metrics import LoadMetrics
from komos_source.webhooks import Spool
from komos_source.webhooks import drain as drain_module
from komos_source.webhooks.drain import drain
from komos_source.webhooks.settings import MAX_REFUSED
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool_tables import Spooled


class Destination:
    """Takes batches of deliveries, unless one of them is refused."""

    def __init__(self, refused: set[str] = frozenset(), takes: int = 10**6) -> None:  # type: ignore[assignment] # an empty default
        self.refused = refused
        self.takes = takes
        self.calls = 0
        self.rows: list[str] = []

    def run(self, source: Any, metrics: LoadMetrics) -> int:
        texts = [each.body.decode() for each in source]
        self.calls += 1
        if self.calls > self.takes:
            raise DestinationError("the destination is away")
        if bad := self.refused.intersection(texts):
            raise DestinationError(f"value too long: {bad}")
        self.rows += texts
        return len(texts)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    def source(deliveries: Sequence[Spooled], *_: Any) -> Sequence[Spooled]:
        return deliveries

    monkeypatch.setattr(drain_module, "_source", source)
    monkeypatch.setattr(drain_module, "source_of", lambda *_: [])
    opened = Spool(f"sqlite:///{tmp_path / 'spool.db'}", reserve=0)
    bodies = [str(number).encode() for number in range(21)]
    opened.put([Delivery("e", "", body, hashlib.sha256(body).hexdigest()) for body in bodies])
    yield opened
    opened.close()


def read(deliveries: Any) -> Any:
    return deliveries


def set_aside(spool: Spool) -> dict[str, str]:
    with spool._database._engine.connect() as connection:
        query = "SELECT body, reason FROM komos_deliveries_failed ORDER BY number"
        return {body.decode(): reason for body, reason in connection.exec_driver_sql(query)}


@pytest.mark.parametrize("refused", [set(), {"0"}, {"7", "8", "20"}, set(map(str, range(9)))])
def test_drain_loads_all_but_the_refused_deliveries_in_order(
    spool: Spool, refused: set[str]
) -> None:
    destination = Destination(refused)
    drained = drain(spool, destination.run, read)
    assert destination.rows == [str(n) for n in range(21) if str(n) not in refused]
    assert (drained.deliveries, drained.rows) == (21 - len(refused),) * 2
    assert (spool.waiting(), spool.stats().set_aside) == (0, len(refused))
    assert set_aside(spool).keys() == refused
    assert all("value too long" in reason for reason in set_aside(spool).values())
    assert len(drained.problems) == bool(refused)
    assert all(f"refused {len(refused)} webhook" in problem for problem in drained.problems)


def test_drain_loads_deliveries_set_aside_once_the_destination_accepts_them(spool: Spool) -> None:
    destination = Destination({"3", "8"})
    drain(spool, destination.run, read)
    destination.refused = {"8"}
    drained = drain(spool, destination.run, read)
    assert (drained.deliveries, destination.rows[-1]) == (1, "3")
    assert set_aside(spool).keys() == {"8"}
    assert "refused 1 webhook deliveries" in drained.problems[0]
    destination.refused = set()
    assert drain(spool, destination.run, read).problems == []
    assert sorted(destination.rows, key=int) == [str(number) for number in range(21)]
    assert spool.stats().set_aside == 0


def test_drain_reports_a_refused_delivery_for_a_day_and_tries_it_ever_more_rarely(
    spool: Spool,
) -> None:
    destination = Destination({"3"})
    drain(spool, destination.run, read)
    day_ago = datetime.now(UTC) - timedelta(hours=24)
    with spool._database._engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE komos_deliveries_failed SET failed_at = ?", (day_ago.replace(tzinfo=None),)
        )
    calls = destination.calls
    assert drain(spool, destination.run, read).problems == []
    assert destination.calls == calls
    later = datetime.now(UTC) + timedelta(hours=2)
    assert [each.body for each in spool.refused.take(10, later)] == [b"3"]


def test_drain_tries_a_refused_delivery_again_if_the_clock_was_set_back(spool: Spool) -> None:
    drain(spool, Destination({"3"}).run, read)
    with spool._database._engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE komos_deliveries_failed SET failed_at = '2025-01-01 00:00', "
            "tried_at = '2125-01-01 00:00'"
        )
    drained = drain(spool, Destination(set()).run, read)
    assert (drained.deliveries, spool.stats().set_aside) == (1, 0)


def test_drain_of_nothing_but_refused_deliveries_that_were_set_aside_ends_no_load(
    spool: Spool,
) -> None:
    refused = {str(number) for number in range(15)}
    destination = Destination(refused)
    with pytest.raises(DestinationError):
        drain(spool, destination.run, read)
    drained = drain(spool, destination.run, read)
    assert (drained.deliveries, spool.stats().set_aside) == (6, 15)
    assert "refused 15 webhook" in drain(spool, destination.run, read).problems[0]


def test_drain_reports_a_refused_delivery_that_has_waited_for_days(spool: Spool) -> None:
    with spool._database._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE komos_deliveries SET received_at = '2025-01-01 00:00'")
    drained = drain(spool, Destination({"3"}).run, read)
    assert "refused 1 webhook" in drained.problems[0]


def test_drain_ends_if_the_destination_refuses_everything(spool: Spool) -> None:
    destination = Destination(set(map(str, range(21))))
    with pytest.raises(DestinationError, match="value too long"):
        drain(spool, destination.run, read)
    assert (spool.waiting(), spool.stats().set_aside) == (21 - MAX_REFUSED, MAX_REFUSED)
    destination.refused = set()
    drain(spool, destination.run, read)
    assert sorted(destination.rows, key=int) == [str(number) for number in range(21)]


def test_drain_keeps_all_deliveries_if_the_destination_takes_nothing(spool: Spool) -> None:
    destination = Destination(takes=0)
    with pytest.raises(DestinationError, match="away"):
        drain(spool, destination.run, read)
    assert (spool.waiting(), destination.calls) == (21, 2)


@pytest.mark.parametrize("takes", range(1, 12))
def test_drain_sets_nothing_else_aside_if_the_destination_goes_away(
    spool: Spool, takes: int
) -> None:
    destination = Destination({"3"}, takes)
    with pytest.raises(DestinationError, match="away"):
        drain(spool, destination.run, read)
    failed = [*set_aside(spool)]
    waiting = [each.body.decode() for each in spool.take()]
    assert failed in ([], ["3"])
    assert destination.rows + failed + waiting != []
    assert sorted(destination.rows + failed + waiting, key=int) == [str(n) for n in range(21)]


def test_drain_leaves_the_spool_of_another_owner_alone(spool: Spool) -> None:
    destination = Destination()
    assert spool.claim("duckdb/komos") is None
    drained = drain(spool, destination.run, read, "duckdb/scratch")
    assert "belongs to duckdb/komos" in drained.problems[0]
    assert (spool.waiting(), destination.rows) == (21, [])
    drain(spool, destination.run, read, "duckdb/komos")
    assert spool.waiting() == 0
