"""The receiver: an ASGI app that answers 204 once a delivery is durable in the spool.

    uvicorn --http h11 --factory komos_source.webhooks:create_app

``POST /webhooks/komos`` takes deliveries, ``GET /healthz`` reports whether the spool can take
deliveries, ``GET /metrics`` has counters in Prometheus' text format. Put it behind a proxy that
terminates TLS, and let only the first path through.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from komos_source.exceptions import SpoolError
from komos_source.webhooks import settings
from komos_source.webhooks.batching import Batcher
from komos_source.webhooks.body_memory import BodyMemory, HeldBody, MemoryFullError
from komos_source.webhooks.config import (
    spool_max_bytes,
    spool_reserve,
    spool_url,
    webhook_pepper,
    webhook_secrets,
)
from komos_source.webhooks.periodic_stats import PeriodicStats
from komos_source.webhooks.receiver_metrics import ReceiverMetrics
from komos_source.webhooks.recent_signatures import RecentSignatures
from komos_source.webhooks.refusal_log import RefusalLog
from komos_source.webhooks.signature import (
    Check,
    Delivery,
    Refusal,
    SignedHeaders,
    check_body,
    check_headers,
    signing_keys,
)
from komos_source.webhooks.spool import Spool

_STATUS: dict[Check, int] = {
    "signature": 401,
    "timestamp": 401,
    "content type": 415,
    "headers": 400,
    "body": 400,
}
_CLOSE = {"Connection": "close"}  # the rest of the body is not read
_RETRY = {**_CLOSE, "Retry-After": str(settings.WEBHOOK_RETRY_AFTER)}
_LONGEST_NUMBER = 18
"""Digits of a length that are read: enough to know that it is too large."""


def create_app(
    *,
    secrets: Sequence[str] | None = None,
    pepper: str | None = None,
    spool: Spool | None = None,
    max_body: int = settings.WEBHOOK_MAX_BODY,
    max_spool_bytes: int | None = None,
    commit_deliveries: int = settings.COMMIT_DELIVERIES,
) -> Starlette:
    """Creates the receiver. Arguments that are None are read from the configuration.

    Args:
        secrets: The endpoint's secrets, as ``wh_<prefix>_<secret>``.
        pepper: The organisation's pepper.
        spool: Where deliveries go; closed with the app.
        max_body: Bytes of one delivery's body at most.
        max_spool_bytes: Bytes of deliveries that may wait in the spool.
        commit_deliveries: Deliveries in one commit at most.

    Raises:
        ConfigurationError: There is no secret, or a setting that cannot be used.
        SpoolError: The spool cannot be reached.
    """
    keys = signing_keys(
        webhook_secrets() if secrets is None else secrets,
        webhook_pepper() if pepper is None else pepper,
    )
    receiver = _Receiver(
        keys,
        spool or Spool(spool_url(), reserve=spool_reserve()),
        max_body,
        spool_max_bytes() if max_spool_bytes is None else max_spool_bytes,
        commit_deliveries,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await receiver.close()

    return Starlette(
        routes=[
            Route("/webhooks/komos", receiver.deliver, methods=["POST"]),
            Route("/webhooks/komos/", receiver.deliver, methods=["POST"]),
            Route("/healthz", receiver.health),
            Route("/metrics", receiver.metrics),
        ],
        lifespan=lifespan,
    )


class _RejectedError(Exception):
    """An answer other than 204."""

    def __init__(self, status: int, outcome: str, detail: str, reason: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.outcome = outcome
        self.reason = reason or detail  # for the log only


class _Receiver:
    def __init__(
        self,
        keys: Sequence[bytes],
        spool: Spool,
        max_body: int,
        max_spool_bytes: int,
        commit_deliveries: int,
    ) -> None:
        self._keys = keys
        self._spool = spool
        self._max_body = max_body
        self._max_spool_bytes = max_spool_bytes
        self._memory = BodyMemory(settings.WEBHOOK_HELD_BYTES)
        self._commits = Batcher[Delivery, None](self._commit, commit_deliveries)
        self._accepted = RecentSignatures(
            2 * settings.WEBHOOK_TOLERANCE, settings.WEBHOOK_RECENT_SIGNATURES
        )
        self._stats = PeriodicStats(spool.stats)
        self._refusals = RefusalLog()
        self._metrics = ReceiverMetrics()

    async def close(self) -> None:
        await self._commits.finish()
        self._stats.close()
        self._spool.close()

    async def deliver(self, request: Request) -> Response:
        try:
            outcome = await self._take(request)
        except _RejectedError as rejected:
            self._metrics.outcomes.labels(rejected.outcome).inc()
            self._refusals.note(rejected.outcome, _peer(request), rejected.reason)
            headers = _RETRY if rejected.status == 503 else _CLOSE  # noqa: PLR2004 - HTTP
            return JSONResponse({"detail": str(rejected)}, rejected.status, headers)
        self._metrics.outcomes.labels(outcome).inc()
        return Response(status_code=204)

    async def _take(self, request: Request) -> str:
        """Takes one delivery; returns what became of it.

        Raises:
            _RejectedError: It is not taken.
        """
        try:
            headers = check_headers(request.headers.items(), datetime.now(UTC))
            if self._stats.latest().bytes > self._max_spool_bytes:
                raise _RejectedError(503, "spool full", "the spool is full; run a load")
            async with asyncio.timeout(settings.WEBHOOK_READ_TIMEOUT) as deadline:

                def abort() -> None:
                    if not deadline.expired():
                        deadline.reschedule(asyncio.get_running_loop().time())

                with self._memory.hold(abort) as held:
                    body = await self._read(request, held)
                    self._memory.finish(held)
                    deadline.reschedule(None)
                    return await self._store(headers, body)
        except TimeoutError as error:
            raise _RejectedError(408, "too slow", "the body took too long") from error
        except Refusal as refusal:
            raise _RejectedError(_STATUS[refusal.check], refusal.check, str(refusal)) from refusal

    async def _read(self, request: Request, held: HeldBody) -> bytes:
        """The body, as far as it may be read."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:_LONGEST_NUMBER]) > self._max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async for chunk in request.stream():
                if len(body) + len(chunk) > self._max_body:
                    raise self._too_large()
                self._memory.add(held, len(chunk))
                body += chunk
        except MemoryFullError as error:
            detail = "too many deliveries are being received at once"
            raise _RejectedError(503, "busy", detail) from error
        except ClientDisconnect as error:
            raise _RejectedError(400, "disconnected", "the sender closed the connection") from error
        return bytes(body)

    async def _store(self, headers: SignedHeaders, body: bytes) -> str:
        delivery = check_body(headers, body, self._keys)
        if headers.signature in self._accepted:
            return "repeated"
        try:
            async with asyncio.timeout(settings.WEBHOOK_COMMIT_TIMEOUT):
                await self._commits.put(delivery)
        except (SpoolError, TimeoutError) as error:
            self._stats.expire()
            raise _RejectedError(
                503, "spool failed", "the delivery cannot be stored now", _reason(error)
            ) from error
        self._accepted.add(headers.signature)
        return "kept"

    def _commit(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        with self._metrics.commit_seconds.time():
            self._metrics.new.inc(self._spool.put(deliveries))
        return [None] * len(deliveries)

    def _too_large(self) -> _RejectedError:
        return _RejectedError(413, "too large", f"a body has at most {self._max_body} bytes")

    async def health(self, request: Request) -> Response:
        try:
            stats = await self._stats.current()
            self._spool.check_free_space()
        except (SpoolError, TimeoutError) as error:
            self._refusals.note("health", _peer(request), _reason(error))
            return JSONResponse({"detail": "the spool cannot take deliveries now"}, 503)
        if stats.bytes > self._max_spool_bytes:
            return JSONResponse({"detail": "the spool is full", "waiting": stats.waiting}, 503)
        return JSONResponse({"waiting": stats.waiting})

    async def metrics(self, _: Request) -> Response:
        try:
            stats = await self._stats.current()
        except (SpoolError, TimeoutError):
            stats = None
        return Response(self._metrics.text(stats), media_type=CONTENT_TYPE_LATEST)


def _reason(error: SpoolError | TimeoutError) -> str:
    return str(error) or "the spool does not answer"


def _peer(request: Request) -> str:
    """Who sent a request: the address, and what a proxy in front reports."""
    address = request.client.host if request.client else "an unknown address"
    forwarded = request.headers.get("x-forwarded-for")
    return f"{address} for {forwarded[:100]!r}" if forwarded else address
