"""What delays requests: the API's rate limit, and the memory that bodies take."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from komos_source import settings
from komos_source.timestamps import parse_retry_after

_NUMBER = re.compile(r"\d{1,13}(\.\d{1,6})?")
_LEAST_DELAY = 0.01
_EPOCH = 1e9
"""A reset that is larger is a Unix time, in seconds or milliseconds, and no number of seconds."""


def requested_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the API accepts requests again, by the headers of its answer.

    Args:
        headers: With ``Retry-After``, or else ``RateLimit-Reset`` or ``X-RateLimit-Reset``.
        now: The server's clock when it answered.
    """
    wait, reset = parse_retry_after(headers.get("Retry-After"), now), _limit(headers, "Reset")
    if wait is not None or reset is None:
        return wait
    if reset > _EPOCH:
        reset = (reset / 1000 if reset > _EPOCH * 100 else reset) - now.timestamp()
    return max(0.0, reset)


def _limit(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(f"RateLimit-{name}") or headers.get(f"X-RateLimit-{name}") or ""
    number = _NUMBER.match(text.strip())
    return float(number[0]) if number else None


class Throttle:
    """Delays all requests of a client once the API has refused one because of its rate limit.

    Where the API does not say how long to wait, the delay doubles each time that it was too short,
    and halves once it was long enough.

    Attributes:
        until: No request starts before this time of the monotonic clock.
    """

    def __init__(self, delay: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.until = 0.0
        self._shortest = self._delay = max(delay, _LEAST_DELAY)
        self._was_enough = True
        self._clock = clock

    def refuse(self, sent_at: float, wait: float | None) -> None:
        """Records a request that was refused, and for how long the API asks to wait."""
        if not wait:
            if sent_at < self.until:
                return  # sent before the present delay began
            factor = 0.5 if self._was_enough else 2.0
            wait = min(max(self._shortest, self._delay * factor), settings.MAX_BACKOFF)
            self._delay, self._was_enough = wait, False
        self.until = max(self.until, self._clock() + wait)

    def succeed(self, sent_at: float, headers: Mapping[str, str], now: datetime) -> None:
        """Records a request that was answered."""
        # Headers count only once the API has refused a request: some are there and mean nothing.
        if not self.until or sent_at < self.until:
            return
        self._was_enough = True
        wait = requested_wait(headers, now) if _limit(headers, "Remaining") == 0 else None
        if wait is not None and wait <= settings.MAX_RETRY_AFTER:
            self.until = self._clock() + wait

    async def wait(self) -> None:
        """Returns once no delay is in force; one that is extended meanwhile is waited for too."""
        while (rest := self.until - self._clock()) > 0:
            await asyncio.sleep(rest)


class ByteBudget:
    """Bounds the bytes of all bodies in memory, as they arrive.

    While they are more than the limit, only the largest body is read on. So one always can be, a
    slow answer does not hold up others for what it has not sent, and memory is bounded by the limit
    or by the largest single body, whichever is more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: dict[object, int] = {}
        self._freed = asyncio.Event()

    async def add(self, body: object, size: int) -> None:
        """Counts bytes of a body that have arrived; returns when more of it may be read."""
        sizes = self._sizes
        sizes[body] = sizes.get(body, 0) + size
        while sum(sizes.values()) > self._limit and sizes[body] < max(sizes.values()):
            await self._freed.wait()

    def remove(self, body: object) -> None:
        """Gives the bytes of a body back."""
        if self._sizes.pop(body, None):
            self._freed.set()
            self._freed = asyncio.Event()


class Failures:
    """Counts failed requests, to tell an API that is down from single resources that fail.

    The more have failed, the fewer tries the next ones get, so that many bad resources cost little;
    each success gives one back.

    Attributes:
        in_a_row: Requests given up since the last success.
    """

    def __init__(self) -> None:
        self.in_a_row = self._recent = 0

    @property
    def tries(self) -> int:
        """How often a request is sent at most."""
        return settings.MAX_TRIES - min(self._recent, settings.MAX_TRIES - 1)

    def add(self) -> None:
        """Records a request that was given up."""
        self.in_a_row += 1
        self._recent = min(self._recent + 1, settings.MAX_TRIES)

    def succeed(self) -> None:
        """Records a request that the API has answered."""
        self.in_a_row, self._recent = 0, max(0, self._recent - 1)
