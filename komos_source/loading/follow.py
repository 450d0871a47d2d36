"""``komos load --follow``: load after load until interrupted.

The API is polled at a fixed interval; in between, webhook deliveries are loaded as soon as the
spool has any. After a failure of the API only polling pauses, after one of the destination
everything does, each for a time that doubles.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
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
from komos_source.webhooks.config import spool_in_use
from komos_source.webhooks.open_spool import open_spool

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool

_NOT_RETRYABLE = (UsageError, ConfigurationError, AuthenticationError)


class Backoff:
    """Waiting times after failures in a row: each is twice the one before, up to a maximum.

    Args:
        first: Seconds to wait after the first failure, at least 1.
    """

    def __init__(self, first: float) -> None:
        self._first = max(1.0, first)
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        self._failures += 1
        return min(FOLLOW_MAX_WAIT, self._first * 2.0 ** (self._failures - 1))

    def reset(self) -> None:
        """Ends the row of failures."""
        self._failures = 0


def follow(
    interval: float,
    on_load: Callable[[LoadResult, bool], None],
    on_failure: Callable[[str], None],
    **options: Any,
) -> None:
    """Loads until KeyboardInterrupt is raised.

    Args:
        interval: Seconds between two polls of the API.
        on_load: Called after each load, with its result and whether it polled the API.
        on_failure: Called after each failure, with a sentence that says when the next try is.
        options: Arguments of `komos_source.load`.

    Raises:
        KomosError: An error that a retry cannot solve.
    """
    with _recorded_signals() as signals:
        try:
            _load_until(signals, interval, on_load, on_failure, options)
        except Exception:
            if not signals:  # what a signal interrupts may fail in any way
                raise
    raise KeyboardInterrupt


def _load_until(
    signals: Sequence[int],
    interval: float,
    on_load: Callable[[LoadResult, bool], None],
    on_failure: Callable[[str], None],
    options: dict[str, Any],
) -> None:
    """Loads again and again until there are signals."""
    api, destination = Backoff(interval), Backoff(interval)
    # Loads of a selection leave the deliveries in the spool, which would never be empty.
    selected = any(options.get(name) is not None for name in ("run_ids", "task_ids", "shard"))
    spool = None if selected or options.get("spool") is False else _Spool(options.get("spool"))
    next_poll = next_load = time.monotonic()
    while not signals:
        now = time.monotonic()
        poll = now >= next_poll
        if now < next_load or not (poll or (spool and spool.has_deliveries())):
            time.sleep(FOLLOW_TICK)
            continue
        if poll:
            next_poll = now + interval
        api_failure: KomosError | str | None
        try:
            result = load(**options, poll=poll)
        except _NOT_RETRYABLE:
            raise
        except (ApiUnreachableError, RequestError) as error:
            api_failure = error
        except KomosError as error:
            next_load = next_poll = time.monotonic() + (wait := destination.next())
            on_failure(f"{error} Trying again in {wait:.0f} s.")
            continue
        else:
            api_failure = result.api_failure
            on_load(result, poll)
            if not poll and (result.failures or not result.runs_seen):
                next_load = now + interval  # deliveries may have stayed in the spool
        destination.reset()
        if api_failure:
            next_poll = time.monotonic() + (wait := api.next())
            on_failure(f"{api_failure} Polling again in {wait:.0f} s.")
        elif poll:
            api.reset()


@contextlib.contextmanager
def _recorded_signals() -> Iterator[list[int]]:
    """Raises KeyboardInterrupt on SIGINT and SIGTERM, and records them.

    An exception that is raised within a finalizer or a callback of a C library goes no further, and
    Python prints it. The record ends the loop then, and nothing needs to be printed.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def print_others(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            hook(dropped)

    handlers = {}
    hook = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, interrupt)
        sys.unraisablehook = print_others
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


class _Spool:
    """Whether the spool has deliveries; a receiver may create the spool while a load follows."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._opened: Spool | None = None

    def has_deliveries(self) -> bool:
        try:
            if self._opened is None and (url := self._url or spool_in_use()):
                self._opened = open_spool(url)
            return self._opened is not None and bool(self._opened.last_number())
        except SpoolError:
            return False  # the next poll reports it
