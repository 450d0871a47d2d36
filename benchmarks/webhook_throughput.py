"""How many signed deliveries a second the receiver makes durable, with and without group commit.

    python benchmarks/webhook_throughput.py [--deliveries 4000] [--rounds 3]

The receiver runs in a process of its own (uvicorn, a SQLite spool with full sync), the sender in
another: deliveries of 20 entries, each one unique, over keep-alive connections. "One commit each"
is the same receiver with a limit of one delivery a commit. After each round the receiver is killed
and the spool held against what was acknowledged. A receiver that does not spool at all shows what
HTTP and signature cost alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from komos_source.testing.webhooks import signed_headers
from komos_source.webhooks import Spool, create_app
from komos_source.webhooks.http_protocol import uvicorn_options
from komos_source.webhooks.settings import COMMIT_DELIVERIES
from komos_source.webhooks.signature import Delivery

SECRET = "wh_bench_5c1d"  # noqa: S105 - of the benchmark
CONNECTIONS = (1, 8, 64)


class _NoSpool(Spool):
    """Keeps nothing."""

    def put(self, deliveries: Sequence[Delivery]) -> int:
        return len(deliveries)


def serve(spool_url: str, commit_deliveries: int) -> None:
    """The receiver's process."""
    spool = Spool(spool_url) if commit_deliveries else _NoSpool(spool_url)
    app = create_app(secrets=[SECRET], spool=spool, commit_deliveries=commit_deliveries or 512)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        print(server.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app, access_log=False, log_level="error", proxy_headers=False, **uvicorn_options()
        )
        uvicorn.Server(config).run(sockets=[server])


def made_requests(count: int) -> list[bytes]:
    """Whole requests, signed beforehand, so that sending them costs next to nothing."""
    requests = []
    for _ in range(count):
        entries = [
            {
                "id": str(uuid.uuid4()),
                "timestamp": "2025-10-14T18:22:03.489Z",
                "level": "info",
                "message": f"Navigated to https://example.com/orders/{number}",
                "nodeId": "navigate_orders",
            }
            for number in range(20)
        ]
        body = json.dumps({"runId": str(uuid.uuid4()), "logEntries": entries}).encode()
        headers = signed_headers(SECRET, "task-run.log", body) | {
            "host": "localhost",
            "content-length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        requests.append(f"POST /webhooks/komos HTTP/1.1\r\n{head}\r\n".encode() + body)
    return requests


async def send(port: int, requests: list[bytes], connections: int) -> list[float]:
    """Sends all over so many connections; returns how long each waited for its 204."""
    waits: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while requests:
            request = requests.pop()
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            waits.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 204"):
                raise RuntimeError(head.decode())
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
    return waits


def measure(commit_deliveries: int, connections: int, deliveries: int) -> tuple[float, float]:
    """Deliveries a second and the 95th percentile of the wait, in milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'spool.db'}"
        child = [sys.executable, __file__, "--serve", url, str(commit_deliveries)]
        with subprocess.Popen(child, stdout=subprocess.PIPE, text=True) as process:
            port = int(process.stdout.readline() if process.stdout else "")
            asyncio.run(send(port, made_requests(200), connections))  # until it is warm
            requests = made_requests(deliveries)
            started = time.perf_counter()
            waits = asyncio.run(send(port, requests, connections))
            seconds = time.perf_counter() - started
            process.kill()  # what was acknowledged has to be there all the same
        kept = Spool(url).waiting()
        if commit_deliveries and kept != deliveries + 200:
            raise RuntimeError(f"{kept} of {deliveries + 200} acknowledged deliveries were kept")
    return deliveries / seconds, statistics.quantiles(waits, n=20)[-1] * 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table, one line for each number of connections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return
    kinds: dict[str, Any] = {"one commit each": 1, "group commit": COMMIT_DELIVERIES, "no spool": 0}
    print(f"deliveries/s, median of {options.rounds} (p95 of the wait in ms); all kept")
    print(f"{'connections':>11}  " + "".join(f"{kind:>24}" for kind in kinds) + "   ratio")
    for connections in CONNECTIONS:
        rates, line = {}, ""
        for kind, limit in kinds.items():
            rounds = [
                measure(limit, connections, options.deliveries) for _ in range(options.rounds)
            ]
            rates[kind] = statistics.median(rate for rate, _ in rounds)
            p95 = statistics.median(wait for _, wait in rounds)
            line += f"{rates[kind]:>14,.0f} ({p95:6.1f})"
        ratio = rates["group commit"] / rates["one commit each"]
        print(f"{connections:>11}  {line}   {ratio:.1f}")


if __name__ == "__main__":
    main()
