from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from komos_source.webhooks.batching import Batcher


def test_items_that_come_during_a_call_share_the_next_one() -> None:
    calls: list[list[int]] = []
    first_is_under_way, rest_has_come = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        first_is_under_way.set()
        assert rest_has_come.wait(20)
        return [2 * item for item in items]

    async def scenario() -> None:
        together = Batcher(work, limit=3)
        first = asyncio.create_task(together.put(0))
        await asyncio.to_thread(first_is_under_way.wait)
        rest = [asyncio.create_task(together.put(number)) for number in range(1, 5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [first, *rest])
        rest_has_come.set()
        assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8]

    asyncio.run(scenario())
    assert calls == [[0], [1, 2, 3], [4]]


def test_a_call_that_fails_fails_for_its_own_items_only() -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        if 0 in items:
            raise OSError("disk full")
        return items

    async def scenario() -> None:
        together = Batcher(work, limit=1)
        results = await asyncio.gather(together.put(0), together.put(1), return_exceptions=True)
        assert [str(result) for result in results] == ["disk full", "1"]

    asyncio.run(scenario())


def test_one_who_waits_no_longer_harms_nobody_and_the_item_is_worked_on() -> None:
    kept: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        kept.extend(items)
        return items

    async def scenario() -> None:
        together = Batcher(work, limit=10)
        gone = asyncio.create_task(together.put(1))
        stays = asyncio.create_task(together.put(2))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        with pytest.raises(asyncio.CancelledError):
            await gone
        await together.finish()

    asyncio.run(scenario())
    assert kept == [1, 2]
