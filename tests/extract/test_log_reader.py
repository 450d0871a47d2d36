"""Logs are read beside each other."""

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
from komos_source.extract.discovery import named_targets
from komos_source.extract.log_reader import read_batches
from komos_source.extract.state import State
from komos_source.metrics import LoadMetrics
from komos_source.tables import TASK_RUN_LOGS

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


def test_a_slow_server_is_asked_as_much_at_once_as_is_allowed_by_kept_connections(
    address: str,
) -> None:
    run_ids = [str(UUID(int=number)) for number in range(3 * ALLOWED)]

    async def read() -> list[str]:
        async with KomosClient("sk_live_test", address, max_concurrency=ALLOWED) as client:
            targets = named_targets(run_ids, State())
            batches = read_batches(
                client, targets, LoadMetrics(), settle_after=timedelta(0), concurrency=ALLOWED
            )
            tables = [batch.tables[TASK_RUN_LOGS.name] async for batch in batches]
        return [run_id for table in tables for run_id in table["run_id"].to_pylist()]  # type: ignore[call-overload] # an Arrow table

    Handler.connections.clear()
    assert sorted(asyncio.run(read())) == run_ids
    assert len(Handler.connections) == ALLOWED
