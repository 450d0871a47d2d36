"""What `notify` promises, with real targets and databases: at least once, and when twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from komos_source.alerts import notify
from komos_source.analytics import Database, open_database
from komos_source.exceptions import DestinationError
from komos_source.testing import FakeKomos
from tests import warm
from tests.alerts.endpoints import HttpEndpoint, http_endpoint, smtp_server
from tests.alerts.send import FINDING, results
from tests.warehouse import pipeline_over, postgres_over

_NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    with http_endpoint() as running:
        yield running


@pytest.fixture(params=["duckdb", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Database:
    """A database with one run of a task without a name, which has failed."""
    world = FakeKomos()
    task = world.add_task("Orders", task_id="t")
    run = world.add_run(task, run_id="r-1", created_at=_NOW - timedelta(hours=1))
    world.append(run, {"nodeId": "login", "level": "error", "message": "Login rejected"})
    world.finish(run, "FAILED", at=_NOW)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    if request.param == "duckdb":
        pipeline_over(world, tmp_path, monkeypatch)
    else:
        postgres_over(world, request.getfixturevalue("postgres_url"), tmp_path, monkeypatch)
    return open_database(request.param)


def rows(database: Database) -> list[tuple[Any, ...]]:
    columns = "kind, subject, notified IS NOT NULL, resolved IS NOT NULL"
    found = database.sql(f"SELECT {columns} FROM komos.komos_alerts")
    return [tuple(row) for row in found.itertuples(index=False)]


def test_finding_reaches_each_target_once_and_once_more_when_resolved(
    database: Database, endpoint: HttpEndpoint
) -> None:
    with smtp_server() as (mail, mails):
        urls = [endpoint.url, mail]
        hours = [(0, [FINDING]), (1, [FINDING]), (2, []), (4, []), (5, [])]
        for hour, found in hours:
            deliveries = notify(database, results(*found), urls, now=_NOW + timedelta(hours=hour))
            assert all(delivery.accepted for delivery in deliveries)
    title = "Komos, Orders: no run for 6 days"
    assert [title for title, _ in endpoint.messages] == [
        title,
        "Komos, resolved: Orders: no run for 6 days",
    ]
    assert "komos logs r-1" in endpoint.messages[0][1]
    first, second = mails
    assert (first["subject"], first["to"]) == (title, "data@example.com")
    assert "usually 4 h" in text(first)
    assert second["subject"].startswith("Komos, resolved")
    assert rows(database) == 2 * [("silent_tasks", "t", True, True)]


def text(mail: Message) -> str:
    return "".join(
        part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        for part in mail.walk()
        if part.get_content_maintype() == "text"
    )


def test_target_that_is_down_gets_the_message_from_the_next_call_and_others_do_not(
    database: Database, endpoint: HttpEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with http_endpoint() as other:
        endpoint.status = 503
        first = notify(database, results(FINDING), [endpoint.url, other.url], now=_NOW)
        assert [str(delivery) for delivery in first] == [
            "json://127.0.0.1 did not accept the message: the next call tries again",
            "json://127.0.0.1: sent 1 finding in one message",
        ]
        endpoint.status = 200
        for hour in (1, 2):
            later = _NOW + timedelta(hours=hour)
            notify(database, results(FINDING), [endpoint.url, other.url], now=later)
        assert (len(endpoint.messages), len(other.messages)) == (2, 1)
    assert "hunter2" not in caplog.text
    stored = database.sql("SELECT * FROM komos.komos_alerts")
    assert "hunter2" not in stored.to_csv()


@pytest.mark.parametrize("database", ["duckdb"], indirect=True)
def test_process_killed_between_sending_and_noting_has_the_next_one_send_again(
    database: Database, endpoint: HttpEndpoint, tmp_path: Path
) -> None:
    destination = database.pipeline.destination.destination_name
    command = ("-m", "tests.alerts.send", destination, endpoint.url)
    killed = warm.run((*command, "die"), tmp_path, os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert len(endpoint.messages) == 1
    for ending in ("sent 1 finding in one message", "nothing new to send"):
        assert warm.run(command, tmp_path, os.environ).stdout.strip().endswith(ending)
    assert len(endpoint.messages) == 2, "twice, and never again"


def test_two_machines_at_once_send_one_message(
    postgres_url: str, endpoint: HttpEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FakeKomos()
    world.add_run(world.add_task("Orders", task_id="t"))
    postgres_over(world, postgres_url, tmp_path, monkeypatch)
    endpoint.wait_for = 2  # the first message is accepted when both have begun
    command = ("-m", "tests.alerts.send", "postgres", endpoint.url, endpoint.barrier)
    processes = [
        warm.start(command, tmp_path, os.environ | {"DLT_DATA_DIR": str(tmp_path / machine)})
        for machine in ("one", "two")
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert sorted(output.strip().rpartition(": ")[2] for output, _ in outputs) == [
        "nothing new to send",
        "sent 1 finding in one message",
    ], outputs
    assert len(endpoint.messages) == 1


def test_alerts_of_a_destination_without_sql_are_refused(
    tmp_path: Path, endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    with pytest.raises(DestinationError, match="alerts need a database that SQL can write to"):
        notify(open_database("filesystem"), results(FINDING), [endpoint.url])
    assert endpoint.messages == []
