"""Bounded waits for what one process at a time may hold: a working directory, a DuckDB file."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from komos_source.exceptions import DestinationError, LockedError

_POLL = 0.05


@contextlib.contextmanager
def one_load_at_a_time(directory: Path, pipeline_name: str, timeout: float) -> Iterator[None]:
    """Holds the lock of a pipeline's working directory; the system frees it when a process dies.

    Two loads at once would share dlt's working directory and staging dataset, and lose rows.

    Raises:
        LockedError: Another load kept it for `timeout` seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    holder = directory / f".{pipeline_name}.holder"
    lock = FileLock(directory / f".{pipeline_name}.lock")
    try:
        lock.acquire(timeout=timeout, poll_interval=_POLL)
    except Timeout as error:
        process = holder.read_text() if holder.exists() else "unknown"
        raise LockedError(
            f"another load of pipeline {pipeline_name!r} is running (process {process}); waited "
            f"{timeout:.0f} s. Wait for it to end."
        ) from error
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def duckdb_held(path: str | None, timeout: float) -> Iterator[None]:
    """Keeps a DuckDB file open, so that no other process can take it between two connections.

    Args:
        path: The file; None for a destination without one, where there is nothing to hold.
        timeout: Seconds to wait for another process to close it.

    Raises:
        LockedError: Another process kept it open for `timeout` seconds.
        DestinationError: The file cannot be opened for another reason.
    """
    if path is None:
        yield
        return
    with connect_when_unlocked(lambda: duckdb.connect(path), timeout):
        yield


@contextlib.contextmanager
def connect_when_unlocked(
    connect: Callable[[], AbstractContextManager[Any]], timeout: float
) -> Iterator[Any]:
    """A connection, as soon as no other process has the DuckDB file open; closed afterwards.

    Raises:
        LockedError: Another process kept it open for `timeout` seconds.
        DestinationError: The connection failed for another reason.
    """
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        while True:
            try:
                connection = stack.enter_context(connect())
                break
            except Exception as error:
                if "lock on file" not in str(error):
                    raise DestinationError(f"the database cannot be opened: {error}") from error
                if time.monotonic() >= deadline:
                    raise LockedError(
                        "the DuckDB file is open in another process, and DuckDB lets only one in; "
                        f"waited {timeout:.0f} s. Close it there (a notebook, the duckdb shell?) "
                        f"and try again. DuckDB says: {error}"
                    ) from error
            time.sleep(_POLL)
        yield connection
