"""Work that is cheaper together: while one batch is under way, the next gathers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Hands items to a blocking function, many at a time and one call at a time.

    Nobody waits for a batch to fill: an idle worker takes a single item at once, a busy one finds
    as many as have come meanwhile.

    Args:
        work: Returns a result for each item; what it raises goes to all whose item was in that
            call.
        limit: Items in one call at most.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def put(self, item: T) -> R:
        """The result of an item; raises what the function raised."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        return await done

    async def finish(self) -> None:
        """Returns once nothing waits any more."""
        if self._worker is not None:
            await self._worker

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            waiting = [done for _, done in batch]
            try:
                results = await asyncio.to_thread(self._work, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for done in waiting:
                    if not done.cancelled():
                        done.set_exception(error)
            else:
                for done, result in zip(waiting, results, strict=True):
                    if not done.cancelled():  # else whoever waited has gone
                        done.set_result(result)
