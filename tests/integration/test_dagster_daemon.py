"""The Dagster daemon with its schedules and sensors; runs and steps are processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv, expected
from tests.dagster_code import DEFINITIONS, INSTANCE_SETTINGS
from tests.integration.test_webhook_loads import Inbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_TIMEOUT = 400.0
"""Seconds; a schedule runs at full minutes, and machines may be busy."""


@contextlib.contextmanager
def daemon(home: LoadEnv, postgres_url: str, **environment: str) -> Iterator[dg.DagsterInstance]:
    """Runs the Dagster daemon with the definitions and instance settings of this repository."""
    dagster_home = home.directory / "dagster_home"
    dagster_home.mkdir()
    shutil.copy(INSTANCE_SETTINGS, dagster_home)
    # The instance is created here first: two processes that create its databases at once break
    # them (alembic reports "more than one head"), and the daemon then runs without definitions.
    with (
        dg.DagsterInstance.from_config(str(dagster_home)) as instance,
        (home.directory / "daemon.log").open("w") as log,
    ):
        running = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("dagster-daemon")),
                *("run", "-f", str(DEFINITIONS)),
            ],
            cwd=home.directory,
            env=os.environ
            | {
                "DAGSTER_HOME": str(dagster_home),
                "DLT_DATA_DIR": str(home.directory / "dlt"),
                "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
                "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
                "DESTINATION__POSTGRES__CREDENTIALS": postgres_url,
                "KOMOS_DESTINATION": "postgres",
                "KOMOS_LOAD_CRON": "* * * * *",
            }
            | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield instance
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
            # pytest shows it if the test fails
            sys.stdout.write((home.directory / "daemon.log").read_text())


def wait_for(read: Callable[[], Any]) -> Any:
    """Returns the first result that is neither false nor empty."""
    deadline = time.monotonic() + _TIMEOUT
    while not (result := read()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return result


def successful_runs(instance: dg.DagsterInstance, **tags: str) -> list[dg.DagsterRun]:
    return instance.get_runs(
        dg.RunsFilter(
            job_name="komos_load",
            statuses=[dg.DagsterRunStatus.SUCCESS],
            tags={f"dagster/{name}": value for name, value in tags.items()},
        )
    )


@pytest.fixture
def table(postgres_url: str) -> Iterator[Callable[[], dict[tuple[str, str], tuple[Any, ...]]]]:
    """Reads `task_run_logs` by run and id; also checks that no entry is there twice."""
    engine = sqlalchemy.create_engine(postgres_url)

    def read() -> dict[tuple[str, str], tuple[Any, ...]]:
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT run_id, id, position, timestamp, level, message, node_id"
                " FROM komos.task_run_logs"
            ).all()
        by_key = {(row[0], row[1]): tuple(row[2:]) for row in rows}
        assert len(by_key) == len(rows), "an entry is there twice"
        return by_key

    yield read
    engine.dispose()


def test_daemon_retries_a_killed_load_and_loads_what_is_scheduled_and_pushed_once(
    home: LoadEnv,
    world: FakeKomos,
    postgres_url: str,
    table: Callable[[], dict[tuple[str, str], tuple[Any, ...]]],
) -> None:
    world.clock.set(datetime.now(UTC))
    task_id = world.add_task("Orders")
    run_ids = [world.add_run(task_id) for _ in range(20)]
    for run_id in run_ids:
        world.append(run_id, *[{"message": "a"}] * 3)
    home.emulator.faults.latency = 1.0
    holder = home.directory / "dlt" / "pipelines" / ".komos_task_run_logs.holder"
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    inbox = Inbox(spool, world)
    with daemon(home, postgres_url, SOURCES__KOMOS__SPOOL=spool) as instance:
        wait_for(holder.exists)
        killed_pid = int(wait_for(holder.read_text))
        wait_for(lambda: home.emulator.count("/logs") > 5)
        os.kill(killed_pid, signal.SIGKILL)
        home.emulator.faults.clear()
        (run,) = wait_for(lambda: successful_runs(instance, schedule_name="komos_load_schedule"))[
            -1:
        ]
        events = {
            entry.dagster_event_type
            for entry in instance.all_logs(run.run_id)
            if entry.is_dagster_event
        }
        assert {dg.DagsterEventType.STEP_UP_FOR_RETRY, dg.DagsterEventType.STEP_RESTARTED} <= events
        assert table() == expected(world)

        def sensor_runs() -> list[dg.DagsterRun]:
            if not inbox.spool.waiting():  # a scheduled load may drain it before the sensor runs
                world.append(run_ids[0], {"message": "pushed"})
                inbox.entries(run_ids[0], -1)
            return successful_runs(instance, sensor_name="webhook_sensor")

        wait_for(sensor_runs)
        wait_for(lambda: table() == expected(world))
    # Dagster stores here the telemetry that it is going to send.
    assert not (home.directory / "dagster_home" / ".telemetry").exists()
    inbox.spool.close()
