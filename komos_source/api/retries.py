"""Sends a request until it is answered: what is tried again, when, and how often."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from komos_source import settings
from komos_source.api.errors import (
    PostponedError,
    ThrottledError,
    TransientError,
    error_for_status,
    mask_key,
)
from komos_source.api.models import Answer, parse_task_page
from komos_source.api.rate_limit import Failures, Throttle
from komos_source.api.transport import SUCCESS, Transport, time_served
from komos_source.exceptions import (
    AnswerError,
    ApiUnreachableError,
    KomosError,
    NotJsonError,
    RequestError,
)

T = TypeVar("T")
Decode = Callable[[bytes | bytearray, datetime], T]
"""Decodes the body of an answer, given the time of the answer."""

_PROBE = "/tasks?limit=1"
_UNANSWERED = (TransientError, PostponedError, NotJsonError)
"""Errors of a request that the API has not answered as it should: another one may succeed."""


class RequestSender:
    """Sends the requests of one client.

    Args:
        transport: Sends one request.
        max_concurrency: How many requests may be in progress at once.
        backoff: Seconds to wait before the first retry.
        redact: Redacts the text of an error answer.

    Attributes:
        throttle: Delays requests because of the API's rate limit.
    """

    def __init__(
        self,
        transport: Transport,
        max_concurrency: int,
        backoff: float,
        redact: Callable[[str], str],
    ) -> None:
        self._transport = transport
        self._redact = redact
        self._slots = asyncio.Semaphore(max_concurrency)
        # One at a time: decoding takes several times the memory of the answer.
        self._decoding = asyncio.Lock()
        self.throttle = Throttle(backoff)
        self._backoff = wait_exponential_jitter(
            multiplier=backoff, max=settings.MAX_BACKOFF, jitter=backoff
        )
        self._failures = Failures()
        self._is_down = False
        self._key_accepted = False
        self._key_check = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def get(self, path: str, decode: Decode[T], empty: object) -> AsyncIterator[Answer[T]]:
        """Sends a request until its answer can be decoded, within the allowed tries.

        Args:
            path: Path and query.
            decode: Decodes the body, given the time of the answer.
            empty: What an answer without content (204) stands for, as JSON.

        Raises:
            AuthenticationError: The API refuses the key.
            ApiUnreachableError: The tries are used up, and no request was ever answered.
            RequestError: Any other lasting failure, as the kind that fits.
        """
        if self._is_down:
            raise RequestError(
                f"skipped after {settings.MAX_FAILURES_IN_A_ROW} consecutive failed requests"
            )
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((TransientError, NotJsonError)),
            stop=self._is_last_try,
            wait=self._seconds_before_next_try,
            reraise=True,
        )
        held = object()
        try:
            try:
                async for attempt in retrying:  # keeps no answer, as a call of it would, in a cycle
                    with attempt:
                        answer: Answer[T] = await self._try(path, decode, empty, held)
            except _UNANSWERED as error:
                tries = retrying.statistics["attempt_number"]
                raise await self._given_up(error, tries) from None
            except RequestError:
                self._failures.succeed()  # of the API: it has answered
                raise
            self._failures.succeed()
            yield answer
        finally:
            self._transport.budget.remove(held)

    async def _try(self, path: str, decode: Decode[T], empty: object, held: object) -> Answer[T]:
        try:
            async with self._slots:
                response, body = await self._send_when_allowed(path, held)
            if response.status_code == HTTPStatus.NO_CONTENT:
                body = bytearray(json.dumps(empty).encode())
            if body.startswith(codecs.BOM_UTF8):
                del body[: len(codecs.BOM_UTF8)]
            served_at = time_served(response)
            seen_at = served_at or datetime.now(UTC)
            if len(body) <= settings.INLINE_BYTES:
                value = decode(body, seen_at)
            else:
                async with self._decoding:
                    value = await asyncio.to_thread(decode, body, seen_at)
            return Answer(value, served_at, [])
        except RecursionError:
            raise AnswerError("the answer is nested too deeply", HTTPStatus.OK) from None
        except KomosError as error:
            self._transport.budget.remove(held)
            if isinstance(error, AnswerError):
                error.status = HTTPStatus.OK
            mask_key(error, self._transport.key)
            error.args = (self._redact(str(error)),)
            raise

    async def _send_when_allowed(self, path: str, held: object) -> tuple[httpx.Response, bytearray]:
        """Sends a request, again while the API refuses it because of its rate limit.

        Raises:
            KomosError: What an answer other than 200 and 204 stands for.
        """
        started = time.monotonic()
        while True:
            await self.throttle.wait()
            sent_at = time.monotonic()
            response, body = await self._transport.send(path, held)
            served_at = time_served(response)
            if response.status_code in SUCCESS:
                self._key_accepted = True
                self.throttle.succeed(sent_at, response.headers, served_at or datetime.now(UTC))
                return response, body
            status = response.status_code
            if path != _PROBE:
                await self._check_key(status)
            error = error_for_status(
                status,
                body,
                response.headers,
                served_at,
                key_accepted=self._key_accepted,
                redact=self._redact,
            )
            if not isinstance(error, ThrottledError):
                raise error
            self.throttle.refuse(sent_at, error.retry_after)
            self._transport.metrics.paused_until = self.throttle.until
            share = self._failures.tries / settings.MAX_TRIES
            if self.throttle.until - started > settings.MAX_RETRY_AFTER * share:
                raise PostponedError(str(error), error.status, served_at, error.detail)

    async def _check_key(self, status: int) -> None:
        """Finds out whether an answer that refuses a request is about the key or what was asked.

        A key that has been accepted may have been revoked since.

        Raises:
            RequestError: It cannot be found out now.
        """
        forbidden = status == HTTPStatus.FORBIDDEN and not self._key_accepted
        if status == HTTPStatus.UNAUTHORIZED or forbidden:
            async with self._key_check:  # another check would read what this one has not set yet
                self._key_accepted = False
                outcome = await self._probe()  # accepts the key, if the API does
            if isinstance(outcome, _UNANSWERED):
                raise outcome

    async def _given_up(self, error: RequestError, tries: int) -> KomosError:
        """Records a request whose tries are used up; returns the error that callers get."""
        if not self._transport.ever_answered:
            proxy = self._transport.proxy
            through = f" through the proxy {proxy}" if proxy else ""
            return ApiUnreachableError(
                f"{self._transport.address} cannot be reached{through}: {error}. "
                "Check the network and SOURCES__KOMOS__BASE_URL."
            )
        self._failures.add()
        if self._failures.in_a_row >= settings.MAX_FAILURES_IN_A_ROW:
            self._failures.in_a_row = 0
            outcome = await self._probe()
            self._is_down = isinstance(outcome, _UNANSWERED)
        return RequestError(f"{error} ({tries} tries)", error.status, error.served_at, error.detail)

    async def _probe(self) -> KomosError | None:
        """Sends one request that ought to succeed; returns why it did not."""
        held = object()
        try:
            _, body = await self._send_when_allowed(_PROBE, held)
            parse_task_page(body)
        except KomosError as error:
            return error
        finally:
            self._transport.budget.remove(held)
        return None

    def _is_last_try(self, state: RetryCallState) -> bool:
        waits = state.idle_for + state.upcoming_sleep
        return state.attempt_number >= self._failures.tries or waits > settings.MAX_RETRY_AFTER

    def _seconds_before_next_try(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wait = error.retry_after if isinstance(error, TransientError) else None
        return self._backoff(state) if wait is None else wait
