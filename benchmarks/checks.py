"""How often `komos health` is wrong, and what it costs.

    python -m benchmarks.checks alarms [seeds [check ...]]   # false alarms, healthy organisations
    python -m benchmarks.checks cost [entries]               # time and memory, on a large file

`alarms`: each seed is an organisation of 8 tasks without any planted pattern, 6 runs a day each,
for 8 weeks. The checks look once a day in the last 4. A check that fails at looks in a row counts
as one alarm; verdicts on nodes have a simulation of their own.
`cost`: the file is that of `benchmarks.views`, with hourly loads; each check runs in a process of
its own, and then all of them in one.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks import views
from komos_source.analytics import open_database, run_checks
from komos_source.analytics.checks import CHECKS
from komos_source.testing import make_sample_data
from tests.warehouse import pipeline_over

_OWN_SIMULATION = {"regressions", "incidents"}
_DAYS_LOOKED_AT = 28
_HISTORY = 28
_LOADS = f"""
CREATE OR REPLACE TABLE komos_loads AS
SELECT
    n::VARCHAR AS id, 'komos_task_run_logs' AS pipeline_name,
    TIMESTAMPTZ '{views.END}' - to_hours(n::INTEGER) AS started_at, started_at AS ended_at,
    0::BIGINT AS exit_code, 9::BIGINT AS requests, 100::BIGINT AS entries_loaded,
    0::BIGINT AS entries_rejected, NULL::VARCHAR AS problems
FROM range(24 * 200) AS hours(n);
CREATE OR REPLACE TABLE tasks AS
SELECT DISTINCT task_id AS id, task_id AS name, 'READY' AS status FROM task_runs;
ALTER TABLE task_runs ADD COLUMN IF NOT EXISTS extra JSON;
ALTER TABLE task_run_logs ADD COLUMN IF NOT EXISTS extra JSON;
ALTER TABLE task_run_logs_rejected ADD COLUMN IF NOT EXISTS reason VARCHAR;
ALTER TABLE task_run_logs_rejected ADD COLUMN IF NOT EXISTS seen_at TIMESTAMPTZ;
UPDATE task_run_logs SET extra = '{{"durationMs": 17, "attempt": {{"number": 1}}}}'
WHERE hash(id) % 4 = 0;
"""


def alarms(seeds: int, names: list[str]) -> None:
    """Prints, for each check, the looks at which it failed and the alarms that this makes."""
    failed: Counter[str] = Counter()
    started: Counter[str] = Counter()
    for seed in range(seeds):
        world = make_sample_data(seed, days=_HISTORY + _DAYS_LOOKED_AT, stories=False)
        end, before = world.clock.now(), set[str]()
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            pipeline: Any = pipeline_over(world, Path(directory), patch, _HISTORY + _DAYS_LOOKED_AT)
            for back in reversed(range(_DAYS_LOOKED_AT)):
                results = run_checks(pipeline, names, known=[], as_of=end - timedelta(days=back))
                found = {result.name for result in results if not result.passed}
                for result in results:
                    if not result.passed:
                        print(f"seed {seed}, day {-back}: {result.name}: {result.detail}")
                failed.update(found)
                started.update(found - before)
                before = found
        print(f"{seed + 1} seeds: {dict(started)}", flush=True)
    looks = seeds * _DAYS_LOOKED_AT
    print(f"\n{seeds} organisations, {looks} looks\n")
    print("| check | looks not green | alarms |")
    print("|---|---:|---:|")
    for name in names:
        print(f"| `{name}` | {failed[name]} | {started[name]} |")


def measure(file: str, names: list[str]) -> None:
    """Runs checks in this process; prints a row of the table."""
    database = open_database(database=file)
    wall, processor = time.monotonic(), time.process_time()
    run_checks(database, names, known=[], as_of=views.END)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    name = names[0] if len(names) == 1 else "all"
    print(f"| `{name}` | {wall:.1f} | {processor:.1f} | {peak:,} |", flush=True)


def cost(entries: str) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "komos_task_run_logs.duckdb"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.views", "make", file, entries], check=True
        )
        _run("complete", str(file))
        size = file.stat().st_size / 1e6
        print(f"{int(entries):,} entries, {size:,.0f} MB, {os.cpu_count()} cores\n")
        print("| check | seconds | processor s | peak MB |")
        print("|---|---:|---:|---:|", flush=True)
        for names in ([name] for name in CHECKS), [[*CHECKS]]:
            for chosen in names:
                _run("measure", str(file), *chosen)


def complete(file: str) -> None:
    """Adds what the file lacks; in a process of its own, whose memory is not counted."""
    with duckdb.connect(file) as connection:
        connection.execute("SET threads = 2; USE komos")
        connection.execute(_LOADS)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.checks", *arguments], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["alarms", *rest]:
            default = [name for name in CHECKS if name not in _OWN_SIMULATION]
            alarms(int(rest[0]) if rest else 20, rest[1:] or default)
        case ["cost", *rest]:
            cost(rest[0] if rest else "10000000")
        case ["complete", file]:
            complete(file)
        case ["measure", file, *names]:
            measure(file, names)
        case _:
            sys.exit(__doc__)
