"""Connections to the API, each lent to one request at a time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator

import httpx

from komos_source import settings
from komos_source.config import check_api_key, is_loopback


class Connections:
    """As many as there are requests under way at once, made as they are needed, and kept.

    Each is a client of httpx's with one connection: with each request a client looks at all of its
    connections, twice, which is a tenth of a small request's time.

    Args:
        api_key: The organisation's key, sent with each request.
        base_url: Scheme and host that all requests go to.
        host: That host.

    Raises:
        ConfigurationError: The key cannot be used.
    """

    def __init__(self, api_key: str, base_url: str, host: str) -> None:
        self._new = functools.partial(
            httpx.AsyncClient,
            headers={
                "Authorization": f"Bearer {check_api_key(api_key)}",
                "Accept": "application/json",
            },
            timeout=httpx.Timeout(settings.READ_TIMEOUT, connect=settings.CONNECT_TIMEOUT),
            # Plain http is for loopback only, and must not take the key to a proxy on its way.
            trust_env=not is_loopback(host),
            # Certificates are read once, and not at all without TLS.
            verify=httpx.create_ssl_context() if base_url.startswith("https") else False,
        )
        self._idle: list[httpx.AsyncClient] = []

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[httpx.AsyncClient]:
        """One that nobody else uses meanwhile."""
        connection = self._idle.pop() if self._idle else self._new()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    async def close(self) -> None:
        """Closes all of them; none may be lent."""
        for connection in self._idle:
            await connection.aclose()
