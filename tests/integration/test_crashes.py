"""Loads that are killed or interrupted at any moment; the next load is exact.

Loads killed at named steps, into each destination, are in test_destinations.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from datetime import timedelta

import pytest

from komos_source.testing import FakeKomos
from komos_source.testing.world import iso
from tests import warm
from tests.conftest import THOROUGH, LoadEnv, expected
from tests.integration import kill_at


def start(home: LoadEnv, *command: str) -> warm.Started:
    environment = {
        "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
        "DLT_DATA_DIR": str(home.directory),
    }
    return warm.start(command, home.directory, os.environ | environment)


@pytest.fixture
def loaded(home: LoadEnv, world: FakeKomos) -> LoadEnv:
    """A database after one load, and an API that has changed since in every way."""
    tasks = [world.add_task(f"Task {number}") for number in range(3)]
    now = world.clock.now()
    runs = [world.add_run(task, created_at=now - timedelta(hours=2)) for task in tasks * 3]
    for run in runs:
        world.append(run, *({"timestamp": iso(now + timedelta(seconds=n))} for n in range(50)))
    for run in runs[:3]:
        world.finish(run, at=now - timedelta(hours=1))
    home.load()
    for run in runs[3:6]:
        world.append(run, {"timestamp": iso(now + timedelta(seconds=20)), "message": "late"})
        world.finish(run, at=now - timedelta(hours=1))
    world.append(runs[8], *({"timestamp": iso(now + timedelta(hours=1))} for _ in range(50)))
    newcomer = world.add_run(tasks[0], created_at=now - timedelta(hours=3))
    world.append(newcomer, *({"timestamp": iso(now - timedelta(days=9))} for _ in range(500)))
    world.finish(newcomer, at=now - timedelta(hours=2))
    return home


def load_once_more(home: LoadEnv, *, keep_directory: bool) -> None:
    if not keep_directory:
        shutil.rmtree(home.directory / "pipelines", ignore_errors=True)
    assert home.load().exit_code == 0


@pytest.mark.parametrize("part", ["schemas", "state.json", "load"])
def test_load_with_a_damaged_working_directory_succeeds(
    loaded: LoadEnv, world: FakeKomos, part: str
) -> None:
    path = loaded.directory / "pipelines" / "komos_task_run_logs" / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_text("{")
    load_once_more(loaded, keep_directory=True)
    assert loaded.table() == expected(world)


@pytest.mark.slow
@pytest.mark.parametrize("direct_merge", ["true", "false"])
def test_load_killed_at_random_moments_is_exact_after_the_next_load(
    loaded: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch, direct_merge: str
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__DIRECT_MERGE", direct_merge)
    moments = random.Random(5)
    _, error = start(loaded, kill_at.__file__, "0", "load").communicate()
    events = int(error.split()[-1])
    killed = 0
    while killed < (20 if THOROUGH else 5):
        run = world.run_ids()[6 + killed % 3]  # those that still run
        world.append(run, {"message": f"before kill {killed}"}, {"timestamp": None})
        process = start(loaded, kill_at.__file__, str(moments.randint(1, events)), "load")
        _, error = process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, error
            continue  # it had ended before
        killed += 1
        load_once_more(loaded, keep_directory=killed % 2 == 0)
        assert loaded.table() == expected(world)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_load_interrupted_by_a_signal_ends_without_traceback_and_the_next_is_exact(
    loaded: LoadEnv, world: FakeKomos, signum: signal.Signals
) -> None:
    loaded.emulator.faults.latency = 0.5
    loaded.emulator.requests.clear()
    process = start(loaded, "-m", "komos_source", "load")
    while not loaded.emulator.count("/runs") and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signum)
    output, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert "no data was lost" in error
    assert "Traceback" not in output + error
    loaded.emulator.faults.latency = 0.0
    load_once_more(loaded, keep_directory=True)
    assert loaded.table() == expected(world)
