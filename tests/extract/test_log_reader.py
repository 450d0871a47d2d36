"""Reading logs concurrently, and what each result means for its run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from uuid import UUID

import pytest

from komos_source.api.client import KomosClient
from komos_source.extract.discovery import named_runs
from komos_source.extract.log_reader import read_logs
from komos_source.extract.options import Patience
from komos_source.extract.state import State

ALLOWED = 8


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers once so many have asked; then all of them."""

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


PATIENCE = Patience(timedelta(minutes=10), timedelta(days=1))


def test_read_logs_with_a_slow_server_uses_all_allowed_requests_and_keeps_connections(
    address: str,
) -> None:
    run_ids = [str(UUID(int=number)) for number in range(3 * ALLOWED)]

    async def read() -> list[str]:
        async with KomosClient("sk_live_test", address, max_concurrency=ALLOWED) as client:
            targets = named_runs(run_ids, State()).targets
            return [each.run_id async for each in read_logs(client, targets, PATIENCE, ALLOWED)]

    Handler.connections.clear()
    assert sorted(asyncio.run(read())) == run_ids
    assert len(Handler.connections) == ALLOWED
