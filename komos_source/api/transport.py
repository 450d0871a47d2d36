"""Sends one request and reads its answer, within limits of time, size and memory."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from komos_source import settings
from komos_source.api.connection import describe_connection_error, http_client, proxy_for
from komos_source.api.errors import PostponedError, TransientError
from komos_source.api.rate_limit import ByteBudget
from komos_source.exceptions import AnswerError, RequestError
from komos_source.metrics import LoadMetrics
from komos_source.timestamps import parse_http_date

SUCCESS = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT})
_ENCODINGS = {"", "identity", "gzip", "deflate"}
"""Others, or several of them, unpack to gigabytes from one piece of 64 kB."""


class Transport:
    """The connections to one host, and the memory that answers from it take.

    Args:
        key: The organisation's key.
        base_url: Scheme, host and port, where all requests go to.
        max_concurrency: How many connections may be open at once.
        max_body: Bytes of an answer, unpacked; a larger one is an error.
        metrics: Where requests are counted.

    Attributes:
        key: The organisation's key.
        address: Host and port, for messages.
        metrics: Where requests are counted.
        budget: Memory of the answers that are in use; callers release it.
        proxy: The proxy's address, for messages; None without one.
        ever_answered: Whether any answer has begun to arrive.

    Raises:
        ConfigurationError: A proxy or certificate setting cannot be used.
    """

    def __init__(
        self,
        key: str,
        base_url: str,
        max_concurrency: int,
        max_body: int,
        metrics: LoadMetrics,
    ) -> None:
        self.proxy = proxy_for(urlsplit(base_url).hostname or "", os.environ)
        self._http = http_client(key, max_concurrency, self.proxy)
        self._base = base_url + settings.API_PREFIX
        self._max_body = max_body
        self.key = key
        self.address = base_url.partition("//")[2]
        self.metrics = metrics
        self.budget = ByteBudget(settings.BUFFERED_BYTES)
        self.ever_answered = False

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def send(self, path: str, held: object) -> tuple[httpx.Response, bytearray]:
        """Sends a request once, and reads the answer as long as it comes fast enough.

        Args:
            path: Path and query.
            held: The key under which `budget` counts the memory of the answer.

        Raises:
            PostponedError: The answer takes too long.
            TransientError: The connection failed, or the answer is damaged.
            RequestError: The answer is too large, or packed in a way that is not read.
        """
        self.metrics.requests += 1
        try:
            async with (
                asyncio.timeout(settings.TOTAL_TIMEOUT) as limit,
                self._http.stream("GET", self._base + path) as response,
            ):
                self.ever_answered = True
                return response, await self._read(response, limit, held)
        except TimeoutError:
            raise PostponedError("the answer did not arrive in the time allowed") from None
        except httpx.TransportError as error:
            raise TransientError(describe_connection_error(error, os.environ)) from None
        except httpx.DecodingError as error:
            raise TransientError(f"the answer cannot be unpacked: {error}") from None

    async def _read(
        self, response: httpx.Response, limit: asyncio.Timeout, held: object
    ) -> bytearray:
        body = bytearray()
        is_error = response.status_code not in SUCCESS
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            if is_error:
                return body
            raise AnswerError(
                f"the answer has the Content-Encoding {encoding!r}, which is not read"
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settings.TOTAL_TIMEOUT
        async for piece in response.aiter_bytes():
            body += piece
            if is_error:
                if len(body) < settings.MAX_ERROR_BODY:
                    continue
                return body[: settings.MAX_ERROR_BODY]
            if len(body) > self._max_body:
                raise RequestError(
                    f"the answer is larger than {self._max_body:,} bytes: "
                    "raise SOURCES__KOMOS__MAX_BODY",
                    response.status_code,
                )
            limit.reschedule(None)  # waiting for memory does not count
            arrived_at = loop.time()
            await self.budget.add(held, len(piece))
            deadline += loop.time() - arrived_at
            limit.reschedule(deadline + response.num_bytes_downloaded / settings.SLOWEST_RATE)
        return body


def time_served(response: httpx.Response) -> datetime | None:
    """When the answer was given, by the server's clock; None if it does not say."""
    return parse_http_date(response.headers.get("Date"), response.headers.get("Age"))
