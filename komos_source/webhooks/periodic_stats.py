"""Counts the spool in the background, for `/metrics`, `/healthz` and the limit on its size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from komos_source.webhooks import settings
from komos_source.webhooks.spool_tables import SpoolStats


class PeriodicStats:
    """The spool's stats, counted in a thread of their own and at most once per interval.

    So neither those who poll ``/metrics`` nor a slow count delay commits.
    """

    def __init__(self, count: Callable[[], SpoolStats]) -> None:
        self._count = count
        self._thread = ThreadPoolExecutor(1, "komos-spool-stats")
        self._last: asyncio.Future[SpoolStats] | None = None
        self._latest = SpoolStats()
        self._expires_at = float("-inf")

    def latest(self) -> SpoolStats:
        """The last known stats; starts a new count if they are old."""
        self._count_if_old()
        return self._latest

    async def current(self) -> SpoolStats:
        """Stats that are hardly older than one interval.

        Raises:
            SpoolError: The spool cannot be read.
            TimeoutError: It does not answer.
        """
        async with asyncio.timeout(settings.WEBHOOK_COMMIT_TIMEOUT):
            return await asyncio.shield(self._count_if_old())

    def expire(self) -> None:
        """Makes the next call count again."""
        self._expires_at = float("-inf")

    def close(self) -> None:
        """Ends the thread once the count that runs is done."""
        self._thread.shutdown(wait=False)

    def _count_if_old(self) -> asyncio.Future[SpoolStats]:
        count = self._last
        if count is None or (count.done() and time.monotonic() > self._expires_at):
            self._expires_at = time.monotonic() + settings.SPOOL_STATS_INTERVAL
            count = self._last = asyncio.get_running_loop().run_in_executor(
                self._thread, self._count
            )
            count.add_done_callback(self._counted)
        return count

    def _counted(self, count: asyncio.Future[SpoolStats]) -> None:
        if not count.cancelled() and count.exception() is None:
            self._latest = count.result()
