"""Misbehaviour on request: what the emulator does instead of, or besides, answering."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "status", "latency", "reset", "truncate", "truncate_quietly", "html", "body", "no_date"
]


@dataclass(slots=True)
class Fault:
    """One kind of misbehaviour and whom it hits.

    Attributes:
        path: Hits requests whose path contains this.
        kind: ``status`` answers with `status`; ``latency`` waits first; ``reset`` drops the
            connection; ``truncate`` cuts the body short of its Content-Length, ``truncate_quietly``
            together with it; ``html`` and ``body`` answer 200 with something else; ``no_date``
            leaves the Date header out.
        times: So many requests; None for all.
        rate: Share of the requests hit.
    """

    path: str
    kind: Kind
    times: int | None = None
    rate: float = 1.0
    status: int = 500
    detail: str = "made to fail"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: bytes = b"{}"


class Faults:
    """The faults in force; safe to change while the emulator serves."""

    def __init__(self, seed: int = 1) -> None:
        self.latency = 0.0
        self._faults: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - made misbehaviour, not secrets
        self._lock = threading.Lock()

    def add(self, path: str, kind: Kind, **options: object) -> None:
        """Adds a fault; options are the attributes of `Fault`."""
        with self._lock:
            self._faults.append(Fault(path, kind, **options))  # type: ignore[arg-type] # checked by the dataclass

    def clear(self) -> None:
        """Ends all misbehaviour."""
        with self._lock:
            self._faults.clear()
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
