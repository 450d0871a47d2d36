"""Postgres behind a pooler of sessions, one for each transaction, as destination and spool."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
import sqlalchemy

from komos_source.destinations.locking import lock_dataset
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import DestinationError, KomosError, LockedError
from komos_source.shard import Shard
from komos_source.testing import FakeKomos
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool
from tests.conftest import LoadEnv, expected

ROWS = "SELECT run_id, id FROM komos.task_run_logs"


def rows(postgres_url: str, sql: str = ROWS) -> list[Any]:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(sql)]
    engine.dispose()
    return found


def test_loads_through_a_pooler_are_exact(
    home: LoadEnv,
    world: FakeKomos,
    pooler_url: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", pooler_url)
    runs = [world.add_run(world.add_task(f"Task {number}")) for number in range(4)]
    for number in range(3):
        for run_id in runs:
            world.append(run_id, *({"message": f"late {number}"} for _ in range(50)))
        home.load(destination="postgres")
        assert sorted(rows(postgres_url)) == sorted(expected(world))
    assert rows(postgres_url, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == []


def test_lock_of_a_dataset_through_a_pooler_excludes_other_loads_and_is_released(
    home: LoadEnv, world: FakeKomos, pooler_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", pooler_url)
    first, second = (
        make_pipeline("postgres", pipeline_name=name, pipelines_dir=str(home.directory / name))
        for name in ("first", "second")
    )
    with (
        lock_dataset(first, 0),
        pytest.raises(LockedError, match="komos load on"),
        lock_dataset(second, 0),
    ):
        pass
    with lock_dataset(second, 30):  # the pooler notices the end of a client a moment later
        pass


def test_shards_load_side_by_side_through_a_pooler(
    home: LoadEnv,
    world: FakeKomos,
    pooler_url: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", pooler_url)
    for number in range(8):
        world.append(world.add_run(world.add_task(f"Task {number}")), {}, {})
    first, other = Shard(0, 2), Shard(1, 2)
    held = make_pipeline("postgres", pipelines_dir=str(home.directory / "held"), shard=other)
    with lock_dataset(held, 0):
        loaded = home.load(destination="postgres", shard=first).entries_loaded
    loaded += home.load(destination="postgres", shard=other).entries_loaded
    assert loaded == 16
    assert sorted(rows(postgres_url)) == sorted(expected(world))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_spool_behind_a_pooler_stores_and_returns_deliveries(pooler_url: str, driver: str) -> None:
    url = pooler_url.replace("postgresql:", f"postgresql+{driver}:")
    errors: list[KomosError] = []

    def use(number: int) -> None:
        try:
            with contextlib.closing(Spool(url)) as spool:
                for each in range(20):
                    spool.put([Delivery("task-run.log", "", b"{}", f"{number}-{each}")])
                    spool.stats()
        except KomosError as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with contextlib.closing(Spool(url)) as spool:
        assert len(spool.take()) == 80


def test_load_through_a_pooler_that_refuses_options_names_the_remedy(
    home: LoadEnv, strict_pooler_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", strict_pooler_url)
    with pytest.raises(DestinationError, match="use the direct address of the database, or set"):
        home.load(destination="postgres")
