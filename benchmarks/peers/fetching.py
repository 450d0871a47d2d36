"""Concurrent fetching, as the floor and the script both have it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

CONCURRENCY = 8


def arguments() -> tuple[str, list[str], str]:
    """Address, run ids and database file, from the command line."""
    address, runs_file, database = sys.argv[1:4]
    return address, Path(runs_file).read_text().split(), database


def fetch_logs(address: str, run_ids: list[str], keep: Callable[[str, bytes], None]) -> None:
    """Reads the logs, several at once, and hands each body to ``keep``.

    Raises:
        httpx.HTTPStatusError: An answer was not 2xx.
    """

    async def fetch_all() -> None:
        headers = {"Authorization": "Bearer sk_live_benchmark"}
        slots = asyncio.Semaphore(CONCURRENCY)
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:

            async def fetch(run_id: str) -> None:
                async with slots:
                    answer = await client.get(f"/public/v1/task-runs/{run_id}/logs")
                    keep(run_id, answer.raise_for_status().content)

            await asyncio.gather(*map(fetch, run_ids))

    asyncio.run(fetch_all())
