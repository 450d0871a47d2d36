from __future__ import annotations

import contextlib

import pytest

from komos_source.webhooks.body_memory import BodyMemory, MemoryFullError


def test_add_aborts_the_oldest_unfinished_bodies_until_there_is_room() -> None:
    memory, aborted = BodyMemory(100), []
    with contextlib.ExitStack() as stack:
        bodies = [stack.enter_context(memory.hold(lambda n=n: aborted.append(n))) for n in range(4)]
        for body in bodies[:3]:
            memory.add(body, 30)
        memory.finish(bodies[0])
        memory.add(bodies[3], 50)
        assert aborted == [1, 2]
        memory.add(bodies[3], 20)
        assert aborted == [1, 2]


def test_add_raises_if_nothing_older_can_be_aborted() -> None:
    memory = BodyMemory(100)
    with memory.hold(pytest.fail) as complete, memory.hold(pytest.fail) as first:
        memory.add(complete, 60)
        memory.finish(complete)
        memory.add(first, 40)
        with memory.hold(pytest.fail), pytest.raises(MemoryFullError):
            memory.add(first, 1)


def test_memory_of_a_body_is_free_after_its_context() -> None:
    memory = BodyMemory(100)
    for _ in range(3):
        with memory.hold(pytest.fail) as body:
            memory.add(body, 100)
            memory.finish(body)
