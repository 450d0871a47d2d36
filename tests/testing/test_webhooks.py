"""The emulator's webhooks, received by a plain HTTP server."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from komos_source.testing import FakeKomos, Webhooks
from komos_source.webhooks import verify
from komos_source.webhooks.signature import Delivery

SECRET = "wh_test_2f6b8a"


class Endpoint(ThreadingHTTPServer):
    """Stores deliveries; answers the first `failures` requests with status 500."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deliveries: list[Delivery] = []
        self.failures = 0
        self.tries = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def events(self) -> list[str]:
        return [delivery.event for delivery in self.deliveries]

    def entries(self) -> list[str]:
        logs = (json.loads(each.body) for each in self.deliveries if each.event == "task-run.log")
        return [entry["id"] for log in logs for entry in log["logEntries"]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.tries += 1
            fail = self.server.tries <= self.server.failures
            if not fail:
                delivery = verify(self.headers.items(), body, secrets=[SECRET])
                self.server.deliveries.append(delivery)
        self.send_response(500 if fail else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.shutdown()
    running.server_close()


def test_webhooks_send_each_event_and_entry_of_a_run_once(
    world: FakeKomos, endpoint: Endpoint
) -> None:
    task = world.add_task("Orders")
    old = world.add_run(task)
    world.append(old, {})
    with Webhooks(world, endpoint.url, SECRET, every=60) as webhooks:
        run_id = world.add_run(task)
        first = world.append(run_id, {}, {})
        webhooks.flush()
        second = world.append(run_id, {})
        world.finish(run_id, "FAILED")
        webhooks.flush()
        webhooks.flush()
    assert Counter(endpoint.events) == {
        "task-run.started": 1,
        "task-run.log": 2,
        "task-run.failed": 1,
    }
    assert endpoint.entries() == [*first, *second]
    assert {delivery.run_id for delivery in endpoint.deliveries} == {run_id}
    (last,) = (each for each in endpoint.deliveries if each.event == "task-run.failed")
    assert json.loads(last.body) == world.run(run_id)


@pytest.mark.parametrize(("failures", "delivered"), [(6, 1), (7, 0)])
def test_webhooks_retry_a_failed_delivery_six_times(
    world: FakeKomos, endpoint: Endpoint, failures: int, delivered: int
) -> None:
    endpoint.failures = failures
    with Webhooks(world, endpoint.url, SECRET, every=60, retry_delays=[0.01] * 6) as webhooks:
        webhooks.send("task-run.updated", b"{}")
        webhooks.flush()
        assert endpoint.tries == 7
        assert (webhooks.delivered, webhooks.lost) == (delivered, 1 - delivered)


def test_retry_delays_increase() -> None:
    from komos_source.testing.webhooks import RETRY_DELAYS

    assert len(RETRY_DELAYS) == 6
    assert list(RETRY_DELAYS) == sorted(set(RETRY_DELAYS))


def test_webhooks_with_duplicates_and_disorder_repeat_and_reorder_deliveries(
    world: FakeKomos, endpoint: Endpoint
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    with Webhooks(
        world, endpoint.url, SECRET, every=60, duplicates=0.5, disorder=0.5, hold=0.3
    ) as webhooks:
        written = []
        for _ in range(30):
            written += world.append(run_id, {})
            webhooks._look()
        webhooks.flush()
    received = endpoint.entries()
    assert set(received) == set(written)
    assert len(received) > 30
    assert list(dict.fromkeys(received)) != written
