"""`komos load --follow` next to a receiver: killed processes, an API that keeps changing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy

from komos_source.load_result import LoadResult
from komos_source.loading import follow as following
from komos_source.loading.follow import Backoff
from komos_source.testing import FakeKomos, Webhooks, WorldClock
from komos_source.testing.world import iso
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool
from tests.conftest import THOROUGH, LoadEnv, expected
from tests.receiver import SECRET, Receiver
from tests.stores import make_store

SOAK_SECONDS = float(os.environ.get("KOMOS_SOAK_SECONDS", "25" if THOROUGH else "10"))
KILLS = 5 if THOROUGH else 2
"""Of the receiver and of the follower."""


@pytest.fixture
def world() -> FakeKomos:
    """An emulated organisation with the real time, because deliveries are signed with it."""
    return FakeKomos(WorldClock(datetime.now(UTC), pace=1.0))


class Follower:
    """``komos load --follow`` in a process of its own."""

    def __init__(
        self, home: LoadEnv, log: str, *options: str, pace: float = 1.0, **environment: str
    ) -> None:
        self.log = home.directory / log
        self._command = [sys.executable, "-m", "komos_source", "load", "--follow", str(pace)]
        self._command += options
        self._home = home
        self._environment = environment
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            cwd=self._home.directory,
            env=os.environ
            | {
                "PYTHONUNBUFFERED": "1",
                "SOURCES__KOMOS__API_KEY": self._home.emulator.api_key,
                "SOURCES__KOMOS__BASE_URL": self._home.emulator.base_url,
                "SOURCES__KOMOS__BACKOFF": "0.05",
                "SOURCES__KOMOS__SETTLE_AFTER": "3",
                "DLT_DATA_DIR": str(self._home.directory / "dlt"),
            }
            | self._environment,
            stdout=self.log.open("a"),
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def follow(home: LoadEnv) -> Iterator[Callable[..., Follower]]:
    started: list[Follower] = []

    def start(*options: str, **settings: Any) -> Follower:
        started.append(Follower(home, f"follow_{len(started)}.log", *options, **settings))
        return started[-1]

    yield start
    for follower in started:
        if follower.process.poll() is None:
            follower.kill()


def wait_until(reached: Callable[[], bool], timeout: float = 120.0) -> None:
    """Waits for a condition; the timeout is an upper bound for slow machines."""
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.2)  # a check opens the file, which blocks loads meanwhile


def table_if_free(home: LoadEnv) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The table; empty while a load has the file open, and before the first load."""
    try:
        return home.table()
    except (duckdb.IOException, duckdb.CatalogException):
        return {}


