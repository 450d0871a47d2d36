"""Does the receiver serve real deliveries while it is attacked? Memory, answers and latency.

    python benchmarks/webhook_abuse.py [--seconds 60] [--attack NAME]

Starts ``komos webhooks serve`` on loopback, attacks it in one way for the given time, and sends ten
real signed deliveries a second meanwhile. All stops by itself.

- ``heads``: endless request headers, without a signature, over 4 connections.
- ``connections``: 2,000 connections with an unfinished head each, opened again when closed.
- ``bodies``: unfinished bodies of almost 5 MiB without a signature, over 32 connections.
- ``forged-bodies``: the same with headers that look right: only a whole body shows the forgery.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from komos_source.testing.webhooks import signed_headers
from komos_source.webhooks import Spool
from komos_source.webhooks.settings import WEBHOOK_MAX_BODY

SECRET = "wh_bench_5c1d"  # noqa: S105 - of the benchmark
DELIVERIES_PER_SECOND = 10


@dataclass
class Tally:
    """What was measured in one attack."""

    statuses: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    peak_memory: int = 0
    peak_descriptors: int = 0
    attacks: int = 0
    bytes_sent: int = 0


def head(length: int, secret: str | None, body: bytes = b"") -> bytes:
    """The head of a delivery; without a signature if the secret is None."""
    headers = signed_headers(secret or SECRET, "task-run.log", body)
    if secret is None:
        del headers["x-komos-signature"]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = "POST /webhooks/komos HTTP/1.1\r\nHost: localhost\r\n"
    return f"{start}Content-Length: {length}\r\n{lines}\r\n".encode()


async def endless_head(port: int, tally: Tally) -> None:
    """Sends headers until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    closed = asyncio.create_task(reader.read())
    writer.write(b"POST /webhooks/komos HTTP/1.1\r\n")
    try:
        while not closed.done():
            writer.write(b"X-n: b\r\n" * 1000)
            tally.bytes_sent += 8000
            await writer.drain()
    finally:
        closed.cancel()
        writer.close()


async def half_open(port: int, tally: Tally) -> None:
    """Begins a head and waits until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /webhooks/komos HTTP/1.1\r\nHo")
        tally.bytes_sent += 33
        await reader.read()
    finally:
        writer.close()


def unfinished_body(secret: str | None) -> Callable[[int, Tally], Awaitable[None]]:
    """An attack that sends a body but for its last byte, and waits to be refused."""

    async def attack(port: int, tally: Tally) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        closed = asyncio.create_task(reader.read())
        writer.write(head(WEBHOOK_MAX_BODY, secret))
        try:
            for _ in range(WEBHOOK_MAX_BODY // 2**16 - 1):
                if closed.done():
                    break
                writer.write(b" " * 2**16)
                tally.bytes_sent += 2**16
                await writer.drain()
            await closed
        finally:
            closed.cancel()
            writer.close()

    return attack


ATTACKS: dict[str, tuple[int, Callable[[int, Tally], Awaitable[None]]]] = {
    "heads": (4, endless_head),
    "connections": (2000, half_open),
    "bodies": (32, unfinished_body(None)),
    "forged-bodies": (32, unfinished_body("wh_forged_secret")),
}


async def deliver(port: int, tally: Tally) -> None:
    """Sends one real delivery over a connection of its own."""
    body = f'{{"runId": "{uuid.uuid4()}", "logEntries": []}}'.encode()
    started = time.perf_counter()
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(body), SECRET, body) + body)
            answer = await reader.readuntil(b"\r\n")
            writer.close()
        tally.statuses[answer.split()[1].decode()] += 1
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        tally.statuses[type(error).__name__] += 1
    tally.waits.append(time.perf_counter() - started)


async def attacked(process: psutil.Process, port: int, name: str, seconds: float) -> Tally:
    """Attacks for some seconds, and delivers meanwhile."""
    tally = Tally()
    count, attack = ATTACKS[name]
    end = time.monotonic() + seconds

    async def attack_again() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                tally.attacks += 1
                await attack(port, tally)
            await asyncio.sleep(0.01)

    attackers = [asyncio.create_task(attack_again()) for _ in range(count)]
    async with asyncio.TaskGroup() as deliveries:
        while time.monotonic() < end:
            deliveries.create_task(deliver(port, tally))
            tally.peak_memory = max(tally.peak_memory, process.memory_info().rss)
            tally.peak_descriptors = max(tally.peak_descriptors, process.num_fds())
            await asyncio.sleep(1 / DELIVERIES_PER_SECOND)
    for attacker in attackers:
        attacker.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    return tally


def run(name: str, seconds: float) -> None:
    """Prints a line about one attack."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'spool.db'}"
        receiver = subprocess.Popen(
            [sys.executable, "-m", "komos_source", "webhooks", "serve", "--port", "0"],
            env=os.environ
            | {
                "PYTHONUNBUFFERED": "1",
                "SOURCES__KOMOS__WEBHOOK_SECRET": SECRET,
                "SOURCES__KOMOS__SPOOL": url,
            },
            stdout=subprocess.PIPE,
            stderr=(Path(directory) / "log").open("w"),
            text=True,
        )
        port = int((receiver.stdout.readline() if receiver.stdout else "").rsplit(":", 1)[1])
        process = psutil.Process(receiver.pid)
        before = process.memory_info().rss
        try:
            tally = asyncio.run(attacked(process, port, name, seconds))
        finally:
            receiver.terminate()
            receiver.wait()
        log_lines = len((Path(directory) / "log").read_text().splitlines())
        stored = Spool(url).waiting()
    waits = [1000 * wait for wait in tally.waits]
    p95 = statistics.quantiles(waits, n=20)[-1]
    print(
        f"{name:>14}: memory {before / 2**20:.0f} -> {tally.peak_memory / 2**20:.0f} MiB, "
        f"{tally.peak_descriptors} descriptors, {tally.attacks:,} attacks, "
        f"{tally.bytes_sent / 2**20:,.0f} MiB; {len(tally.waits)} deliveries: "
        f"{dict(tally.statuses)}, {stored} stored, median {statistics.median(waits):.0f} ms, "
        f"95 % {p95:.0f} ms, max {max(waits):.0f} ms; "
        f"{log_lines} log lines"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--attack", choices=ATTACKS)
    options = parser.parse_args(arguments)
    for name in [options.attack] if options.attack else ATTACKS:
        run(name, options.seconds)


if __name__ == "__main__":
    main()
