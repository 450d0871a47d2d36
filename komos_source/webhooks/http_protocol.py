"""HTTP connections with limits that uvicorn does not have: time for a request, number in all.

The size of a request's head is limited by h11 (``h11_max_incomplete_event_size``), which also
limits the heads of chunks and trailers. uvicorn's other parser, httptools, has no such limit.
uvicorn's ``limit_concurrency`` is not used: with all connections taken by others, it would refuse
the real deliveries.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from komos_source.webhooks import settings
from komos_source.webhooks.refusal_log import RefusalLog


class BoundedH11Protocol(H11Protocol):
    """uvicorn's protocol on h11, with a deadline for each request and a limit on connections.

    When there are too many connections, the one that has been sending its request for longest is
    closed: real senders transmit a request within moments.

    Attributes:
        max_connections: Open connections at most, in this process.
    """

    max_connections: ClassVar[int] = settings.WEBHOOK_MAX_CONNECTIONS
    _receiving: ClassVar[dict[BoundedH11Protocol, None]] = {}  # in the order in which they began
    _refusals: ClassVar[RefusalLog] = RefusalLog()
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(transport)
        self._receiving[self] = None
        self._set_deadline(settings.WEBHOOK_HEAD_TIMEOUT)
        if len(self.connections) > self.max_connections:
            next(iter(self._receiving)).abort(
                "too many connections", f"{self.max_connections} connections are open"
            )

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        before = self.conn.their_state
        super().data_received(data)
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self._receiving.pop(self, None)  # the request is complete
        if self.transport.is_closing():
            return
        if before is h11.IDLE and self.conn.their_state is not h11.IDLE:
            self._set_deadline(settings.WEBHOOK_REQUEST_TIMEOUT)
        elif self._deadline is None:  # a keep-alive connection begins its next request
            self._set_deadline(settings.WEBHOOK_HEAD_TIMEOUT)

    def on_response_complete(self) -> None:
        """Waits for the next request; uvicorn closes the connection if it stays idle."""
        super().on_response_complete()
        if self.transport.is_closing():  # once the peer has taken the answer
            self._set_deadline(settings.WEBHOOK_HEAD_TIMEOUT)
            return
        self._clear_deadline()
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._receiving[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        self._clear_deadline()
        self._receiving.pop(self, None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is not HTTP, or has too large a head."""
        self._refusals.note("malformed request", self._peer, msg)
        super().send_400_response(msg)

    def abort(self, kind: str, detail: str) -> None:
        """Closes the connection without an answer."""
        self._refusals.note(kind, self._peer, detail)
        self._receiving.pop(self, None)
        self.transport.abort()

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        detail = f"the request was not complete after {seconds:.0f} s"
        self._deadline = self.loop.call_later(seconds, self.abort, "too slow", detail)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else "an unknown address"


def uvicorn_options() -> dict[str, Any]:
    """Options of `uvicorn.Config` that bound what a sender can take up."""
    return {
        "http": BoundedH11Protocol,
        "h11_max_incomplete_event_size": settings.WEBHOOK_HEAD_BYTES,
        "timeout_keep_alive": settings.WEBHOOK_IDLE_TIMEOUT,
        "ws": "none",
    }