class RunActivity(threading.Thread):
    """Starts and ends runs, also more at once than a window holds; writes entries, some late."""

    def __init__(self, world: FakeKomos) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.random = random.Random(7)
        self.ended = threading.Event()
        self.tasks = [world.add_task(f"Task {number}") for number in range(3)]
        self.open: list[str] = []
        self.closed: list[str] = []
        self.counts: dict[str, int] = {}
        self.visible = world.clock.now()
        """When the API shows all that has been written."""

    def run(self) -> None:
        actions = [(self.write, 60), (self.write_late, 8), (self.start_run, 8), (self.end_run, 6)]
        actions += [(self.write_after_the_end, 3), (self.burst, 1)]
        names, weights = zip(*actions, strict=True)
        while not self.ended.wait(0.03):
            action = self.random.choices(names, weights)[0]
            action()
            self.counts[action.__name__] = self.counts.get(action.__name__, 0) + 1

    def start_run(self, task: str | None = None) -> str:
        run_id = self.world.add_run(task or self.random.choice(self.tasks))
        self.open.append(run_id)
        return run_id

    def write(self, run_id: str | None = None, ago: float = 0.0, after: float = 0.0) -> None:
        run_id = run_id or self.random.choice(self.open or [self.start_run()])
        now = self.world.clock.now()
        self.visible = max(self.visible, now + timedelta(seconds=after))
        for _ in range(self.random.randrange(1, 6)):
            untimed = self.random.random() < 0.02
            moment = now - timedelta(seconds=ago)
            self.world.append(
                run_id,
                {
                    "timestamp": None if untimed else iso(moment),
                    "message": str(self.random.random()),
                },
                persisted_at=now + timedelta(seconds=after),
            )

    def write_late(self) -> None:
        self.write(ago=self.random.uniform(0, 20), after=self.random.uniform(0, 3))

    def end_run(self) -> None:
        if len(self.open) > 3:
            run_id = self.open.pop(self.random.randrange(len(self.open)))
            self.world.finish(run_id, self.random.choice(["COMPLETED", "FAILED", "CANCELLED"]))
            self.closed.append(run_id)

    def write_after_the_end(self) -> None:
        if self.closed:
            self.write(self.random.choice(self.closed), after=self.random.uniform(0, 5))

    def burst(self) -> None:
        task = self.random.choice(self.tasks)
        for _ in range(70):
            run_id = self.start_run(task)
            self.write(run_id)
            self.world.finish(run_id)
            self.open.remove(run_id)
            self.closed.append(run_id)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_follower_and_receiver_killed_repeatedly_load_each_entry_once(
    home: LoadEnv, world: FakeKomos, follow: Callable[..., Follower]
) -> None:
    pick = random.Random(11)
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    activity = RunActivity(world)
    with Receiver(home.directory, spool) as receiver:
        follower = follow(SOURCES__KOMOS__SPOOL=spool)
        with Webhooks(
            world,
            f"{receiver.url}/webhooks/komos",
            SECRET,
            duplicates=0.1,
            disorder=0.2,
        ) as webhooks:
            activity.start()
            for process in pick.sample([receiver, follower] * KILLS, 2 * KILLS):
                time.sleep(SOAK_SECONDS / KILLS / 2)
                process.kill()
                process.start()
            activity.ended.set()
            activity.join()
            wait_until(lambda: world.clock.now() > activity.visible)
            webhooks.flush()
            wait_until(lambda: table_if_free(home) == expected(world))
            assert follower.stop() == 0
        assert receiver.stop() == 0
    table = home.table()
    report = {
        "seconds": SOAK_SECONDS,
        "runs": len(world.run_ids()),
        "entries": len(table),
        "actions": activity.counts,
        "deliveries": webhooks.delivered,
        "failed tries": webhooks.failures,
        "dropped": webhooks.lost,
        "loads": len(follower.lines),
        "gaps": home.rows("SELECT COUNT(*), SUM(runs_recovered) FROM task_run_window_gaps"),
    }
    print(json.dumps(report))  # noqa: T201 - evidence
    assert table == expected(world)
    # A delivery is dropped after six retries: on a slow machine the receiver may be down for all of
    # them. Its entries are then loaded by polling.
    assert webhooks.lost <= webhooks.delivered / 50
    assert home.value("SELECT COUNT(*) FROM task_run_logs WHERE position IS NULL") == 0
    assert "Traceback" not in receiver.log + follower.log.read_text()


