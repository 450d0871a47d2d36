"""The spool on real databases: SQLite in a file and Postgres."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from komos_source.exceptions import ConfigurationError, SpoolError
from komos_source.webhooks import Spool, spool_database
from komos_source.webhooks.signature import Delivery


def open_spool(url: str) -> Spool:
    return Spool(url, reserve=0)


@pytest.fixture(params=["sqlite", "postgres"])
def spool_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'spool.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def spool(spool_url: str) -> Iterator[Spool]:
    opened = open_spool(spool_url)
    yield opened
    opened.close()


def delivery(text: str) -> Delivery:
    body = text.encode()
    return Delivery("task-run.log", "run", body, hashlib.sha256(body).hexdigest())


def bodies(spool: Spool) -> list[str]:
    return [each.body.decode() for each in spool.take()]


def test_take_returns_deliveries_in_the_order_of_put(spool: Spool) -> None:
    for batch in (["b", "a"], ["c"]):
        spool.put([delivery(text) for text in batch])
    assert bodies(spool) == ["b", "a", "c"]
    (first, *_) = spool.take()
    assert (first.event, first.run_id) == ("task-run.log", "run")


def test_spool_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    umask = os.umask(0o022)
    try:
        spool = open_spool(f"sqlite:///{path}")
        spool.put([delivery("a")])
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(umask)
    spool.close()
    assert modes == dict.fromkeys(["spool.db", "spool.db-shm", "spool.db-wal"], 0o600)


def test_received_at_is_utc_whatever_the_time_zone_of_the_database(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        name = sa.make_url(postgres_url).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    engine.dispose()
    spool = open_spool(postgres_url)
    spool.put([delivery("a")])
    oldest = spool.stats().oldest
    assert oldest is not None
    for received_at in (oldest, spool.take()[0].received_at):
        assert abs(datetime.now(UTC) - received_at) < timedelta(minutes=5)
    spool.close()


def test_put_stores_the_same_delivery_once(spool: Spool) -> None:
    assert spool.put([delivery("a"), delivery("a"), delivery("b")]) == 2
    assert spool.put([delivery("b"), delivery("c")]) == 1
    assert spool.put([delivery("a")]) == 0
    assert bodies(spool) == ["a", "b", "c"]


def test_delete_removes_only_the_given_deliveries(spool: Spool) -> None:
    spool.put([delivery(str(number)) for number in range(1200)])
    taken = spool.take()
    assert len(taken) == spool.waiting() == 1200
    spool.delete([each.number for each in taken[:1100]])
    assert bodies(spool) == [str(number) for number in range(1100, 1200)]
    spool.delete([each.number for each in taken])
    assert spool.last_number() == 0
    spool.put([delivery("7")])
    assert bodies(spool) == ["7"]


def test_take_is_bounded_by_number_and_by_size(spool: Spool) -> None:
    spool.put([delivery(letter * 10) for letter in "abcdef"])
    assert len(spool.take(deliveries=4)) == 4
    assert len(spool.take(size=35)) == 3
    assert len(spool.take(size=30)) == 3
    assert len(spool.take(size=1)) == 1


def test_stats_count_deliveries_and_bytes(spool: Spool) -> None:
    assert (spool.stats().waiting, spool.stats().bytes, spool.stats().oldest) == (0, 0, None)
    spool.put([delivery("a"), delivery("bcd")])
    assert (spool.stats().waiting, spool.stats().bytes) == (2, 4)


def test_set_aside_moves_a_delivery_with_its_reason(spool: Spool, spool_url: str) -> None:
    engine = sa.create_engine(spool_url)
    for reason in ("too long", "still too long"):  # the second time it has been sent again
        spool.put([delivery("a"), delivery("b")])
        spool.refused.add(spool.take()[0].number, reason)
        assert bodies(spool) == ["b"]
        with engine.connect() as connection:
            query = "SELECT body, reason FROM komos_deliveries_failed"
            (row,) = connection.exec_driver_sql(query).all()
        assert (bytes(row[0]), row[1]) == (b"a", reason)
        spool.delete([each.number for each in spool.take()])
    engine.dispose()


def test_claim_records_the_first_owner(spool: Spool, spool_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        owners = [f"duckdb/{number}" for number in range(4)]
        others = list(pool.map(spool.claim, owners))
    first = owners[others.index(None)]
    assert [other for other in others if other is not None] == [first] * 3
    again = open_spool(spool_url)
    assert again.claim(first) is None
    assert again.claim("postgres/komos") == first
    again.close()


def test_put_by_several_receivers_at_once_stores_each_delivery_once(spool: Spool) -> None:
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


def test_put_of_the_same_deliveries_in_another_order_does_not_deadlock(spool: Spool) -> None:
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


def test_spool_opened_by_many_at_once_is_created_once(tmp_path: Path, postgres_url: str) -> None:
    urls = [f"sqlite:///{tmp_path / f'spool-{number}.db'}" for number in range(10)]
    for url in (*urls, postgres_url):
        start = threading.Barrier(8)

        def opened(url: str, start: threading.Barrier = start) -> Spool:
            start.wait()
            return open_spool(url)

        with ThreadPoolExecutor(8) as pool:
            for spool in pool.map(opened, [url] * 8):
                spool.put([delivery("a")])
                assert spool.waiting() == 1
                spool.close()


def test_opening_waits_for_a_lock_while_it_changes_the_journal_mode(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spool.db", isolation_level=None) as other:
        other.execute("CREATE TABLE other (number INTEGER)")
        other.execute("BEGIN IMMEDIATE")  # SQLite does not wait for this one
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_spool, f"sqlite:///{tmp_path / 'spool.db'}")
            with pytest.raises(TimeoutError):
                opening.result(timeout=0.5)
            other.execute("ROLLBACK")
            opening.result(timeout=30).close()


def test_sqlite_commits_are_on_disk_and_readers_do_not_wait_for_writers(tmp_path: Path) -> None:
    spool = open_spool(f"sqlite:///{tmp_path / 'spool.db'}")
    with spool._database._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    spool.put([delivery("a")])
    with sqlite3.connect(tmp_path / "spool.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert bodies(spool) == ["a"]
        writer.execute("ROLLBACK")
    spool.close()


def test_delete_releases_disk_space_of_sqlite(tmp_path: Path) -> None:
    spool = open_spool(f"sqlite:///{tmp_path / 'spool.db'}")
    for batch in range(10):
        spool.put([delivery(f"{batch}-{number}" + "x" * 100_000) for number in range(30)])

    def disk() -> float:
        return sum(file.stat().st_size for file in tmp_path.glob("spool.db*")) / 2**20

    assert disk() > 25
    while taken := spool.take(size=10 * 2**20):
        spool.delete([each.number for each in taken])
    assert disk() < 12  # the write-ahead log of one batch is still there
    spool.close()
    assert disk() < 1


def test_put_leaves_the_reserve_of_disk_free(tmp_path: Path) -> None:
    spool = Spool(f"sqlite:///{tmp_path / 'spool.db'}", reserve=10**15)
    with pytest.raises(SpoolError, match="SOURCES__KOMOS__SPOOL_RESERVE"):
        spool.put([delivery("a")])
    assert spool.take() == []
    spool.close()


@pytest.mark.parametrize("replace", [False, True])
def test_spool_detects_at_every_use_that_its_file_was_removed_or_replaced(
    tmp_path: Path, replace: bool
) -> None:
    spool = open_spool(f"sqlite:///{tmp_path / 'spool.db'}")
    uses = (
        lambda: spool.put([delivery("b")]),
        spool.take,
        spool.last_number,
        spool.stats,
        lambda: spool.delete([1]),
    )
    for use in uses:
        spool.put([delivery("a")])
        for file in tmp_path.glob("spool.db*"):
            file.unlink()
        if replace:
            open_spool(f"sqlite:///{tmp_path / 'spool.db'}").close()
        with pytest.raises(SpoolError, match="removed or replaced"):
            use()
        assert bodies(spool) == []
    spool.close()


def test_locked_postgres_raises_within_the_timeout(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_database, "SPOOL_TIMEOUT", 0.2)
    spool = open_spool(postgres_url)
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE komos_deliveries IN ACCESS EXCLUSIVE MODE")
        for use in (lambda: spool.put([delivery("a")]), spool.take, spool.stats):
            with pytest.raises(SpoolError, match="statement timeout"):
                use()
    engine.dispose()
    assert spool.put([delivery("a")]) == 1
    spool.close()


def test_unreachable_database_is_an_error_with_its_name_and_without_secrets(
    tmp_path: Path,
) -> None:
    with pytest.raises(SpoolError, match=r"missing.*cannot be used"):
        open_spool(f"sqlite:///{tmp_path}/missing/spool.db")
    for url in (
        "postgresql+psycopg://komos:hunter2@127.0.0.1:1/komos",
        "postgresql+psycopg://komos@127.0.0.1:1/komos?password=hunter2",
        "postgresql+psycopg://komos@127.0.0.1:1/komos?hunter2=hunter2",
    ):
        with pytest.raises(SpoolError) as caught:
            open_spool(url)
        assert "postgresql+psycopg://127.0.0.1:1/komos cannot be used" in str(caught.value)
        assert "hunter2" not in str(caught.value).replace('option "hunter2"', "")


def test_name_shows_scheme_host_and_database_only(tmp_path: Path) -> None:
    file = tmp_path / "spool.db"
    spool = open_spool(f"sqlite:///{file}?timeout=hunter2"[: -len("hunter2")] + "5")
    assert spool.name == f"sqlite:///{file}"
    spool.close()


@pytest.mark.parametrize(
    "url", ["", "hunter2", "nodb://komos:hunter2@db/x", "sqlite://", "sqlite:///:memory:"]
)
def test_unusable_url_is_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SOURCES__KOMOS__SPOOL|name a file") as caught:
        Spool(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_error_of_the_spool_is_one_line(driver: str) -> None:
    with pytest.raises(SpoolError) as caught:
        Spool(f"postgresql+{driver}://komos@localhost:9/komos")
    assert "refused" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
