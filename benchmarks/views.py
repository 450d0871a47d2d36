"""What the analysis queries cost on a large DuckDB file: ``python -m benchmarks.views [entries]``.

The entries are made in SQL: runs of 100 entries from 12 nodes, of 50 tasks, over 200 days; 5 % are
warnings and half a percent errors; the messages hold numbers, URLs, UUIDs, selectors and quoted
text. Each query runs in a process of its own, over everything and over the last 30 days; time is
wall-clock and processor seconds, memory the process's peak.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from komos_source.analytics.render import Options, render

END = datetime(2025, 10, 14, 18, tzinfo=UTC)
_DAYS = 200
_PERIODS = {"all": None, "30 days": END - timedelta(days=30)}
_QUERIES = {
    "node_health": Options(),
    "node_health_daily": Options(),
    "run_outcomes": Options(),
    "message_templates": Options(),
    "message_templates (no info)": Options(levels=("warning", "error")),
    "node_gaps": Options(),
    "warning_outcomes": Options(),
    "newest_run": Options(),
    "task_coverage": Options(),
    "node_entries": Options(levels=("warning", "error"), limit=8),
    "node_streaks": Options(levels=("error",)),
}
_THREADS = 2

_MADE = """
CREATE SCHEMA made.komos;
USE made.komos;
CREATE TABLE task_runs AS
SELECT
    uuid()::VARCHAR AS id,
    'task-' || (n % 50) AS task_id,
    CASE
        WHEN hash(n) % 100 < 12 THEN 'FAILED'
        WHEN hash(n) % 100 < 14 THEN 'CANCELLED'
        ELSE 'COMPLETED'
    END AS status,
    'schedule' AS trigger_type,
    $end::TIMESTAMPTZ - to_seconds($days * 86400 * (1 - n / $runs)) AS created_at,
    created_at AS started_at,
    created_at + INTERVAL 2 MINUTE AS finished_at,
    n
FROM range($runs) AS made(n);
CREATE TABLE tasks AS
SELECT 'task-' || n AS id, 'Task ' || n AS name FROM range(50) AS made(n);
CREATE TABLE task_run_log_loads AS
SELECT id AS run_id, true AS settled, 'ok' AS outcome, finished_at AS checked_at FROM task_runs;
CREATE TABLE task_run_logs_rejected (run_id VARCHAR);
CREATE TABLE task_run_window_gaps (
    task_id VARCHAR, detected_at TIMESTAMPTZ, oldest_visible_at TIMESTAMPTZ,
    newest_known_at TIMESTAMPTZ
);
CREATE TABLE task_run_logs AS
SELECT
    uuid()::VARCHAR AS id,
    runs.id AS run_id,
    k AS position,
    CASE
        WHEN hash(n, k) % 500 > 0
            THEN started_at + to_milliseconds(k * 1000 + (hash(k, n) % 900)::BIGINT)
    END AS timestamp,
    CASE
        WHEN hash(n, k, 1) % 1000 < 50 THEN 'warning'
        WHEN hash(n, k, 1) % 1000 < 55 THEN 'error'
        ELSE 'info'
    END AS level,
    CASE hash(n, k, 2) % 8
        WHEN 0 THEN 'Navigated to https://shop.example.com/orders/' || hash(n, k, 3) % 90000
        WHEN 1 THEN 'Page loaded in ' || hash(n, k, 3) % 9000
            || ' ms (https://shop.example.com/p/' || uuid() || ')'
        WHEN 2 THEN 'Clicked "Button ' || hash(n, k, 3) % 50 || '"'
        WHEN 3 THEN 'Extracted ' || hash(n, k, 3) % 100 || ' rows from table #main-table'
        WHEN 4 THEN 'Session ' || uuid() || ' restored'
        WHEN 5 THEN 'Waited ' || hash(n, k, 3) % 30000 || ' ms for #price'
        WHEN 6 THEN 'Downloaded invoice-' || hash(n, k, 3) % 90000 || '.pdf'
        ELSE 'Retrying element click after timeout (' || hash(n, k, 3) % 3 || ' of 3)'
    END AS message,
    CASE WHEN hash(n, k, 5) % 50 > 0 THEN 'node_' || (k // 9) END AS node_id
FROM task_runs AS runs, range(100) AS made(k);
"""


def make(file: Path, entries: int) -> None:
    """Makes a file with so many entries."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {_THREADS}")
        connection.execute(f"ATTACH '{file}' AS made")
        values = {"end": END.isoformat(), "days": str(_DAYS), "runs": str(entries // 100)}
        script = _MADE
        for name, value in values.items():
            script = script.replace(f"${name}", value if value.isdigit() else f"'{value}'")
        connection.execute(script)


def measure(file: Path, query: str, period: str) -> str:
    """Runs one query in this process; a row of the table."""
    options = replace(_QUERIES[query], since=_PERIODS[period])
    text = render(query.split(maxsplit=1)[0], "duckdb", options)
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute(f"SET threads = {_THREADS}")
        connection.execute(f"USE {file.stem}.komos")
        wall, processor = time.monotonic(), time.process_time()
        rows = len(connection.execute(text).fetchall())
        wall, processor = time.monotonic() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return f"| {query} | {period} | {rows:,} | {wall:.1f} | {processor:.1f} | {peak:,} |"


def main() -> None:
    """Makes the file and measures every query, each in a process of its own."""
    match sys.argv[1:]:
        case ["make", file, entries]:
            make(Path(file), int(entries))
        case ["measure", file, query, period]:
            print(measure(Path(file), query, period), flush=True)
        case arguments:
            measure_all(arguments[0] if arguments else "10000000")


def measure_all(entries: str) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "komos_task_run_logs.duckdb"
        _run("make", str(file), entries)
        size = file.stat().st_size / 1e6
        print(f"{int(entries):,} entries, {size:,.0f} MB, {_THREADS} threads\n")
        print("| query | period | rows | seconds | processor s | peak MB |")
        print("|---|---|---:|---:|---:|---:|", flush=True)
        for period in _PERIODS:
            for query in _QUERIES:
                _run("measure", str(file), query, period)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.views", *arguments], check=True)


if __name__ == "__main__":
    main()
