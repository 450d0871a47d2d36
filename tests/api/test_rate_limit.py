from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from komos_source import settings
from komos_source.api.rate_limit import ByteBudget, Failures, Throttle, requested_wait

NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
TIME = NOW.timestamp()


class Clock:
    """A monotonic clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "3", "RateLimit-Reset": "9"}, 3.0),
        ({"Retry-After": "soon", "RateLimit-Reset": "9"}, 9.0),
        ({"RateLimit-Reset": "9"}, 9.0),
        ({"X-RateLimit-Reset": "0.25"}, 0.25),
        ({"X-RateLimit-Reset": f"{TIME + 12:.0f}"}, 12.0),
        ({"X-RateLimit-Reset": f"{(TIME + 12) * 1000:.0f}"}, 12.0),
        ({"X-RateLimit-Reset": f"{TIME - 12:.0f}"}, 0.0),
        ({"X-RateLimit-Reset": "-1"}, None),
        ({"X-RateLimit-Reset": "tomorrow"}, None),
    ],
)
def test_requested_wait_reads_retry_after_or_the_reset(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert requested_wait(headers, NOW) == seconds


def refused_in_turn(throttle: Throttle, clock: Clock, rounds: int) -> list[float]:
    """Delays of requests that are sent, and refused, as soon as the delay before is over."""
    delays = []
    for _ in range(rounds):
        clock.now = max(clock.now, throttle.until)
        throttle.refuse(clock.now, None)
        delays.append(throttle.until - clock.now)
    return delays


def test_throttle_doubles_the_delay_until_it_is_enough_then_halves_it() -> None:
    throttle = Throttle(1.0, clock := Clock())
    assert refused_in_turn(throttle, clock, 7) == [1, 2, 4, 8, 16, 30, 30]
    clock.now = throttle.until
    throttle.succeed(clock.now, {}, NOW)
    assert refused_in_turn(throttle, clock, 2) == [15, 30]


def test_throttle_counts_requests_that_were_refused_together_once() -> None:
    throttle = Throttle(1.0, clock := Clock())
    for _ in range(8):
        throttle.refuse(100.0, None)
    assert throttle.until == 101.0
    clock.now = 100.5
    throttle.refuse(99.0, None)
    assert throttle.until == 101.0


def test_throttle_with_requested_waits_uses_the_longest() -> None:
    throttle = Throttle(1.0, Clock())
    throttle.refuse(100.0, 7.0)
    throttle.refuse(100.0, 3.0)
    assert throttle.until == 107.0


def test_throttle_with_a_requested_wait_of_zero_uses_its_own_delay() -> None:
    throttle = Throttle(1.0, Clock())
    throttle.refuse(100.0, 0.0)
    assert throttle.until == 101.0


def test_throttle_reads_headers_of_successes_only_after_a_refusal() -> None:
    used_up = {"RateLimit-Remaining": "0", "RateLimit-Reset": "5"}
    throttle = Throttle(1.0, clock := Clock())
    throttle.succeed(100.0, used_up, NOW)
    assert throttle.until == 0.0
    throttle.refuse(100.0, None)
    throttle.succeed(100.5, used_up, NOW)  # sent before the refusal's delay was over
    assert throttle.until == 101.0
    clock.now = 101.0
    throttle.succeed(101.0, {"RateLimit-Remaining": "3", "RateLimit-Reset": "5"}, NOW)
    assert throttle.until == 101.0
    throttle.succeed(101.0, {"RateLimit-Remaining": "0", "RateLimit-Reset": "86400"}, NOW)
    assert throttle.until == 101.0
    throttle.succeed(101.0, used_up, NOW)
    assert throttle.until == 106.0


def test_throttle_wait_waits_for_a_delay_that_is_extended_meanwhile() -> None:
    async def main() -> float:
        throttle = Throttle(0.05)
        loop = asyncio.get_running_loop()
        started = loop.time()
        throttle.refuse(started, 0.05)
        waiting = asyncio.create_task(throttle.wait())
        await asyncio.sleep(0)  # it waits
        throttle.refuse(started, 0.15)
        await waiting
        return loop.time() - started

    assert asyncio.run(main()) >= 0.15


async def is_waiting(task: asyncio.Task[None]) -> bool:
    for _ in range(10):  # it runs on for as long as it can
        await asyncio.sleep(0)
    return not task.done()


def test_byte_budget_over_its_limit_reads_on_only_the_largest_body() -> None:
    async def main() -> None:
        budget = ByteBudget(10)
        await budget.add("first", 6)
        await budget.add("second", 4)
        second = asyncio.create_task(budget.add("second", 1))
        assert await is_waiting(second)
        third = asyncio.create_task(budget.add("third", 1))
        assert await is_waiting(third)
        await budget.add("first", 100)  # the largest may exceed the limit
        budget.remove("first")
        await asyncio.gather(second, third)

    asyncio.run(main())


def test_byte_budget_counts_a_body_that_has_been_read_until_it_is_removed() -> None:
    async def main() -> None:
        budget = ByteBudget(10)
        await budget.add("held", 10)
        other = asyncio.create_task(budget.add("other", 5))
        assert await is_waiting(other)
        budget.remove("held")
        await other
        budget.remove("other")
        budget.remove("other")  # nothing is left to give back
        await budget.add("third", 10)

    asyncio.run(main())


def test_byte_budget_with_a_stalled_body_delays_no_other() -> None:
    async def main() -> None:
        budget = ByteBudget(10)
        await budget.add("stalled", 1)
        for number in range(100):
            await budget.add(number, 9)
            budget.remove(number)

    asyncio.run(main())


def test_failures_reduce_the_tries_and_successes_restore_them() -> None:
    failures = Failures()
    tries = []
    for _ in range(6):
        tries.append(failures.tries)
        failures.add()
    assert tries == [5, 4, 3, 2, 1, 1]
    assert failures.in_a_row == 6
    for expected in (1, 2, 3, 4, 5, 5):
        failures.succeed()
        assert failures.tries == expected
    assert failures.in_a_row == 0
    assert settings.MAX_TRIES == 5
