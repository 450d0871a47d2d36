"""Runs one query on a DuckLake and prints the rows as JSON; or puts the extensions in place.

Run with the DuckDB of ``ducklake-requirements.txt``.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

import duckdb

EXTENSIONS = ("ducklake", "postgres_scanner", "sqlite_scanner")


def plain(value: Any) -> Any:
    return {"moment": value.isoformat()} if isinstance(value, datetime) else value


def install() -> None:
    from duckdb_extensions import import_extension

    for name in EXTENSIONS:
        import_extension(name)


def read(sql: str) -> None:
    catalog = os.environ["DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG"]
    if catalog.startswith("sqlite:///"):
        attach, options = f"sqlite:{catalog.removeprefix('sqlite:///')}", ""
    else:
        attach, options = f"postgres:{catalog}", "METADATA_SCHEMA 'ducklake', "
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH 'ducklake:{attach}' AS ducklake ({options}READ_ONLY)")
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(sql).fetchall()
    json.dump([[plain(value) for value in row] for row in rows], sys.stdout)


if __name__ == "__main__":
    install() if sys.argv[1] == "--install" else read(sys.argv[1])
