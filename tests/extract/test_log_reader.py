"""Reading logs concurrently, and what each result means for its run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from uuid import UUID

import pytest

from komos_source.api.client import KomosClient
from komos_source.api.models import Answer
from komos_source.decoding.parse import RunLog, parse_log
from komos_source.exceptions import AuthenticationError, NotVisibleError, RequestError
from komos_source.extract import log_reader
from komos_source.extract.cursor import RunCursor
from komos_source.extract.discovery import Target, named_runs
from komos_source.extract.log_reader import failure, log_batch, read_logs, success
from komos_source.extract.state import State, StateChanges, TrackedRun
from komos_source.testing import Emulator, FakeKomos

ALLOWED = 8


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers once `ALLOWED` requests wait; from then on every request."""

    protocol_version = "HTTP/1.1"
    waiting = threading.Barrier(ALLOWED)
    connections: ClassVar[list[Any]] = []

    def setup(self) -> None:
        super().setup()
        self.connections.append(self.client_address)

    def do_GET(self) -> None:
        self.waiting.wait(30)
        run_id = self.path.split("/")[-2]
        body = json.dumps({"runId": run_id, "logEntries": [{"id": f"entry of {run_id}"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


SETTLE_AFTER, GIVE_UP_AFTER = timedelta(minutes=10), timedelta(days=1)


def test_read_logs_with_a_slow_server_uses_all_allowed_requests_and_keeps_connections(
    address: str,
) -> None:
    run_ids = [str(UUID(int=number)) for number in range(3 * ALLOWED)]

    async def read() -> list[str]:
        async with KomosClient("sk_live_test", address, max_concurrency=ALLOWED) as client:
            targets = named_runs(run_ids, State()).targets
            return [
                each.run_id
                async for each in read_logs(client, targets, SETTLE_AFTER, GIVE_UP_AFTER, ALLOWED)
            ]

    Handler.connections.clear()
    assert sorted(asyncio.run(read())) == run_ids
    assert len(Handler.connections) == ALLOWED


RUN = str(UUID(int=1))
NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)


def read_log(entries: int) -> RunLog:
    log = [{"id": str(n), "timestamp": f"2025-10-14T17:00:{n:02}Z"} for n in range(entries)]
    return parse_log(json.dumps({"runId": RUN, "logEntries": log}).encode(), RUN, NOW)


def target(tracked: TrackedRun | None, known_entries: int | None = None) -> Target:
    cursor = None if known_entries is None else RunCursor.of(read_log(known_entries))
    return Target(RUN, tracked and replace(tracked, cursor=cursor), cursor)


@pytest.mark.parametrize(
    ("known_entries", "finished", "served", "now", "settled"),
    [
        (None, -HOUR, timedelta(0), timedelta(0), True),
        (3, -HOUR, timedelta(0), timedelta(0), True),
        (2, -HOUR, timedelta(0), timedelta(0), True),
        (4, -HOUR, timedelta(0), timedelta(0), False),
        (3, timedelta(0), HOUR, timedelta(0), False),
        (3, timedelta(0), timedelta(0), HOUR, False),
        (3, -HOUR, None, timedelta(0), False),
        (3, None, timedelta(0), timedelta(0), False),
    ],
    ids=[
        *("first", "unchanged", "grown", "shrunk"),
        *("server's clock ahead", "our clock ahead", "no date", "still running"),
    ],
)
def test_success_settles_a_run_by_both_clocks_and_never_with_fewer_entries_than_known(
    known_entries: int | None,
    finished: timedelta | None,
    served: timedelta | None,
    now: timedelta,
    settled: bool,
) -> None:
    tracked = TrackedRun("task", finished_at=None if finished is None else NOW + finished)
    answer = Answer(read_log(3), None if served is None else NOW + served, [])
    result = success(target(tracked, known_entries), answer, SETTLE_AFTER, NOW + now)
    assert (result.outcome, result.settled) == ("ok", settled)
    changes = log_batch([result]).changes
    assert (changes.settled == {RUN}, changes.tracked.keys() == {RUN}) == (settled, not settled)


def test_success_with_fewer_entries_than_known_keeps_the_known_count() -> None:
    result = success(target(TrackedRun("task"), 4), Answer(read_log(3), NOW, []), SETTLE_AFTER, NOW)
    assert result.cursor
    assert result.cursor.entry_count == 4


@pytest.mark.parametrize(("known_entries", "changed"), [(None, True), (2, True), (3, False)])
def test_success_notes_when_the_log_changed_and_ends_the_count_of_failures(
    known_entries: int | None, changed: bool
) -> None:
    before = TrackedRun("task", changed_at=NOW - HOUR, failing_since=NOW - HOUR, failed_loads=2)
    answer = Answer(read_log(3), NOW, [])
    after = success(target(before, known_entries), answer, SETTLE_AFTER, NOW).tracked
    assert after
    assert after.changed_at == (NOW if changed else NOW - HOUR)
    assert (after.checked_at, after.failing_since, after.failed_loads) == (NOW, None, 0)


def test_success_of_a_run_named_by_id_keeps_its_cursor_only() -> None:
    changes = log_batch(
        [success(target(None), Answer(read_log(3), NOW, []), SETTLE_AFTER, NOW)]
    ).changes
    assert changes == StateChanges(by_id={RUN: RunCursor.of(read_log(3))})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotVisibleError("404", 404), "not_visible"),
        (RequestError("500", 500), "failed"),
        (RequestError("410", 410), "lost"),
    ],
)
def test_failure_keeps_the_run_tracked_unless_it_is_lost(error: RequestError, outcome: str) -> None:
    long_failing = TrackedRun("task", failing_since=NOW - 48 * HOUR, failed_loads=2)
    result = failure(target(long_failing, 3), error, GIVE_UP_AFTER, NOW)
    assert result.outcome == outcome
    changes = log_batch([result]).changes
    assert (changes.lost.keys() == {RUN}, changes.tracked.keys() == {RUN}) == (
        outcome == "lost",
        outcome != "lost",
    )
    assert result.load_row["entries"] == 3


