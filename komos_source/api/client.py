"""The client of the Komos API: retries, limits, typed answers."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Generic, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from komos_source import settings
from komos_source.api import models
from komos_source.api.errors import (
    PostponedError,
    ThrottledError,
    TransientError,
    error_for_status,
    mask_key,
)
from komos_source.api.rate_limit import Failures, Throttle
from komos_source.api.transport import SUCCESS, Transport, time_served
from komos_source.config import check_api_key, check_base_url
from komos_source.exceptions import (
    AnswerError,
    ApiUnreachableError,
    KomosError,
    NotJsonError,
    RequestError,
    UsageError,
)
from komos_source.metrics import LoadMetrics

T = TypeVar("T")
Decode = Callable[[bytes | bytearray, datetime], T]

_PROBE = "/tasks?limit=1"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decoded answer and when it was given.

    Attributes:
        value: What the API answered.
        served_at: The server's clock (its ``Date`` header, less ``Age``); None if it sent none.
        odd: What could not be used of it, in sentences.
    """

    value: T
    served_at: datetime | None
    odd: list[str]


class KomosClient:
    """An asynchronous client of the API's four GET endpoints, used as a context manager.

    Args:
        api_key: The organisation's key. It is sent to `base_url` and nowhere else.
        base_url: Scheme and host, without ``/public/v1``; https unless the host is loopback.
        max_concurrency: How many requests may be under way at once.
        backoff: Seconds before the second try; doubles with every further one.
        max_body: Bytes of an answer, unpacked; a larger one is an error.
        metrics: Where requests and delays are counted.
        redact: Returns a text without what must not be stored or shown; it is given what the API
            says in errors.

    Raises:
        ConfigurationError: The key, the URL or a proxy or certificate setting cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = settings.BASE_URL,
        *,
        max_concurrency: int = settings.MAX_CONCURRENCY,
        backoff: float = settings.BACKOFF,
        max_body: int = settings.MAX_BODY,
        metrics: LoadMetrics | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        base_url = check_base_url(base_url)
        self._key = check_api_key(api_key)
        self._address = base_url.partition("//")[2]
        self._metrics = metrics or LoadMetrics()
        self._redact = redact
        self._transport = Transport(
            self._key,
            urlsplit(base_url).hostname or "",
            base_url + settings.API_PREFIX,
            max_concurrency,
            max_body,
            self._metrics,
        )
        self._slots = asyncio.Semaphore(max_concurrency)
        self._throttle = Throttle(backoff)
        self._backoff = wait_exponential_jitter(
            multiplier=backoff, max=settings.MAX_BACKOFF, jitter=backoff
        )
        self._failures = Failures()
        self._is_down = False
        self._key_accepted = False
        self._key_check = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._transport.close()

    async def tasks(self) -> AsyncIterator[models.TaskPage]:
        """Pages of the organisation's tasks."""
        known: set[str] = set()
        offset = 0
        for _ in range(settings.MAX_TASK_PAGES):
            async with self._get(
                f"/tasks?limit={settings.TASKS_PER_PAGE}&offset={offset}",
                lambda body, _: models.parse_task_page(body),
                {"tasks": []},
            ) as answer:
                page = answer.value
            yield page
            new = {task.id for task in page.tasks} - known
            known |= new
            size = len(page.tasks) + len(page.odd)
            offset += size
            # The total may be missing or wrong: a page without a new task ends the list anyway.
            total = page.total or 0
            if not new or (size < settings.TASKS_PER_PAGE and offset >= total):
                if offset < total:
                    problem = f"the API lists {len(known)} tasks, but its total is {total}"
                    yield models.TaskPage([], total, [problem])
                return
        problem = f"only the first {settings.MAX_TASK_PAGES} pages of the list of tasks were read"
        yield models.TaskPage([], None, [problem])

    async def task_runs(self, task_id: str) -> Answer[list[models.Run]]:
        """The task's 50 newest runs, newest first."""
        async with self._get(
            f"/tasks/{_segment(task_id)}/runs",
            lambda body, _: models.parse_runs(body, task_id),
            {"runs": []},
        ) as answer:
            runs, odd = answer.value
            return Answer(runs, answer.served_at, odd)

    async def task_run(self, run_id: str) -> Answer[models.Run]:
        """One run."""
        async with self._get(
            f"/task-runs/{_segment(run_id)}",
            lambda body, _: models.parse_run(body, run_id),
            {"run": None},
        ) as answer:
            return answer

    @contextlib.asynccontextmanager
    async def task_run_log(self, run_id: str, decode: Decode[T]) -> AsyncIterator[Answer[T]]:
        """The whole log of a run so far.

        The log counts against the memory of this client until the block is left: do not read a
        second log within the block.

        Args:
            run_id: The run.
            decode: Called with the answer's body and with the time it was given; on a thread if the
                body is large. May raise `AnswerError` or `NotJsonError`.
        """
        empty = {"runId": run_id, "logEntries": []}
        async with self._get(f"/task-runs/{_segment(run_id)}/logs", decode, empty) as answer:
            yield answer

    @contextlib.asynccontextmanager
    async def _get(self, path: str, decode: Decode[T], empty: object) -> AsyncIterator[Answer[T]]:
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
            except (TransientError, PostponedError, NotJsonError) as error:
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
                value = await asyncio.to_thread(decode, body, seen_at)
            return Answer(value, served_at, [])
        except RecursionError:
            raise AnswerError("the answer is nested too deeply", HTTPStatus.OK) from None
        except KomosError as error:
            self._transport.budget.remove(held)
            if isinstance(error, AnswerError):
                error.status = HTTPStatus.OK
            mask_key(error, self._key)
            error.args = (self._redact(str(error)),)
            raise

    async def _send_when_allowed(self, path: str, held: object) -> tuple[httpx.Response, bytearray]:
        """Sends a request, again while the API refuses it because of its rate limit.

        Raises:
            KomosError: What an answer other than 200 and 204 stands for.
        """
        started = time.monotonic()
        while True:
            await self._throttle.wait()
            sent_at = time.monotonic()
            response, body = await self._transport.send(path, held)
            served_at = time_served(response)
            if response.status_code in SUCCESS:
                self._key_accepted = True
                self._throttle.succeed(sent_at, response.headers, served_at or datetime.now(UTC))
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
            self._throttle.refuse(sent_at, error.retry_after)
            self._metrics.paused_until = self._throttle.until
            share = self._failures.tries / settings.MAX_TRIES
            if self._throttle.until - started > settings.MAX_RETRY_AFTER * share:
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
            if isinstance(outcome, TransientError | PostponedError | NotJsonError):
                raise outcome

    async def _given_up(self, error: RequestError, tries: int) -> KomosError:
        """Records a request whose tries are used up; returns the error that callers get."""
        if not self._transport.ever_answered:
            through = f" through the proxy {self._transport.proxy}" if self._transport.proxy else ""
            return ApiUnreachableError(
                f"{self._address} cannot be reached{through}: {error}. "
                "Check the network and SOURCES__KOMOS__BASE_URL."
            )
        self._failures.add()
        if self._failures.in_a_row >= settings.MAX_FAILURES_IN_A_ROW:
            self._failures.in_a_row = 0
            outcome = await self._probe()
            self._is_down = isinstance(outcome, TransientError | PostponedError | NotJsonError)
        return RequestError(f"{error} ({tries} tries)", error.status, error.served_at, error.detail)

    async def _probe(self) -> KomosError | None:
        """Sends one request that ought to succeed; returns why it did not."""
        held = object()
        try:
            _, body = await self._send_when_allowed(_PROBE, held)
            models.parse_task_page(body)
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


def _segment(identity: str) -> str:
    """An id as one segment of a path."""
    if identity in {"", ".", ".."}:
        raise UsageError(f"{identity!r} is not an id")
    return quote(identity, safe="", errors="replace")
