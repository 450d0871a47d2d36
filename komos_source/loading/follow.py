"""``komos load --follow``: load after load, until stopped.

The API is asked at a steady pace; between that the webhooks' spool is drained as soon as something
is in it. An outage of the API holds up asking it only, one of the destination everything, each
for a time that doubles.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from komos_source.exceptions import (
    ApiUnreachableError,
    AuthenticationError,
    ConfigurationError,
    KomosError,
    RequestError,
    SpoolError,
    UsageError,
)
from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.settings import FOLLOW_MAX_WAIT, FOLLOW_TICK
from komos_source.webhooks._optional import open_spool
from komos_source.webhooks.config import spool_in_use

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool

_FOR_A_PERSON = (UsageError, ConfigurationError, AuthenticationError)
"""What no waiting will mend."""


class Outage:
    """How long to leave alone what has failed."""

    def __init__(self, pace: float) -> None:
        self._first = max(1.0, pace)
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure in a row."""
        self._failures += 1
        return min(FOLLOW_MAX_WAIT, self._first * 2.0 ** (self._failures - 1))

    def ended(self) -> None:
        """It works again."""
        self._failures = 0


def follow(
    pace: float,
    loaded: Callable[[LoadResult, bool], None],
    failed: Callable[[str], None],
    **options: Any,
) -> None:
    """Loads until interrupted; a load that is under way then may still end, or be killed.

    Args:
        pace: Seconds from one look at the API to the next.
        loaded: Told of each load, and whether the API was asked.
        failed: Told of each outage, in a sentence.
        options: Of `komos_source.loading.load.load`.

    Raises:
        KomosError: Something that no waiting will mend.
    """
    stopped = threading.Event()
    # In a thread, since in the main one dlt keeps signals to itself for the time of a step.
    loads = ThreadPoolExecutor(1).submit(_load_on, stopped, pace, loaded, failed, options)
    try:
        with _noted_signals() as signals:
            while not loads.done():
                if signals:
                    raise KeyboardInterrupt
                time.sleep(FOLLOW_TICK)
        loads.result()
    finally:
        stopped.set()


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM that have come, where the main thread asks.

    They are noted and looked for: an exception raised by a handler was lost, now and then, in
    a process that went on loading.
    """
    noted: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda came, _: noted.append(came))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _load_on(
    stopped: threading.Event,
    pace: float,
    loaded: Callable[[LoadResult, bool], None],
    failed: Callable[[str], None],
    options: dict[str, Any],
) -> None:
    api, destination = Outage(pace), Outage(pace)
    # Loads of a part leave the spool alone: it would never be empty.
    part = any(options.get(name) is not None for name in ("run_ids", "task_ids", "shard"))
    spool = None if part else _Spool(options.get("spool"))
    next_poll = next_load = time.monotonic()
    while not stopped.is_set():
        now = time.monotonic()
        poll = now >= next_poll
        if now < next_load or not (poll or (spool and spool.has_deliveries())):
            stopped.wait(FOLLOW_TICK)
            continue
        if poll:
            next_poll = now + pace
        api_failure: KomosError | str | None = None
        try:
            report = load(**options, poll=poll)
        except _FOR_A_PERSON:
            raise
        except (ApiUnreachableError, RequestError) as error:
            api_failure = error
        except KomosError as error:
            next_load = next_poll = time.monotonic() + (wait := destination.failed())
            failed(f"{error} Trying again in {wait:.0f} s.")
            continue
        else:
            api_failure = report.api_failure
            loaded(report, poll)
            if report.failures or report.problems:
                next_load = now + pace  # deliveries may have stayed: not to be tried in a rush
        destination.ended()
        if api_failure:
            next_poll = time.monotonic() + (wait := api.failed())
            failed(f"{api_failure} Asking again in {wait:.0f} s.")
        elif poll:
            api.ended()


class _Spool:
    """Tells whether there is something to drain; a spool may also come into being meanwhile."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._opened: Spool | None = None

    def has_deliveries(self) -> bool:
        try:
            if self._opened is None:
                url = self._url or spool_in_use()
                if url is None:
                    return False
                self._opened = open_spool(url)
            return bool(self._opened.last_number())
        except SpoolError:
            return False  # the loads say so, at their own pace
