"""The Komos API over HTTP: retries, concurrency, typed models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar
from urllib.parse import quote

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from komos_source import settings
from komos_source.api import models
from komos_source.api.connections import Connections
from komos_source.api.errors import TransientError, error_for_status
from komos_source.api.rate_limit import ByteBudget, Pause
from komos_source.config import check_base_url
from komos_source.exceptions import (
    AnswerError,
    ApiUnreachableError,
    NotJsonError,
    RequestError,
)
from komos_source.metrics import LoadMetrics
from komos_source.timestamps import parse_http_date

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decoded answer and when it was given.

    Attributes:
        value: What the API answered.
        served_at: The server's clock (its ``Date`` header); None if it sent none.
    """

    value: T
    served_at: datetime | None


class KomosClient:
    """An asynchronous client of the four GET endpoints, to be used as a context manager.

    Args:
        api_key: The organisation's key. It is sent to `base_url` and nowhere else.
        base_url: Scheme and host, without ``/public/v1``; https unless the host is loopback.
        max_concurrency: Requests under way at once.
        backoff: Seconds before the second try; doubles with every further one.
        metrics: Where requests and pauses are counted.

    Raises:
        ConfigurationError: The key or the URL cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = settings.BASE_URL,
        *,
        max_concurrency: int = settings.MAX_CONCURRENCY,
        backoff: float = settings.BACKOFF,
        metrics: LoadMetrics | None = None,
    ) -> None:
        host = check_base_url(base_url)
        self._metrics = metrics or LoadMetrics()
        self._slots = asyncio.Semaphore(max_concurrency)
        self._pause = Pause()
        self._budget = ByteBudget(settings.BUFFERED_BYTES)
        self._backoff = wait_exponential_jitter(
            multiplier=backoff, max=settings.MAX_BACKOFF, jitter=backoff
        )
        self._ever_answered = False
        self._given_up_in_a_row = 0
        self._host = host
        self._base = base_url.rstrip("/") + settings.API_PREFIX
        self._connections = Connections(api_key, base_url, host)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connections.close()

    async def tasks(self) -> AsyncIterator[models.TaskPage]:
        """Pages of the organisation's tasks."""
        known: set[str] = set()
        while True:
            page = (
                await self._get(
                    f"/tasks?limit={settings.TASKS_PER_PAGE}&offset={len(known)}",
                    _parsed(models.parse_task_page),
                )
            ).value
            new = {task["id"] for task in page.tasks} - known
            if page.tasks:
                yield page
            known |= new
            # `total` is not certain to come; a page without anything new ends the listing too,
            # so that a server that ignores `offset` is not asked for ever.
            if not new or len(known) >= (page.total if page.total is not None else float("inf")):
                return

    async def task_runs(self, task_id: str) -> Answer[list[models.Run]]:
        """The task's 50 newest runs, newest first."""
        return await self._get(
            f"/tasks/{quote(task_id, safe='')}/runs",
            _parsed(lambda body: models.parse_runs(body, task_id)),
        )

    async def task_run(self, run_id: str) -> Answer[models.Run]:
        """One run."""
        return await self._get(
            f"/task-runs/{run_id}", _parsed(lambda body: models.parse_run(body, run_id))
        )

    @contextlib.asynccontextmanager
    async def task_run_log(
        self, run_id: str, decode: Callable[[bytes | bytearray, datetime], T]
    ) -> AsyncIterator[Answer[T]]:
        """The whole log of a run so far, decoded.

        A context manager, since the log counts against the memory of this client until the block
        is left.
        """
        async with contextlib.AsyncExitStack() as lease:
            yield await self._get(
                f"/task-runs/{run_id}/logs",
                lambda body, seen_at: asyncio.to_thread(decode, body, seen_at),
                lease,
            )

    async def _get(
        self,
        path: str,
        parse: Callable[[bytes | bytearray, datetime], Awaitable[T]],
        lease: contextlib.AsyncExitStack | None = None,
    ) -> Answer[T]:
        """Asks until there is an answer that can be parsed, within the allowed tries.

        Raises:
            AuthenticationError: 401 or 403.
            ApiUnreachableError: The tries are used up, and no request was ever answered.
            RequestError: Any other failure for good, as the kind that fits.
        """
        if self._given_up_in_a_row >= settings.MAX_FAILURES_IN_A_ROW:
            raise RequestError(
                f"not asked: the API had failed {self._given_up_in_a_row} requests in a row"
            )
        try:
            answer = await self._try(path, parse, lease)
        except (TransientError, NotJsonError) as error:
            answer = await self._try_again(error, path, parse, lease)
        self._given_up_in_a_row = 0
        return answer

    async def _try_again(
        self,
        failure: RequestError,
        path: str,
        parse: Callable[[bytes | bytearray, datetime], Awaitable[T]],
        lease: contextlib.AsyncExitStack | None,
    ) -> Answer[T]:
        """Goes on after a first try that failed.

        Most requests need no second try, and tenacity takes a tenth of a small one's time.
        """
        failures = [failure]

        async def next_try() -> Answer[T]:
            if failures:
                raise failures.pop()
            return await self._try(path, parse, lease)

        tries = AsyncRetrying(
            retry=retry_if_exception_type((TransientError, NotJsonError)),
            stop=stop_after_attempt(settings.MAX_TRIES),
            wait=self._wait_before_next_try,
            reraise=True,
        )
        try:
            return await tries(next_try)
        except (TransientError, NotJsonError) as error:
            self._given_up_in_a_row += 1
            if not self._ever_answered:
                raise ApiUnreachableError(
                    f"{self._host} cannot be reached: {error}. "
                    "Check the network and SOURCES__KOMOS__BASE_URL."
                ) from error
            raise RequestError(f"{error} ({settings.MAX_TRIES} tries)", error.status) from error

    async def _try(
        self,
        path: str,
        parse: Callable[[bytes | bytearray, datetime], Awaitable[T]],
        lease: contextlib.AsyncExitStack | None,
    ) -> Answer[T]:
        async with contextlib.AsyncExitStack() as held:
            async with self._slots:
                await self._pause.wait()
                self._metrics.requests += 1
                try:
                    async with (
                        self._connections.lend() as connection,
                        connection.stream("GET", self._base + path) as response,
                    ):
                        self._ever_answered = True
                        served_at = parse_http_date(response.headers.get("Date"))
                        if response.status_code != httpx.codes.OK:
                            raise error_for_status(
                                response.status_code,
                                await response.aread(),
                                response.headers.get("Retry-After"),
                                served_at,
                            )
                        body = await self._read(response, held)
                except httpx.TransportError as error:
                    raise TransientError(f"{type(error).__name__}: {error}") from error
                except httpx.DecodingError as error:
                    raise TransientError(f"the answer cannot be unpacked: {error}") from error
            seen_at = served_at or datetime.now(UTC)
            status = response.status_code
            try:
                value = await parse(body, seen_at)
            except RecursionError as error:
                raise AnswerError("the answer is nested too deeply", status) from error
            except AnswerError as error:
                error.status = status
                raise
            if lease is not None:
                lease.push_async_exit(held.pop_all())
            return Answer(value, served_at)

    async def _read(self, response: httpx.Response, held: contextlib.AsyncExitStack) -> bytearray:
        """Reads the body once there is room for it; `held` gives the room back."""
        length = response.headers.get("Content-Length", "")
        known = length.isascii() and length.isdigit() and "Content-Encoding" not in response.headers
        # A body of unknown size may be as large as any: it is read with the whole budget.
        size = int(length) if known else self._budget.limit
        await self._budget.take(size)
        held.push_async_callback(self._budget.give, size)
        # In place; `aread` would hold all pieces and the whole at once. One that has to grow is
        # copied again and again, but what a header says need not be true.
        body, end = bytearray(min(size, self._budget.limit) if known else 0), 0
        async for piece in response.aiter_bytes():
            body[end : end + len(piece)] = piece
            end += len(piece)
        return body

    def _wait_before_next_try(self, state: RetryCallState) -> float:
        """Seconds until the next try; after a 429 all requests of this client wait as long."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else None
        seconds = self._backoff(state) if asked is None else asked
        if isinstance(error, TransientError) and error.status == httpx.codes.TOO_MANY_REQUESTS:
            self._pause.extend(seconds)
            self._metrics.paused_until = self._pause.until
        return seconds


def _parsed(
    parse: Callable[[bytes | bytearray], T],
) -> Callable[[bytes | bytearray, datetime], Awaitable[T]]:
    """Parses on the event loop what is small: a thread would cost more."""

    async def parsed(body: bytes | bytearray, _: datetime) -> T:
        if len(body) <= settings.INLINE_BYTES:
            return parse(body)
        return await asyncio.to_thread(parse, body)

    return parsed
