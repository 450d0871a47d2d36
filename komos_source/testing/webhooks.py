"""Webhooks as Komos sends them: what happens in a world, signed, to an endpoint over real HTTP.

What had happened before is not sent.

with Emulator(world), Webhooks(world, "http://127.0.0.1:8766/webhooks/komos", "wh_test_secret"):
...  # runs start, write and end; deliveries arrive, some twice or late if asked for
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

from komos_source.testing.world import FakeKomos, iso

PEPPER = "komos-webhook-pepper"
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds. Six retries with growing delays are documented, the delays themselves are not."""
_TIMEOUT = 30.0


def sign(
    secret: str, body: bytes, sent_at: datetime, *, pepper: str = PEPPER, hex_key: bool = False
) -> str:
    """The value of ``x-komos-signature``.

    Args:
        secret: The endpoint's, as ``wh_<prefix>_<secret>``.
        body: The body, byte for byte.
        sent_at: The time to sign.
        pepper: The organisation's own, if it has set one.
        hex_key: Whether the signing key is used as hex text; which is meant is not documented.
    """
    raw = secret.split("_", 1)[1]
    key: Any = hmac.new(pepper.encode(), raw.encode(), hashlib.sha256)
    key = key.hexdigest().encode() if hex_key else key.digest()
    time_text = iso(sent_at) or ""
    signature = hmac.new(key, time_text.encode() + b"." + body, hashlib.sha256)
    return f"t={time_text},v1={signature.hexdigest()}"


def signed_headers(
    secret: str, event: str, body: bytes, sent_at: datetime | None = None, **options: Any
) -> dict[str, str]:
    """All headers of a delivery; options are those of `sign`."""
    return {
        "content-type": "application/json",
        "x-komos-endpoint-id": "endpoint-1",
        "x-komos-event": event,
        "x-komos-signature": sign(secret, body, sent_at or datetime.now(UTC), **options),
    }


@dataclass(order=True, slots=True)
class _Due:
    """A delivery and when it is to be tried next."""

    at: float
    number: int
    event: str = field(compare=False)
    body: bytes = field(compare=False)
    failures: int = field(compare=False, default=0)


@dataclass(slots=True)
class _Sent:
    """What has been announced of a run."""

    body: bytes = b""
    entries: set[str] = field(default_factory=set)
    status: str | None = None


class Webhooks:
    """Sends a world's events while the context lasts.

    Args:
        world: Whose runs are watched.
        url: Where deliveries go.
        secret: They are signed with.
        pepper: The organisation's own, if it has set one.
        every: Seconds between two looks at the world: what a run wrote meanwhile is one batch.
        duplicates: Share of the deliveries that are sent a second time.
        disorder: Share of the deliveries that are held back, so that later ones come first.
        hold: Seconds that a duplicate or a delivery held back comes later, at most.
        retry_delays: Seconds before each retry.
        seed: Of what is random.

    Attributes:
        delivered: Deliveries that were answered with 2xx, duplicates included.
        failures: Tries that were not.
        lost: Deliveries given up after the last retry.
    """

    def __init__(
        self,
        world: FakeKomos,
        url: str,
        secret: str,
        *,
        pepper: str = PEPPER,
        every: float = 0.2,
        duplicates: float = 0.0,
        disorder: float = 0.0,
        hold: float = 2.0,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        seed: int = 1,
    ) -> None:
        self.delivered = 0
        self.failures = 0
        self.lost = 0
        self._world = world
        self._url = urlsplit(url)
        self._secret = secret
        self._pepper = pepper
        self._every = every
        self._duplicates = duplicates
        self._disorder = disorder
        self._hold = hold
        self._retry_delays = tuple(retry_delays)
        self._random = random.Random(seed)  # noqa: S311 - made misbehaviour, not secrets
        self._sent: dict[str, _Sent] = {}
        self._due: list[_Due] = []
        self._under_way = 0
        self._count = 0
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, name="komos-webhooks-watch", daemon=True),
            *(threading.Thread(target=self._send_due, daemon=True) for _ in range(4)),
        ]

    def __enter__(self) -> Self:
        self._look(silently=True)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def flush(self, timeout: float = 120.0) -> None:
        """Returns once all that happened so far has been delivered or given up.

        Raises:
            TimeoutError: Something is still on its way.
        """
        self._look()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._due and not self._under_way, timeout):
                raise TimeoutError(f"{len(self._due)} deliveries are still on their way")

    def send(self, event: str, body: bytes) -> None:
        """Sends one delivery of the caller's own making."""
        late = self._random.random() < self._disorder
        self._add(event, body, self._random.uniform(0, self._hold) if late else 0.0)
        if self._random.random() < self._duplicates:
            self._add(event, body, self._random.uniform(0, self._hold))

    def _add(self, event: str, body: bytes, delay: float, failures: int = 0) -> None:
        with self._changed:
            self._count += 1
            due = _Due(time.monotonic() + delay, self._count, event, body, failures)
            heapq.heappush(self._due, due)
            self._changed.notify_all()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    def _look(self, *, silently: bool = False) -> None:
        """Announces what has happened since the last look, or only takes note of it."""
        send = (lambda event, body: None) if silently else self.send
        with self._world.lock:
            for run_id in self._world.run_ids():
                sent = self._sent.setdefault(run_id, _Sent())
                run = self._world.run(run_id) or {}
                if sent.status is None:
                    send("task-run.started", _encoded(run))
                if entries := self._new_entries(run_id, sent):
                    send("task-run.log", _encoded({"runId": run_id, "logEntries": entries}))
                if run["status"] != sent.status and run["timestamps"]["finishedAt"]:
                    send(f"task-run.{run['status'].lower()}", _encoded(run))
                sent.status = run["status"]

    def _new_entries(self, run_id: str, sent: _Sent) -> list[Any]:
        body = self._world.log_body(run_id)
        if body is sent.body:  # the world keeps it until it changes
            return []
        sent.body = body
        new = []
        for entry in json.loads(body)["logEntries"]:
            text = json.dumps(entry)
            if text not in sent.entries:
                sent.entries.add(text)
                new.append(entry)
        return new

    def _send_due(self) -> None:
        connection = http.client.HTTPConnection(
            self._url.hostname or "", self._url.port, timeout=_TIMEOUT
        )
        while not self._ended.is_set():
            with self._changed:
                wait = self._due[0].at - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                due = heapq.heappop(self._due)
                self._under_way += 1
            ok = self._try(connection, due)
            with self._changed:
                self._under_way -= 1
                if ok:
                    self.delivered += 1
                else:
                    self.failures += 1
                    if due.failures < len(self._retry_delays):
                        delay = self._retry_delays[due.failures]
                        self._add(due.event, due.body, delay, due.failures + 1)
                    else:
                        self.lost += 1
                self._changed.notify_all()
        connection.close()

    def _try(self, connection: http.client.HTTPConnection, due: _Due) -> bool:
        headers = signed_headers(self._secret, due.event, due.body, pepper=self._pepper)
        try:
            connection.request("POST", self._url.path, due.body, headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        return response.status // 100 == 2  # noqa: PLR2004 - 2xx


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
