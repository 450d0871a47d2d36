"""The lock of a Postgres dataset: held for a whole load, by one load at a time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlalchemy

from komos_source.destinations.locking import lock_dataset
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import LockedError
from komos_source.loading import history
from komos_source.shard import Shard
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

HOLD = """
import sys
from komos_source.destinations.locking import lock_dataset
from komos_source.destinations.pipeline import make_pipeline
with lock_dataset(make_pipeline("postgres", pipelines_dir=sys.argv[1]), 0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def postgres(home: LoadEnv, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> LoadEnv:
    """Loads go to Postgres."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    return home


def make(home: LoadEnv, name: str = "elsewhere", **options: Any) -> dlt.Pipeline:
    """A pipeline that another machine might load with: it has a working directory of its own."""
    return make_pipeline(
        "postgres", pipeline_name=name, pipelines_dir=str(home.directory / name), **options
    )


def test_load_while_another_machine_loads_the_dataset_names_it_and_changes_nothing(
    postgres: LoadEnv, world: FakeKomos, postgres_url: str
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    with lock_dataset(make(postgres), 0), pytest.raises(LockedError) as caught:
        postgres.load(destination="postgres", lock_timeout=0.1)
    holder = f"komos load on {socket.gethostname()}, process {os.getpid()}"
    assert str(caught.value) == (
        f"another load into the dataset 'komos' is running ({holder}); waited 0 s. "
        "Wait for it to end."
    )
    assert not sqlalchemy.inspect(sqlalchemy.create_engine(postgres_url)).has_schema("komos")
    assert postgres.load(destination="postgres", lock_timeout=0.1).entries_loaded == 1


def test_lock_of_a_dataset_is_held_until_the_load_has_written_its_history(
    postgres: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    write, refused = history.write, []

    def write_while_another_load_tries(*arguments: Any, **options: Any) -> None:
        with pytest.raises(LockedError) as caught, lock_dataset(make(postgres), 0):
            pass
        refused.append(caught.value)
        write(*arguments, **options)

    monkeypatch.setattr(history, "write", write_while_another_load_tries)
    assert postgres.load(destination="postgres").entries_loaded == 1
    assert len(refused) == 1


@pytest.mark.parametrize(
    "options", [{"shard": Shard(0, 2)}, {"dataset_name": "another"}], ids=["shard", "dataset"]
)
def test_lock_of_a_dataset_lets_shards_and_other_datasets_load(
    postgres: LoadEnv, options: dict[str, Any]
) -> None:
    with lock_dataset(make(postgres), 0), lock_dataset(make(postgres, "other", **options), 0):
        pass


def test_lock_of_a_shard_excludes_the_same_shard_of_another_pipeline(postgres: LoadEnv) -> None:
    first, second = (make(postgres, name, shard=Shard(1, 2)) for name in ("first", "second"))
    with lock_dataset(first, 0), pytest.raises(LockedError), lock_dataset(second, 0):
        pass


def test_exclusive_lock_of_a_dataset_excludes_loads_of_all_shards(postgres: LoadEnv) -> None:
    shard, pruned = make(postgres, "shard", shard=Shard(1, 2)), make(postgres, "pruned")
    alone = lock_dataset(pruned, 0, exclusive=True)
    with alone, pytest.raises(LockedError) as caught, lock_dataset(shard, 0):
        pass
    assert f"(komos maintenance on {socket.gethostname()}, process " in str(caught.value)
    alone = lock_dataset(pruned, 0, exclusive=True)
    with lock_dataset(shard, 0), pytest.raises(LockedError), alone:
        pass


def test_lock_of_a_dataset_is_released_when_its_process_is_killed(
    postgres: LoadEnv, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError), lock_dataset(make(postgres), 0):
            pass
        process.kill()
    with lock_dataset(make(postgres), 30):
        pass


def test_lock_of_a_dataset_outlasts_the_time_limits_of_the_server(
    postgres: LoadEnv, postgres_url: str
) -> None:
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = sqlalchemy.make_url(postgres_url).database
        for limit in ("idle_in_transaction_session_timeout", "transaction_timeout"):
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {limit} = 100")
    with lock_dataset(make(postgres), 0):
        with engine.connect() as connection:
            connection.exec_driver_sql("SET transaction_timeout = 0; SELECT pg_sleep(0.3)")
        with pytest.raises(LockedError), lock_dataset(make(postgres, "other"), 0):
            pass
    engine.dispose()


def test_lock_of_a_dataset_keeps_no_row_from_being_vacuumed(
    postgres: LoadEnv, postgres_url: str
) -> None:
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = sqlalchemy.make_url(postgres_url).database
        repeatable = "SET default_transaction_isolation = 'repeatable read'"
        connection.exec_driver_sql(f"ALTER DATABASE {name} {repeatable}")
        with lock_dataset(make(postgres), 0):
            held = connection.exec_driver_sql(
                "SELECT backend_xmin, backend_xid FROM pg_stat_activity "
                "WHERE application_name LIKE 'komos load on %%' AND datname = current_database()"
            ).all()
    engine.dispose()
    assert held == [(None, None)]
