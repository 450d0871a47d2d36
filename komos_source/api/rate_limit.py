"""What holds requests back: a pause asked for by the server, and memory."""

from __future__ import annotations

import asyncio
import time


class Pause:
    """A common wait of all requests of one client, as after a 429."""

    def __init__(self) -> None:
        self.until = 0.0

    def extend(self, seconds: float) -> None:
        """Lets no request start before so many seconds from now."""
        self.until = max(self.until, time.monotonic() + seconds)

    async def wait(self) -> None:
        """Returns once no pause is in force; one that is extended meanwhile is waited for too."""
        while (rest := self.until - time.monotonic()) > 0:
            await asyncio.sleep(rest)


class ByteBudget:
    """Bounds the bytes that are held at once.

    What is larger than the whole budget is let in when nothing else is held: so memory is bounded
    by the budget or by the largest single piece, whichever is more. First come, first served.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._freed = asyncio.Condition()
        self._turn = asyncio.Lock()

    async def take(self, size: int) -> None:
        """Waits until so many bytes may be held."""
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: not self._held or self._held + size <= self._limit)
            self._held += size

    async def give(self, size: int) -> None:
        """Returns bytes that are held no longer."""
        async with self._freed:
            self._held -= size
            self._freed.notify_all()

    @property
    def limit(self) -> int:
        """The bytes that several pieces may hold together."""
        return self._limit
