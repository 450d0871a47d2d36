"""Runs ``komos`` and kills its process (SIGKILL) at a named step of the load, or at an event.

python kill_at.py STEP load …
python kill_at.py STEP run DESTINATION runs the source in a pipeline that a user of dlt creates.

Events are what Python audits but imports: files opened, renamed and removed, connections. The
number 0 kills nothing, and writes their number to standard error.
"""

from __future__ import annotations

import atexit
import itertools
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import dlt
from dlt.common.storages.load_package import PackageStorage
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.load.load import Load

from komos_source import komos_source
from komos_source.cli.main import main
from komos_source.extract import resources

LOGS = "task_run_logs."


def is_merge(file: str) -> bool:
    """Whether a job merges the logs: by SQL, or into a Delta or Iceberg table."""
    return LOGS in file and file.endswith((".sql", ".reference"))


def is_staging(file: str) -> bool:
    return LOGS in file and not is_merge(file)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Kills the process when a function is called with arguments that match."""
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, dying)


def after(owner: Any, name: str) -> None:
    """Kills the process when a function has returned."""
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        die()

    setattr(owner, name, dying)


def before_commit_of_merge() -> None:
    """Kills the process when the merge of the logs, in a transaction, is about to be committed."""
    merging: list[str] = []

    def note(_: Any, sql: str, *__: Any) -> bool:
        merging.extend([sql] if "DELETE FROM" in sql and "task_run_logs" in sql else [])
        return False

    for client in (DuckDbSqlClient, Psycopg2SqlClient):
        before(client, "execute_sql", note)
        before(client, "commit_transaction", lambda *_: bool(merging))


WITHIN_THE_MERGE = "before the merge is committed"
"""Databases only."""

STEPS: dict[str, Callable[[], None]] = {
    "during extract": lambda: before(resources, "apply", lambda changes, _: bool(changes.settled)),
    "after extract": lambda: before(dlt.Pipeline, "normalize"),
    "after normalize": lambda: before(dlt.Pipeline, "load"),
    "between the staging commit and dlt's marker": lambda: before(
        PackageStorage, "complete_job", lambda _, __, file: is_staging(file)
    ),
    WITHIN_THE_MERGE: before_commit_of_merge,
    "between the merge and dlt's marker": lambda: before(
        PackageStorage, "complete_job", lambda _, __, file: is_merge(file)
    ),
    "before the package is marked complete": lambda: before(Load, "complete_package"),
    "after the package is marked complete": lambda: after(Load, "complete_package"),
}


def at_event(number: int) -> None:
    """Kills the process up to a tenth of a second after an event."""
    seen = itertools.count(1)

    def hook(event: str, _: object) -> None:
        if event.startswith(("open", "os.", "shutil.", "socket.")) and next(seen) == number:
            threading.Timer(random.Random(number).uniform(0, 0.1), die).start()

    sys.addaudithook(hook)
    if not number:
        atexit.register(lambda: sys.stderr.write(f"{next(seen)}"))


if __name__ == "__main__":
    step = sys.argv.pop(1)
    if step in STEPS:
        STEPS[step]()
    else:
        at_event(int(step))
    if sys.argv[1] == "run":
        dlt.pipeline("mine", destination=sys.argv[2], dataset_name="komos").run(komos_source())
    else:
        main()
