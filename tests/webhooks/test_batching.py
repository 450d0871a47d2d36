from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from komos_source.webhooks.batching import Batcher


def test_batcher_processes_items_added_during_a_call_in_the_next_one() -> None:
    calls: list[list[int]] = []
    first_in_progress, rest_is_added = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        first_in_progress.set()
        assert rest_is_added.wait(20)
        return [2 * item for item in items]

    async def scenario() -> None:
        batcher = Batcher(work, limit=3)
        first = asyncio.create_task(batcher.put(0))
        await asyncio.to_thread(first_in_progress.wait)
        rest = [asyncio.create_task(batcher.put(number)) for number in range(1, 5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [first, *rest])
        rest_is_added.set()
        assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8]

    asyncio.run(scenario())
    assert calls == [[0], [1, 2, 3], [4]]


def test_batcher_raises_for_the_items_of_a_failed_call_only() -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        if 0 in items:
            raise OSError("disk full")
        return items

    async def scenario() -> None:
        batcher = Batcher(work, limit=1)
        results = await asyncio.gather(batcher.put(0), batcher.put(1), return_exceptions=True)
        assert [str(result) for result in results] == ["disk full", "1"]

    asyncio.run(scenario())


def test_batcher_drops_a_cancelled_item_unless_its_call_has_begun() -> None:
    kept: list[int] = []
    first_in_progress, released = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> Sequence[int]:
        first_in_progress.set()
        assert released.wait(20)
        kept.extend(items)
        return items

    async def scenario() -> None:
        batcher = Batcher(work, limit=10)
        begun = asyncio.create_task(batcher.put(1))
        await asyncio.to_thread(first_in_progress.wait)
        cancelled = asyncio.create_task(batcher.put(2))
        stays = asyncio.create_task(batcher.put(3))
        await asyncio.sleep(0)
        for task in (begun, cancelled):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        released.set()
        assert await stays == 3
        await batcher.finish()

    asyncio.run(scenario())
    assert kept == [1, 3]
