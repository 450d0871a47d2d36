"""Runs ``komos`` in small batches, and kills its process (SIGKILL) before a statement.

python kill_at_statement.py NUMBER prune …

Transactions count as statements when they begin and when they are committed. The number 0 kills
nothing, and writes how many there were to standard error.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from komos_source import settings
from komos_source.cli.main import main

_seen = itertools.count(1)


def die_at(number: int, owner: Any, name: str) -> None:
    """Counts the calls of a method, and kills the process before one of them."""
    original = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(_seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, counted)


if __name__ == "__main__":
    wanted = int(sys.argv.pop(1))
    settings.PRUNED_RUNS_AT_ONCE = 3
    settings.REDACTED_ROWS_AT_ONCE = 30
    for client in (DuckDbSqlClient, Psycopg2SqlClient):
        for method in ("execute_sql", "commit_transaction"):
            die_at(wanted, client, method)
    try:
        main()
    finally:
        if not wanted:
            sys.stderr.write(f"{next(_seen) - 1}")
