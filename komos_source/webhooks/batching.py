"""Runs blocking work in batches: while one batch is in progress, the next one is collected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Passes items to a blocking function, many at a time and one call at a time.

    No item waits for a batch to fill: an idle worker takes a single item at once, a busy one takes
    all that have been added in the meantime.

    Args:
        work: Returns a result for each item; what it raises is raised for all items of that call.
        limit: Items in one call at most.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def put(self, item: T) -> R:
        """Adds an item and returns its result; raises what the function raised."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        return await done

    async def finish(self) -> None:
        """Returns once all items have been processed."""
        if self._worker is not None:
            await self._worker

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            waiting = [done for _, done in batch]
            try:
                results = await asyncio.to_thread(self._work, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - raised for those who wait
                for done in waiting:
                    if not done.cancelled():
                        done.set_exception(error)
            else:
                for done, result in zip(waiting, results, strict=True):
                    if not done.cancelled():  # cancelled: nobody waits for it
                        done.set_result(result)
