"""Misbehaviour on request: what the emulator does instead of, or besides, answering."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "status",
    "latency",
    "reset",
    "truncate",
    "truncate_quietly",
    "html",
    "body",
    "rewrite",
    "headers",
    "no_date",
    "drip",
    "hints",
]


@dataclass(slots=True)
class Fault:
    """One kind of misbehaviour and the requests it affects.

    Attributes:
        path: Affects requests whose path contains this.
        kind: ``status`` answers with `status`; ``latency`` waits first; ``reset`` drops the
            connection; ``truncate`` cuts the body short of its Content-Length, ``truncate_quietly``
            together with it; ``html`` and ``body`` answer 200 with something else; ``rewrite``
            changes the body by a function of target and body; ``headers`` only sends `headers`;
            ``no_date`` leaves the Date header out; ``drip`` sends a blank every `seconds` before
            the body, and no length; ``hints`` sends ``103 Early Hints`` without end.
        times: So many requests; None for all.
        rate: Share of the requests affected.
        detail: The ``detail`` of a status' body; any JSON value.
        headers: Headers to send, in place of those of the same name.
        blanks: How many blanks a drip has; None for no end.
    """

    path: str
    kind: Kind
    times: int | None = None
    rate: float = 1.0
    status: int = 500
    detail: Any = "made to fail"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: bytes = b"{}"
    rewrite: Callable[[str, bytes], bytes] | None = None
    blanks: int | None = None


class RateLimit:
    """So many requests in each span of so many seconds, which begins with the first of them.

    Attributes:
        refused: Requests that were answered 429.
    """

    def __init__(self, requests: int, seconds: float, *, headers: bool) -> None:
        self.refused = 0
        self._requests, self._seconds, self._headers = requests, seconds, headers
        self._ends_at, self._accepted = 0.0, 0

    def take(self) -> tuple[bool, dict[str, str]]:
        """Whether a request is accepted, and the headers that its answer has besides."""
        now = time.monotonic()
        if now >= self._ends_at:
            self._ends_at, self._accepted = now + self._seconds, 0
        accepted = self._accepted < self._requests
        self._accepted += accepted
        self.refused += not accepted
        headers = {
            "RateLimit-Remaining": str(self._requests - self._accepted),
            "RateLimit-Reset": f"{self._ends_at - now:.3f}",
        }
        return accepted, headers if self._headers else {}


class Faults:
    """The faults in force; safe to change while the emulator serves."""

    def __init__(self, seed: int = 1) -> None:
        self.latency = 0.0
        self.rate_limit: RateLimit | None = None
        self._faults: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - made misbehaviour, not secrets
        self._lock = threading.Lock()

    def add(self, path: str, kind: Kind, **options: object) -> None:
        """Adds a fault; options are the attributes of `Fault`."""
        with self._lock:
            self._faults.append(Fault(path, kind, **options))  # type: ignore[arg-type] # checked by the dataclass

    def limit_rate(self, requests: int, seconds: float, *, headers: bool = False) -> RateLimit:
        """Answers 429 beyond so many requests in each span of so many seconds.

        Args:
            requests: How many are accepted.
            seconds: Within which time.
            headers: Whether answers have ``RateLimit-Remaining`` and ``RateLimit-Reset``.
        """
        self.rate_limit = RateLimit(requests, seconds, headers=headers)
        return self.rate_limit

    def clear(self) -> None:
        """Ends all misbehaviour."""
        with self._lock:
            self._faults.clear()
            self.rate_limit = None
            self.latency = 0.0

    def pick(self, path: str) -> Fault | None:
        """The fault that hits this request, if any; counts it."""
        with self._lock:
            for fault in self._faults:
                if fault.path in path and fault.times != 0 and self._random.random() < fault.rate:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
            return None
