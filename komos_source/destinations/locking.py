"""Locks with a time limit: of pipelines, Postgres datasets and DuckDB files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dlt
import duckdb
from filelock import FileLock, Timeout

from komos_source.destinations.error_messages import describe_cause, describe_disk_error, root_cause
from komos_source.exceptions import DestinationError, LockedError

_POLL = 0.05
_POLL_POSTGRES = 0.25
_SET_LIMITS = """
SELECT set_config(name, value, TRUE) FROM pg_settings JOIN (VALUES
  ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
  ('tcp_keepalives_idle', '60'), ('tcp_keepalives_interval', '15'), ('tcp_keepalives_count', '4')
) AS limits(name, value) USING (name)
"""
"""The lock lasts as long as the load, and two minutes at most if its machine is lost. Postgres 16
and older have no transaction_timeout."""
_HOLDER = """
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32) | objid::bigint = %s
"""


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
        DestinationError: The code within failed at a file in the directory.
    """
    holder = directory / f".{pipeline_name}.holder"

    def message() -> str:
        return (
            f"another load of pipeline {pipeline_name!r} is running (process {_read(holder)}); "
            f"waited {timeout:.0f} s. Wait for it to end."
        )

    with lock_file(directory / f".{pipeline_name}.lock", timeout, message):
        # Only named in messages, so a load does not depend on it.
        with contextlib.suppress(OSError):
            holder.write_text(str(os.getpid()))
        try:
            yield
        except OSError as error:
            if problem := describe_disk_error(error, directory):
                raise DestinationError(problem) from error
            raise


@contextlib.contextmanager
def lock_file(file: Path, timeout: float, message: Callable[[], str]) -> Iterator[None]:
    """Holds the lock of a file; the operating system releases it when the process ends.

    Args:
        file: The file; its directory is created if it is missing.
        timeout: Seconds to wait for another process.
        message: Returns what to say if another process held the lock for that long.

    Raises:
        LockedError: Another process held the lock for that long, or the file cannot be used.
    """
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout, poll_interval=_POLL)
    except Timeout as error:
        raise LockedError(message()) from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LockedError(
            f"the lock {file} cannot be used: {reason}. Run as the user who owns the directory, or "
            "set DLT_DATA_DIR to one of your own on a local disk."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def lock_dataset(
    pipeline: dlt.Pipeline, timeout: float, *, exclusive: bool = False
) -> Iterator[None]:
    """Holds the locks of a Postgres dataset; does nothing for other destinations.

    Loads from several machines, or of several pipelines, that share a staging dataset would lose
    rows. So a load locks its staging dataset, which each shard has for itself, and shares the lock
    of the dataset with other loads.

    Args:
        pipeline: The pipeline that loads.
        timeout: Seconds to wait for another process.
        exclusive: Lock the dataset alone, so that no load runs, in whatever shard.

    Raises:
        LockedError: Another process held a lock for that long.
    """
    if pipeline.destination.destination_name != "postgres":
        yield
        return
    with pipeline.sql_client() as client:
        dataset, staging = client.dataset_name, client.staging_dataset_name
        begin_locking(client, "maintenance" if exclusive else "load")
        held_by = take_advisory_lock(client, f"komos_source rows:{dataset}", timeout, not exclusive)
        if not held_by and not exclusive:
            held_by = take_advisory_lock(client, f"komos_source:{staging}", timeout)
        if held_by:
            raise LockedError(
                f"another load into the dataset {dataset!r} is running ({held_by}); waited "
                f"{timeout:.0f} s. Wait for it to end."
            )
        yield


def begin_locking(client: Any, purpose: str) -> None:
    """Begins the transaction that holds advisory locks of Postgres.

    Args:
        client: dlt's SQL client, connected to Postgres; its connection holds the locks.
        purpose: What the process does, for those who wait.
    """
    name = f"komos {purpose} on {socket.gethostname()}, process {os.getpid()}"
    # A lock of the session would not hold behind a pooler that gives each transaction another one.
    # An idle transaction that is read committed keeps no row from being vacuumed.
    client.execute_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
    client.execute_sql("SELECT set_config('application_name', %s, TRUE)", name)
    client.execute_sql(_SET_LIMITS)


def take_advisory_lock(client: Any, label: str, timeout: float, shared: bool = False) -> str | None:
    """Takes an advisory lock of Postgres, which lasts as long as the transaction.

    Args:
        client: The client of `begin_locking`.
        label: What is locked.
        timeout: Seconds to wait for another process.
        shared: Whether others may share the lock.

    Returns:
        Who held the lock for that long; None if it is taken.
    """
    function = "pg_try_advisory_xact_lock" + ("_shared" if shared else "")
    # 63 bits, so that Postgres and Python agree about the sign.
    key = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big") >> 1
    deadline = time.monotonic() + timeout
    while not client.execute_sql(f"SELECT {function}(%s)", key)[0][0]:
        if time.monotonic() >= deadline:
            found = client.execute_sql(_HOLDER, key)
            return (found and found[0][0]) or "unknown"
        time.sleep(_POLL_POSTGRES)
    return None


def _read(holder: Path) -> str:
    try:
        return holder.read_text("utf-8")[:20]
    except (OSError, ValueError):
        return "unknown"


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
    with connect_when_unlocked(lambda: duckdb.connect(path), timeout, f"the DuckDB file {path}"):
        yield


@contextlib.contextmanager
def connect_when_unlocked(
    connect: Callable[[], AbstractContextManager[Any]], timeout: float, name: str = "the database"
) -> Iterator[Any]:
    """Connects as soon as no other process has the DuckDB file open; closes the connection.

    Args:
        connect: Returns a connection as a context manager.
        timeout: Seconds to wait.
        name: What is opened, for messages.

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
                    raise DestinationError(
                        f"{name} cannot be opened: {describe_cause(root_cause(error))}"
                    ) from error
                if time.monotonic() >= deadline:
                    raise LockedError(
                        "the DuckDB file is open in another process, and DuckDB allows only one; "
                        f"waited {timeout:.0f} s. Close it there (a notebook, the duckdb shell?) "
                        f"and try again. DuckDB reports: {describe_cause(error)}"
                    ) from error
            time.sleep(_POLL)
        yield connection


def _is_duckdb_lock_error(error: Exception) -> bool:
    text = str(error)  # DuckDB has no class or code for it
    without_locks = "File locks are not supported" in text or "No locks available" in text
    return "lock on file" in text and not without_locks
