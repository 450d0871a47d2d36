"""The spool on real databases: SQLite in a file and Postgres."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from komos_source.exceptions import ConfigurationError, SpoolError
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool


@pytest.fixture(params=["sqlite", "postgres"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spool]:
    url = (
        f"sqlite:///{tmp_path / 'spool.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    opened = Spool(url)
    yield opened
    opened.close()


def delivery(text: str) -> Delivery:
    body = text.encode()
    return Delivery("task-run.log", "run", body, hashlib.sha256(body).hexdigest())


def bodies(spool: Spool) -> list[str]:
    return [each.body.decode() for each in spool.take()]


def test_deliveries_come_out_in_the_order_they_went_in(spool: Spool) -> None:
    for batch in (["b", "a"], ["c"]):
        spool.put([delivery(text) for text in batch])
    assert bodies(spool) == ["b", "a", "c"]
    (first, *_) = spool.take()
    assert (first.event, first.run_id) == ("task-run.log", "run")
    assert first.received_at.utcoffset() is not None


def test_the_same_delivery_twice_is_one_row(spool: Spool) -> None:
    assert spool.put([delivery("a"), delivery("a"), delivery("b")]) == 2
    assert spool.put([delivery("b"), delivery("c")]) == 1
    assert spool.put([delivery("a")]) == 0
    assert bodies(spool) == ["a", "b", "c"]


def test_a_delivery_stays_until_it_is_deleted(spool: Spool) -> None:
    spool.put([delivery(str(number)) for number in range(1200)])
    taken = spool.take()
    assert len(taken) == spool.waiting() == 1200
    spool.delete([each.number for each in taken[:1100]])
    assert bodies(spool) == [str(number) for number in range(1100, 1200)]
    spool.delete([each.number for each in taken])
    assert spool.last_number() == 0
    spool.put([delivery("7")])
    assert bodies(spool) == ["7"]


def test_a_batch_is_bounded_by_number_and_by_size(spool: Spool) -> None:
    spool.put([delivery(letter * 10) for letter in "abcdef"])
    assert len(spool.take(deliveries=4)) == 4
    assert len(spool.take(size=35)) == 3
    assert len(spool.take(size=30)) == 3
    assert len(spool.take(size=1)) == 1


def test_receivers_at_once_lose_and_double_nothing(spool: Spool) -> None:
    start = threading.Barrier(8)

    def receive(worker: int) -> int:
        start.wait()
        # Every delivery comes to two of the eight.
        return sum(
            spool.put([delivery(f"{worker % 4}-{number}-{part}") for part in range(3)])
            for number in range(20)
        )

    with ThreadPoolExecutor(8) as pool:
        new = sum(pool.map(receive, range(8)))
    assert new == 240
    assert len(set(bodies(spool))) == len(bodies(spool)) == 240


def test_receivers_that_get_the_same_in_another_order_do_not_block_each_other(spool: Spool) -> None:
    for number in range(4):
        batch = [delivery(f"{number}-{part}") for part in range(100)]
        start = threading.Barrier(8)

        def receive(
            worker: int, batch: list[Delivery] = batch, start: threading.Barrier = start
        ) -> int:
            mine = random.Random(worker).sample(batch, 60)
            start.wait()
            return spool.put(mine)

        with ThreadPoolExecutor(8) as pool:
            new = sum(pool.map(receive, range(8)))
        there = spool.take()
        assert new == len(there) == len({each.body for each in there})
        spool.delete([each.number for each in there])


def test_a_spool_opened_by_many_at_once_is_made_once(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path / 'spool.db'}", postgres_url):
        with ThreadPoolExecutor(8) as pool:
            for opened in pool.map(Spool, [url] * 8):
                opened.put([delivery("a")])
                assert opened.waiting() == 1
                opened.close()


def test_a_commit_in_sqlite_is_on_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    spool = Spool(f"sqlite:///{tmp_path / 'spool.db'}")
    with spool._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    spool.put([delivery("a")])
    with sqlite3.connect(tmp_path / "spool.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert bodies(spool) == ["a"]
        writer.execute("ROLLBACK")


def test_a_database_out_of_reach_is_an_error_that_says_which_and_keeps_the_password(
    tmp_path: Path,
) -> None:
    with pytest.raises(SpoolError, match=r"missing.*cannot be used"):
        Spool(f"sqlite:///{tmp_path}/missing/spool.db")
    with pytest.raises(SpoolError) as caught:
        Spool("postgresql+psycopg://komos:hunter2@127.0.0.1:1/komos")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "hunter2", "nodb://komos:hunter2@db/x", "sqlite://", "sqlite:///:memory:"]
)
def test_a_url_that_cannot_be_a_spool_is_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SOURCES__KOMOS__SPOOL|name a file") as caught:
        Spool(url)
    assert "hunter2" not in str(caught.value)