def test_follower_between_two_polls_loads_deliveries_at_once(
    home: LoadEnv, world: FakeKomos, follow: Callable[..., Follower]
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    with (
        Receiver(home.directory, spool) as receiver,
        Webhooks(world, f"{receiver.url}/webhooks/komos", SECRET),
    ):
        follower = follow(pace=3600, SOURCES__KOMOS__SPOOL=spool)
        wait_until(lambda: any("logs read" in line for line in follower.lines))
        requests = len(home.emulator.requests)
        world.append(run_id, {}, {})
        wait_until(lambda: len(table_if_free(home)) == 2)
        # The rows are visible before the load ends, which prints the line.
        drained = "webhooks loaded, 2 entries loaded"
        wait_until(lambda: any(drained in line for line in follower.lines))
        assert len(home.emulator.requests) == requests
        assert follower.stop() == 0


def test_follower_during_an_api_outage_reports_it_and_loads_deliveries(
    home: LoadEnv, world: FakeKomos, follow: Callable[..., Follower]
) -> None:
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    with (
        Receiver(home.directory, spool) as receiver,
        Webhooks(world, f"{receiver.url}/webhooks/komos", SECRET) as webhooks,
    ):
        run_id = world.add_run(world.add_task("Orders"))
        world.append(run_id, {})
        webhooks.flush()
        home.emulator.faults.add("/", "status", status=503)
        follower = follow(pace=0.2, SOURCES__KOMOS__SPOOL=spool)
        wait_until(lambda: any("Polling again in" in line for line in follower.lines))
        wait_until(lambda: len(table_if_free(home)) == 1)
        world.append(run_id, {})
        wait_until(lambda: len(table_if_free(home)) == 2)
        home.emulator.faults.clear()
        wait_until(lambda: table_if_free(home) == expected(world))
        assert follower.stop() == 0
    assert "Traceback" not in follower.log.read_text()


def test_follower_during_a_destination_outage_reports_it_and_retries(
    home: LoadEnv, world: FakeKomos, follow: Callable[..., Follower]
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.file.mkdir()  # nothing that DuckDB could open
    follower = follow(pace=0.2)
    wait_until(lambda: sum("Trying again in" in line for line in follower.lines) > 1)
    home.file.rmdir()
    wait_until(lambda: table_if_free(home) == expected(world))
    assert follower.stop() == 0
    assert "Traceback" not in follower.log.read_text()


def test_follower_of_chosen_runs_loads_them_and_leaves_the_spool_alone(
    home: LoadEnv, world: FakeKomos, follow: Callable[..., Follower]
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    spool = Spool(f"sqlite:///{home.directory / 'spool.db'}")
    spool.put([Delivery("task-run.started", world.new_id(), b"{}", "0" * 64)])
    follower = follow("--run-id", run_id, pace=4.0, SOURCES__KOMOS__SPOOL=spool.name)
    wait_until(lambda: len(follower.lines) >= 2)
    assert follower.stop() == 0
    assert home.table() == expected(world)
    assert spool.waiting() == 1
    assert not any("webhooks" in line for line in follower.lines)
    spool.close()


def test_followers_of_two_shards_load_all_runs_and_leave_the_spool_alone(
    home: LoadEnv,
    world: FakeKomos,
    follow: Callable[..., Follower],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    store = make_store("postgres", tmp_path, request)
    spool = Spool(f"sqlite:///{tmp_path / 'spool.db'}")
    spool.put([Delivery("task-run.started", world.new_id(), b"{}", "0" * 64)])
    environment = {"SOURCES__KOMOS__SPOOL": spool.name, **store.environment}
    tasks = [world.add_task(f"Task {number}") for number in range(8)]

    def new_runs() -> None:
        for task in tasks:
            world.append(world.add_run(task), {}, {})

    def complete() -> bool:
        with contextlib.suppress(sqlalchemy.exc.ProgrammingError):  # no table yet
            return store.table() == expected(world)
        return False

    new_runs()
    followers = [
        follow("--destination", "postgres", "--shard", f"{bucket}/2", pace=6.0, **environment)
        for bucket in range(2)
    ]
    wait_until(complete)
    new_runs()
    wait_until(lambda: complete() and all(len(follower.lines) > 1 for follower in followers))
    assert [follower.stop() for follower in followers] == [0, 0]
    assert complete()
    assert spool.waiting() == 1
    for follower in followers:
        assert all("logs read" in line for line in follower.lines), follower.lines
    spool.close()


def test_follower_with_a_refused_key_exits_with_1(
    home: LoadEnv, follow: Callable[..., Follower]
) -> None:
    follower = follow(SOURCES__KOMOS__API_KEY="sk_live_wrong")
    assert follower.process.wait(timeout=60) == 1
    assert "refused the key" in follower.log.read_text()


def receiver_script(port: int, api_key: str, base_url: str, directory: Path) -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for `pipelines/webhook_receiver.py`."""
    script = Path(__file__).parents[2] / "pipelines" / "webhook_receiver.py"
    settings = {
        "SOURCES__KOMOS__API_KEY": api_key,
        "SOURCES__KOMOS__BASE_URL": base_url,
        "SOURCES__KOMOS__WEBHOOK_SECRET": SECRET,
        "DLT_DATA_DIR": str(directory / "dlt"),
    }
    return {
        "args": [sys.executable, str(script), "--port", str(port)],
        "cwd": directory,
        "env": os.environ | settings,
    }


def test_webhook_receiver_script_receives_and_loads_deliveries(
    home: LoadEnv, world: FakeKomos, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run_id = world.add_run(world.add_task("Orders"))
    script = receiver_script(port, home.emulator.api_key, home.emulator.base_url, tmp_path)
    with subprocess.Popen(**script, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: table_if_free(home) == {} and home.file.exists())
        with Webhooks(world, f"http://127.0.0.1:{port}/webhooks/komos", SECRET) as webhooks:
            world.append(run_id, {})
            webhooks.flush()
            wait_until(lambda: len(table_if_free(home)) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_webhook_receiver_script_ends_once_the_receiver_has_ended_even_without_an_api(
    tmp_path: Path,
) -> None:
    nothing_listens = "http://127.0.0.1:9"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        script = receiver_script(port, "sk_live_key", nothing_listens, tmp_path)
        ended = subprocess.run(
            **script, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    assert ended.returncode == 1
    assert "the receiver has ended; see its own message" in ended.stderr


class SignalsWhenFinalized:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_follow_ends_after_a_signal_that_makes_a_load_fail_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(**_: Any) -> LoadResult:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise OSError("as shutil.rmtree may do")

    monkeypatch.setattr(following, "load", load)
    with pytest.raises(KeyboardInterrupt):
        following.follow(0.01, lambda *_: None, lambda _: None, run_ids=["chosen"])


def test_follow_ends_after_a_signal_within_a_finalizer_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads = []
    printed: list[Any] = []

    def load(**_: Any) -> LoadResult:
        loads.append(1)
        SignalsWhenFinalized()
        return LoadResult(0, 0, 0, 0, 0, 0, 0, 0.2)

    monkeypatch.setattr(following, "load", load)
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with pytest.raises(KeyboardInterrupt):
        following.follow(0.01, lambda *_: None, lambda _: None, run_ids=["chosen"])
    assert (len(loads), printed) == (1, [])


def test_backoff_doubles_up_to_a_minute_and_restarts_after_a_success() -> None:
    backoff = Backoff(first=2.0)
    assert [backoff.next() for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    backoff.reset()
    assert backoff.next() == 2.0
    assert Backoff(first=0.1).next() == 1.0


def test_follower_with_a_run_that_cannot_be_polled_loads_deliveries_at_once(
    home: LoadEnv, world: FakeKomos
) -> None:
    home.emulator.faults.add("/logs", "status", status=500)
    world.add_run(world.add_task("Orders"))
    url = f"sqlite:///{home.directory / 'spool.db'}"
    loads: list[bool] = []

    def loaded(result: LoadResult, polled: bool) -> None:
        loads.append(polled)
        if len(loads) == 1:
            assert result.failures
            Spool(url, reserve=0).put([Delivery("task-run.log", "", b"{}", "digest")])
        else:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        following.follow(
            20.0,
            loaded,
            lambda _: None,
            spool=url,
            api_key=home.emulator.api_key,
            base_url=home.emulator.base_url,
            pipelines_dir=str(home.directory / "pipelines"),
            backoff=0.01,
        )
    assert loads == [True, False]
