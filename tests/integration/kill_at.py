"""Runs ``komos`` and kills its process (SIGKILL) at a named step of the load.

python kill_at.py STEP load …
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import dlt
from dlt.common.storages.load_package import PackageStorage
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.load.load import Load

from komos_source.cli.main import main
from komos_source.extract import state

LOGS = "task_run_logs."


def is_merge(file: str) -> bool:
    """Whether a job of the logs merges what has come: by SQL, or into an open table."""
    return LOGS in file and file.endswith((".sql", ".reference"))


def is_staging(file: str) -> bool:
    return LOGS in file and not is_merge(file)


def is_insert_of_logs(_: Any, sql: str, *__: Any) -> bool:
    return sql.startswith("INSERT INTO") and '"task_run_logs" BY NAME' in sql


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Dies when a function is about to be called with arguments that fit."""
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, dying)


def after(owner: Any, name: str) -> None:
    """Dies when a function has been called."""
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        die()

    setattr(owner, name, dying)


WITHIN_THE_MERGE = "within the merge"
"""Only where the merge's statements are ours: in DuckDB and DuckLake."""

STEPS: dict[str, Callable[[], None]] = {
    "during extract": lambda: before(state, "apply", lambda changes, _: bool(changes.settled)),
    "after extract": lambda: before(dlt.Pipeline, "normalize"),
    "after normalize": lambda: before(dlt.Pipeline, "load"),
    "between the staging commit and dlt's marker": lambda: before(
        PackageStorage, "complete_job", lambda _, __, file: is_staging(file)
    ),
    WITHIN_THE_MERGE: lambda: before(DuckDbSqlClient, "execute_sql", is_insert_of_logs),
    "between the merge and dlt's marker": lambda: before(
        PackageStorage, "complete_job", lambda _, __, file: is_merge(file)
    ),
    "before the package is marked complete": lambda: before(Load, "complete_package"),
    "after the package is marked complete": lambda: after(Load, "complete_package"),
}


if __name__ == "__main__":
    STEPS[sys.argv.pop(1)]()
    main()