def test_failure_of_a_run_named_by_id_changes_no_state() -> None:
    result = failure(target(None), RequestError("410", 410), GIVE_UP_AFTER, NOW)
    assert (result.outcome, log_batch([result]).changes) == ("failed", StateChanges())


def test_read_logs_with_one_log_that_cannot_be_decoded_reads_the_others(
    world: FakeKomos, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [world.add_run(world.add_task("Orders")) for _ in range(3)]
    decode = log_reader.parse_log

    def fail_at_one(body: bytes, run_id: str, seen_at: datetime) -> RunLog:
        if run_id == runs[1]:
            raise OverflowError("a value that no one has thought of")
        return decode(body, run_id, seen_at)

    monkeypatch.setattr(log_reader, "parse_log", fail_at_one)

    async def read() -> dict[str, str]:
        async with KomosClient(emulator.api_key, emulator.base_url) as client:
            found = named_runs(runs, State()).targets
            return {
                r.run_id: r.outcome
                async for r in read_logs(client, found, SETTLE_AFTER, GIVE_UP_AFTER, ALLOWED)
            }

    assert asyncio.run(read()) == {runs[0]: "ok", runs[1]: "failed", runs[2]: "ok"}


def test_read_logs_with_a_refused_key_ends_and_leaves_no_worker(
    world: FakeKomos, emulator: Emulator
) -> None:
    runs = [world.add_run(world.add_task("Orders")) for _ in range(20)]

    async def read() -> int:
        async with KomosClient("sk_live_wrong", emulator.base_url) as client:
            with pytest.raises(AuthenticationError):
                async for _ in read_logs(
                    client, named_runs(runs, State()).targets, SETTLE_AFTER, GIVE_UP_AFTER, ALLOWED
                ):
                    pass
        return len(asyncio.all_tasks())

    assert asyncio.run(read()) == 1
