"""The client of the Komos API: its endpoints, with typed answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Self, TypeVar
from urllib.parse import quote

from komos_source import settings
from komos_source.api.models import Answer, Run, TaskPage, parse_run, parse_runs, parse_task_page
from komos_source.api.retries import Decode, RequestSender
from komos_source.api.transport import Transport
from komos_source.config import check_api_key, check_base_url
from komos_source.exceptions import UsageError
from komos_source.metrics import LoadMetrics

T = TypeVar("T")


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
        self.base_url, api_key = check_base_url(base_url), check_api_key(api_key)
        metrics = metrics or LoadMetrics()
        self._transport = Transport(api_key, self.base_url, max_concurrency, max_body, metrics)
        self._sender = RequestSender(self._transport, max_concurrency, backoff, redact)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._transport.close()

    async def tasks(self) -> AsyncIterator[TaskPage]:
        """Pages of the organisation's tasks."""
        known: set[str] = set()
        offset = 0
        for _ in range(settings.MAX_TASK_PAGES):
            async with self._sender.get(
                f"/tasks?limit={settings.TASKS_PER_PAGE}&offset={offset}",
                lambda body, _: parse_task_page(body),
                {"tasks": []},
            ) as answer:
                page = answer.value
            yield page
            new = {task.id for task in page.tasks} - known
            known |= new
            size = len(page.tasks) + len(page.skipped)
            offset += size
            # The total may be missing or wrong: a page without a new task ends the list anyway.
            total = page.total or 0
            if not new or (size < settings.TASKS_PER_PAGE and offset >= total):
                if offset < total:
                    problem = f"the API lists {len(known)} tasks, but its total is {total}"
                    yield TaskPage([], total, [problem])
                return
        problem = f"only the first {settings.MAX_TASK_PAGES} pages of the list of tasks were read"
        yield TaskPage([], None, [problem])

    async def task_runs(self, task_id: str) -> Answer[list[Run]]:
        """The task's 50 newest runs, newest first."""
        async with self._sender.get(
            f"/tasks/{_segment(task_id)}/runs",
            lambda body, _: parse_runs(body, task_id),
            {"runs": []},
        ) as answer:
            runs, skipped = answer.value
            return Answer(runs, answer.served_at, skipped)

    async def task_run(self, run_id: str) -> Answer[Run]:
        """One run."""
        async with self._sender.get(
            f"/task-runs/{_segment(run_id)}",
            lambda body, _: parse_run(body, run_id),
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
        async with self._sender.get(f"/task-runs/{_segment(run_id)}/logs", decode, empty) as answer:
            yield answer


def _segment(identity: str) -> str:
    """An id as one segment of a path."""
    if identity in {"", ".", ".."}:
        raise UsageError(f"{identity!r} is not an id")
    return quote(identity, safe="", errors="replace")
