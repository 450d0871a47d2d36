"""Reads a run's log once, or again and again until the run has ended and its log is quiet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.api.models import Run
from komos_source.cli.log_entries import LogEntry, is_over, next_wait, unseen_entries
from komos_source.decoding.parse import RunLog, parse_log
from komos_source.exceptions import ApiUnreachableError, NotVisibleError, RequestError
from komos_source.extract.discovery import ended_at
from komos_source.extract.failures import is_permanent
from komos_source.extract.redact_rows import redact_log
from komos_source.redaction.redactor import NO_RULES, Redactor


@dataclass(frozen=True, slots=True)
class LogReading:
    """One reading of a run and its log.

    Attributes:
        run: The run; None if it was not asked for.
        ended_at: When it ended; None while it goes on, or if it was not asked for.
        entries: The entries that no earlier reading had.
        now: When, by the server's clock.
        failure: Why the reading failed, and when the next one is; None if it did not.
    """

    run: Run | None = None
    ended_at: datetime | None = None
    entries: tuple[LogEntry, ...] = ()
    now: datetime | None = None
    failure: str | None = None


async def read_log(
    client: KomosClient, run_id: str, redactor: Redactor = NO_RULES, *, with_run: bool
) -> AsyncGenerator[LogReading]:
    """Reads once.

    Raises:
        KomosError: The log, or the run, cannot be read.
    """
    yield await _Log(run_id, redactor, with_run).read(client)


async def follow_log(
    open_client: Callable[[], KomosClient], run_id: str, redactor: Redactor = NO_RULES
) -> AsyncGenerator[LogReading]:
    """Reads until the run has ended and its log is quiet.

    A reading that fails after another has succeeded is followed by further ones, up to a limit;
    each has a new client, because a client ends all requests once the API seems to be down.

    Raises:
        KomosError: The first reading failed, so many in a row did, or the API refuses the run for
            good.
    """
    log, failures = _Log(run_id, redactor, with_run=True), 0
    while True:
        try:
            async with open_client() as client:
                while True:
                    yield await log.read(client)
                    failures = 0
                    if log.is_over:
                        return
                    await asyncio.sleep(log.wait)
        except (RequestError, ApiUnreachableError) as error:
            failures += 1
            permanent = isinstance(error, RequestError) and is_permanent(error, listed=False)
            if not log.readings or permanent or failures >= settings.LOG_MAX_FAILURES:
                raise
            failure = f"{error}; looking again in {settings.LOG_RECONNECT_WAIT:g} s"
        yield LogReading(failure=failure)
        await asyncio.sleep(settings.LOG_RECONNECT_WAIT)


class _Log:
    """A run's log over several readings.

    Attributes:
        readings: How many readings have succeeded.
        wait: Seconds until the next one.
        is_over: Whether none is needed.
    """

    def __init__(self, run_id: str, redactor: Redactor, with_run: bool) -> None:
        self.readings, self.wait, self.is_over = 0, settings.LOG_WAIT, False
        self._run_id, self._redactor, self._with_run = run_id, redactor, with_run
        self._seen: set[str] = set()
        self._run: Run | None = None
        self._ended_at: datetime | None = None
        self._changed_at: datetime | None = None
        self._watched_since = time.monotonic()

    def _decode(self, body: bytes | bytearray, seen_at: datetime) -> RunLog:
        return redact_log(parse_log(body, self._run_id, seen_at), self._redactor)

    async def read(self, client: KomosClient) -> LogReading:
        """Reads the run, if it is asked for, and then its log, so that this is no older."""
        try:
            answer = await client.task_run(self._run_id) if self._with_run else None
            async with client.task_run_log(self._run_id, self._decode) as log:
                entries = tuple(unseen_entries(log.value, self._seen))
                now = log.served_at or datetime.now(UTC)
        except NotVisibleError as error:
            raise NotVisibleError(
                f"the API shows this key no run {self._run_id} ({error}): `komos runs` lists the "
                "runs that it shows",
                error.status,
                error.served_at,
                error.detail,
            ) from error
        run = answer.value if answer else None
        ended = ended_at(run, self._ended_at, answer.served_at or now) if run and answer else None
        if entries or ended != self._ended_at:
            self._watched_since = time.monotonic()
        if entries and self.readings:
            self._changed_at = now
        watched = timedelta(seconds=time.monotonic() - self._watched_since)
        self.is_over = is_over(ended, self._changed_at, now, watched)
        changed = bool(entries) or run != self._run
        self.wait = next_wait(self.wait if self.readings else None, found_new=changed)
        self.readings += 1
        self._seen.update(entry.id for entry in entries)
        self._run, self._ended_at = run, ended
        return LogReading(run, ended, entries, now)
