"""Runs blocking work in batches: while one batch is in progress, the next one is collected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
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
        self._waiting: dict[asyncio.Future[R], T] = {}
        self._worker: asyncio.Task[None] | None = None

    async def put(self, item: T) -> R:
        """Adds an item and returns its result; raises what the function raised.

        An item whose caller is cancelled before its call begins is dropped.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting[done] = item
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        try:
            return await done
        finally:
            self._waiting.pop(done, None)  # cancelled before its call began

    async def finish(self) -> None:
        """Returns once all items have been processed."""
        if self._worker is not None:
            await self._worker

    async def _run(self) -> None:
        while self._waiting:
            waiting = list(islice(self._waiting, self._limit))
            items = [self._waiting.pop(done) for done in waiting]
            try:
                results = await asyncio.to_thread(self._work, items)
            except Exception as error:  # noqa: BLE001 - raised for those who wait
                for done in waiting:
                    if not done.cancelled():
                        done.set_exception(error)
            else:
                for done, result in zip(waiting, results, strict=True):
                    if not done.cancelled():  # a cancelled one has no reader
                        done.set_result(result)
