"""The receiver: an ASGI app that answers 204 once a delivery is durable in the spool.

    uvicorn --factory komos_source.webhooks.receiver:app

``POST /webhooks/komos`` takes deliveries, ``GET /healthz`` tells whether the spool can be read,
``GET /metrics`` counts, in Prometheus' text format. Put it behind a proxy that does TLS, and let
the first of the three through only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics import Counter, Gauge, Histogram
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from komos_source import settings
from komos_source.exceptions import SpoolError
from komos_source.webhooks.batching import Batcher
from komos_source.webhooks.configuration import spool_url, verifier
from komos_source.webhooks.signature import Check, Delivery, Refusal, Verifier
from komos_source.webhooks.spool import Spool

_log = logging.getLogger(__name__)
_STATUS: dict[Check, int] = {
    "signature": 401,
    "timestamp": 401,
    "content type": 415,
    "headers": 400,
    "body": 400,
}
_CLOSE = {"Connection": "close"}  # what is left of the body is not read
_HEADERS = {
    408: _CLOSE,
    413: _CLOSE,
    503: {**_CLOSE, "Retry-After": str(settings.WEBHOOK_RETRY_AFTER)},
}
_LONGEST_NUMBER = 18
"""Digits of a length that are read: enough to say that it is too large."""


def app() -> Starlette:
    """The receiver as configured (``SOURCES__KOMOS__WEBHOOK_SECRET`` and the like).

    Raises:
        ConfigurationError: There is no secret, or something that cannot be used.
        SpoolError: The spool cannot be reached.
    """
    return make_app(verifier(), Spool(spool_url()))


def make_app(
    verifier: Verifier,
    spool: Spool,
    *,
    max_body: int = settings.WEBHOOK_MAX_BODY,
    commit_deliveries: int = settings.COMMIT_DELIVERIES,
) -> Starlette:
    """The receiver of given parts.

    Args:
        verifier: Says which deliveries are Komos'.
        spool: Where they go; closed with the app.
        max_body: Bytes of one delivery's body.
        commit_deliveries: Deliveries that share one commit at most.
    """
    receiver = _Receiver(verifier, spool, max_body, commit_deliveries)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await receiver.close()

    return Starlette(
        routes=[
            Route("/webhooks/komos", receiver.deliver, methods=["POST"]),
            Route("/healthz", receiver.health),
            Route("/metrics", receiver.metrics),
        ],
        lifespan=lifespan,
    )


class _RefusedError(Exception):
    """An answer other than 204."""

    def __init__(self, status: int, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.outcome = outcome


class _Receiver:
    def __init__(
        self, verifier: Verifier, spool: Spool, max_body: int, commit_deliveries: int
    ) -> None:
        self._verifier = verifier
        self._spool = spool
        self._max_body = max_body
        self._held_bytes = 0
        self._commits = Batcher[Delivery, None](self._commit, commit_deliveries)
        self._registry = CollectorRegistry()
        self._outcomes = Counter(
            "komos_webhook_deliveries",
            "Requests by what became of them",
            ["outcome"],
            registry=self._registry,
        )
        self._new = Counter(
            "komos_webhook_spooled",
            "Deliveries kept that were not in the spool already",
            registry=self._registry,
        )
        self._commit_seconds = Histogram(
            "komos_webhook_commit_seconds", "Commits into the spool", registry=self._registry
        )
        self._waiting = Gauge(
            "komos_webhook_spool_waiting", "Deliveries in the spool", registry=self._registry
        )

    async def close(self) -> None:
        await self._commits.finish()
        self._spool.close()

    async def deliver(self, request: Request) -> Response:
        try:
            with self._room() as held:
                body = await self._read(request, held)
                await self._keep(request, body)
        except _RefusedError as refusal:
            self._outcomes.labels(refusal.outcome).inc()
            return JSONResponse(
                {"detail": str(refusal)}, refusal.status, _HEADERS.get(refusal.status)
            )
        self._outcomes.labels("kept").inc()
        return Response(status_code=204)

    async def _read(self, request: Request, held: list[int]) -> bytes:
        """The body, as far as it may be read."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:_LONGEST_NUMBER]) > self._max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(settings.WEBHOOK_READ_TIMEOUT):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_body:
                        raise self._too_large()
                    held[0] += len(chunk)
                    self._held_bytes += len(chunk)
                    if self._held_bytes > settings.WEBHOOK_HELD_BYTES:
                        raise _RefusedError(503, "busy", "too much is being received at once")
        except TimeoutError as error:
            raise _RefusedError(408, "too slow", "the body took too long") from error
        except ClientDisconnect as error:
            raise _RefusedError(400, "disconnected", "the sender has gone") from error
        return bytes(body)

    async def _keep(self, request: Request, body: bytes) -> None:
        try:
            delivery = self._verifier.verify(request.headers.items(), body, datetime.now(UTC))
            await self._commits.put(delivery)
        except Refusal as refusal:
            raise _RefusedError(_STATUS[refusal.check], refusal.check, str(refusal)) from refusal
        except SpoolError as error:
            raise _RefusedError(503, "spool failed", "the delivery cannot be kept now") from error

    def _commit(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        try:
            with self._commit_seconds.time():
                self._new.inc(self._spool.put(deliveries))
        except SpoolError as error:
            _log.error("%d deliveries not kept: %s", len(deliveries), error)
            raise
        return [None] * len(deliveries)

    @contextlib.contextmanager
    def _room(self) -> Iterator[list[int]]:
        held = [0]
        try:
            yield held
        finally:
            self._held_bytes -= held[0]

    def _too_large(self) -> _RefusedError:
        return _RefusedError(413, "too large", f"a body has at most {self._max_body} bytes")

    async def health(self, _: Request) -> Response:
        try:
            return JSONResponse({"waiting": await asyncio.to_thread(self._spool.waiting)})
        except SpoolError as error:
            _log.error("%s", error)
            return JSONResponse({"detail": "the spool cannot be read"}, 503)

    async def metrics(self, _: Request) -> Response:
        try:
            self._waiting.set(await asyncio.to_thread(self._spool.waiting))
        except SpoolError:
            self._waiting.set(float("nan"))
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
