from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from komos_source.webhooks.group_commit import GroupCommit


def test_items_that_come_during_a_commit_share_the_next_one() -> None:
    calls: list[list[int]] = []
    first_is_under_way, rest_has_come = threading.Event(), threading.Event()

    def commit(items: Sequence[int]) -> None:
        calls.append(list(items))
        first_is_under_way.set()
        assert rest_has_come.wait(20)

    async def scenario() -> None:
        commits = GroupCommit(commit, limit=3)
        first = asyncio.create_task(commits.put(0))
        await asyncio.to_thread(first_is_under_way.wait)
        rest = [asyncio.create_task(commits.put(number)) for number in range(1, 5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [first, *rest])
        rest_has_come.set()
        await asyncio.gather(first, *rest)

    asyncio.run(scenario())
    assert calls == [[0], [1, 2, 3], [4]]


def test_a_commit_that_fails_fails_for_its_own_items_only() -> None:
    def commit(items: Sequence[int]) -> None:
        if 0 in items:
            raise OSError("disk full")

    async def scenario() -> None:
        commits = GroupCommit(commit, limit=1)
        results = await asyncio.gather(commits.put(0), commits.put(1), return_exceptions=True)
        assert [str(result) for result in results] == ["disk full", "None"]

    asyncio.run(scenario())


def test_one_who_waits_no_longer_harms_nobody_and_the_item_is_kept() -> None:
    kept: list[int] = []

    async def scenario() -> None:
        commits = GroupCommit(kept.extend, limit=10)
        gone = asyncio.create_task(commits.put(1))
        stays = asyncio.create_task(commits.put(2))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        with pytest.raises(asyncio.CancelledError):
            await gone
        await commits.finish()

    asyncio.run(scenario())
    assert kept == [1, 2]
