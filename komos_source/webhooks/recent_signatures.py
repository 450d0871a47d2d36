"""Recognises deliveries that were stored a moment ago, without asking the spool."""

from __future__ import annotations

import time


class RecentSignatures:
    """Signatures of deliveries that were stored within the last seconds.

    One that comes again is a replay or a retry whose answer was lost: its content is stored.

    Args:
        seconds: How long a signature is remembered: as long as its time is accepted.
        limit: How many are remembered at most.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._expiry: dict[bytes, float] = {}  # in the order in which they expire

    def __contains__(self, signature: bytes) -> bool:
        return signature in self._expiry

    def add(self, signature: bytes) -> None:
        """Adds a signature, and removes those that are too old or too many."""
        now = time.monotonic()
        self._expiry[signature] = now + self._seconds
        while len(self._expiry) > self._limit or next(iter(self._expiry.values())) < now:
            del self._expiry[next(iter(self._expiry))]
