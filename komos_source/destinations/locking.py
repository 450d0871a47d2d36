"""Locks with a time limit: of a pipeline's working directory, and of a DuckDB file."""

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
def lock_pipeline(directory: Path, pipeline_name: str, timeout: float) -> Iterator[None]:
    """Holds the lock of a pipeline; the operating system releases it when the process ends.

    Two loads at once would share dlt's working directory and staging dataset, and lose rows.

    Args:
        directory: Where the working directories are.
        pipeline_name: The pipeline that is locked.
        timeout: Seconds to wait for another load.

    Raises:
        LockedError: Another load held the lock for that long, or its file cannot be used.
    """
    holder = directory / f".{pipeline_name}.holder"
    lock = FileLock(directory / f".{pipeline_name}.lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout, poll_interval=_POLL)
    except Timeout as error:
        raise LockedError(
            f"another load of pipeline {pipeline_name!r} is running (process {_read(holder)}); "
            f"waited {timeout:.0f} s. Wait for it to end."
        ) from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        raise LockedError(
            f"the lock {lock.lock_file} cannot be used: {_reason(error)}. Run as the user who owns "
            "the directory, or set DLT_DATA_DIR to one of your own on a local disk."
        ) from error
    try:
        # Only named in messages, so a load does not depend on it.
        with contextlib.suppress(OSError):
            holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text("utf-8")[:20]
    except (OSError, ValueError):
        return "unknown"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@contextlib.contextmanager
def lock_database(path: str | None, timeout: float) -> Iterator[None]:
    """Keeps a DuckDB file open, so that no other process can open it between two connections.

    Args:
        path: The file; None for another destination, where nothing is locked.
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
    """Connects as soon as no other process has the DuckDB file open; closes the connection.

    Args:
        connect: Returns a connection as a context manager.
        timeout: Seconds to wait.

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
                if not _is_duckdb_lock_error(error):
                    raise DestinationError(f"the database cannot be opened: {error}") from error
                if time.monotonic() >= deadline:
                    raise LockedError(
                        "the DuckDB file is open in another process, and DuckDB allows only one; "
                        f"waited {timeout:.0f} s. Close it there (a notebook, the duckdb shell?) "
                        f"and try again. DuckDB reports: {error}"
                    ) from error
            time.sleep(_POLL)
        yield connection


def _is_duckdb_lock_error(error: Exception) -> bool:
    return "lock on file" in str(error)  # DuckDB has no class or code for it
