"""A limit on the bodies that a receiver holds in memory at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


class MemoryFullError(Exception):
    """All bodies in memory are complete and wait for their commit."""


@dataclass(slots=True, eq=False)
class HeldBody:
    """One body in memory.

    Attributes:
        abort: Called if the body has to make room for others while it is still being read.
        size: Bytes that count against the limit.
    """

    abort: Callable[[], None]
    size: int = 0


class BodyMemory:
    """Counts the bytes of bodies. When the limit is reached, the oldest unfinished body is aborted.

    A real sender transmits a body within moments. A sender of many large bodies
    that arrive slowly only aborts its own.

    Args:
        limit: Bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._unfinished: dict[HeldBody, None] = {}  # in the order in which they began

    @contextlib.contextmanager
    def hold(self, abort: Callable[[], None]) -> Iterator[HeldBody]:
        """Holds a body for as long as the context lasts."""
        body = HeldBody(abort)
        self._unfinished[body] = None
        try:
            yield body
        finally:
            self._release(body)

    def add(self, body: HeldBody, size: int) -> None:
        """Counts further bytes of a body.

        Raises:
            MemoryFullError: There is no room, and no older unfinished body to abort.
        """
        while self._free < size:
            oldest = next(iter(self._unfinished), body)
            if oldest is body:
                raise MemoryFullError
            self._release(oldest)
            oldest.abort()
        body.size += size
        self._free -= size

    def finish(self, body: HeldBody) -> None:
        """Marks a body as complete: it is not aborted any more."""
        self._unfinished.pop(body, None)

    def _release(self, body: HeldBody) -> None:
        self._unfinished.pop(body, None)
        self._free += body.size
        body.size = 0
