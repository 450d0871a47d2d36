"""Concurrent deliveries share commits: while one is under way, the next batch gathers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """Hands items to a blocking function, many at a time and one call at a time.

    Nobody waits for a batch to fill: an idle writer takes a single item at once, a busy one finds
    as many as have come meanwhile.

    Args:
        commit: Makes the items durable; what it raises goes to all whose item was in that call.
        limit: Items in one call at most.
    """

    def __init__(self, commit: Callable[[Sequence[T]], object], limit: int) -> None:
        self._commit = commit
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: T) -> None:
        """Returns once the item is durable; raises what `commit` raised."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def finish(self) -> None:
        """Returns once nothing waits any more."""
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            error: Exception | None = None
            try:
                await asyncio.to_thread(self._commit, [item for item, _ in batch])
            except Exception as raised:  # noqa: BLE001 - it belongs to those who wait
                error = raised
            for _, done in batch:
                if done.cancelled():  # whoever waited has gone
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
