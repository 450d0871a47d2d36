"""Looks into the DuckDB file a contestant left, or fills it: always in a process of its own.

The runner must stay small: Linux counts a parent's peak memory, up to the exec, to its child's.
"""

from __future__ import annotations

import sys

import duckdb

_COUNT = """
SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE "timestamp" IS NULL) FROM {table}
"""
_FILL = """
INSERT INTO komos.task_run_logs BY NAME
SELECT
    uuid()::VARCHAR AS id,
    md5((place // 10000)::VARCHAR)::UUID::VARCHAR AS run_id,
    place % 10000 AS position,
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL 1 SECOND * place AS "timestamp",
    CASE WHEN place % 10 = 0 THEN 'warning' ELSE 'info' END AS level,
    'Step ' || place || ': navigated to https://example.com/orders' AS message,
    'node_' || place % 7 AS node_id,
    (1700000000 + place // 1000000)::VARCHAR AS _dlt_load_id
FROM range(?) AS made(place)
"""
"""Database as our loads leave it: clustered by load, run and time, with random ids."""


def count(database: str, table: str) -> None:
    """Prints rows, distinct ids and null timestamps of a table."""
    with duckdb.connect(database, read_only=True) as connection:
        found = connection.execute(_COUNT.format(table=table)).fetchone() or ()
    print(*found)


def fill(database: str, rows: str) -> None:
    """Adds history to a database of ours until its log table has this many rows."""
    with duckdb.connect(database) as connection:
        there = connection.execute("SELECT count(*) FROM komos.task_run_logs").fetchone()
        connection.execute(_FILL, [int(rows) - (there or (0,))[0]])


if __name__ == "__main__":
    {"count": count, "fill": fill}[sys.argv[1]](*sys.argv[2:])
