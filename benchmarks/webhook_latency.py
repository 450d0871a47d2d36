"""From a signed delivery to its row readable in DuckDB, with ``komos load --follow 2``.

    python benchmarks/webhook_latency.py [--deliveries 60] [--pace 2]

Emulator, receiver and loader are running; every delivery is one entry that a run has just written.
The clock starts when it is sent and stops when another process finds the row, which it can only
between two loads: DuckDB lets one process in.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from komos_source.testing import Emulator, FakeKomos, WorldClock
from komos_source.testing.webhooks import signed_headers

SECRET = "wh_bench_5c1d"  # noqa: S105 - of the benchmark


def readable(file: Path, entry_id: str) -> bool:
    """Whether the row is there for whoever opens the file now."""
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            query = "SELECT COUNT(*) FROM komos.task_run_logs WHERE id = ?"
            (count,) = connection.execute(query, [entry_id]).fetchall()[0]
            return bool(count)
    except (duckdb.IOException, duckdb.CatalogException):
        return False  # a load has the file, or none has been yet


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints median, 95th percentile and maximum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=60)
    parser.add_argument("--pace", type=float, default=2.0)
    options = parser.parse_args(arguments)
    pick = random.Random(7)
    world = FakeKomos(WorldClock(datetime.now(UTC), pace=1.0))
    run_id = world.add_run(world.add_task("Orders"))
    with tempfile.TemporaryDirectory() as directory, Emulator(world) as emulator:
        environment = os.environ | {
            "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{directory}/komos_task_run_logs.duckdb",
            "DLT_DATA_DIR": f"{directory}/dlt",
            "PYTHONUNBUFFERED": "1",
            "SOURCES__KOMOS__API_KEY": emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": emulator.base_url,
            "SOURCES__KOMOS__SPOOL": f"sqlite:///{directory}/spool.db",
            "SOURCES__KOMOS__WEBHOOK_SECRET": SECRET,
        }
        komos = [sys.executable, "-m", "komos_source"]
        receiver = subprocess.Popen(
            [*komos, "webhooks", "serve", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        url = (receiver.stdout.readline() if receiver.stdout else "").split()[-1]
        loader = subprocess.Popen(
            [*komos, "load", "--follow", str(options.pace)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        waits = []
        for number in range(options.deliveries + 1):
            (entry_id,) = world.append(run_id, {})
            entry = world.log(run_id)[-1]
            body = json.dumps({"runId": run_id, "logEntries": [entry]}).encode()
            headers = signed_headers(SECRET, "task-run.log", body)
            started = time.perf_counter()
            urllib.request.urlopen(
                urllib.request.Request(f"{url}/webhooks/komos", body, headers)
            ).close()
            while not readable(Path(directory) / "komos_task_run_logs.duckdb", str(entry_id)):
                time.sleep(0.02)
            if number:  # the first waits for the loader to start
                waits.append(time.perf_counter() - started)
            time.sleep(pick.uniform(0, 2))
        for process in (loader, receiver):
            process.terminate()
            process.wait()
    p95 = statistics.quantiles(waits, n=20)[-1]
    print(
        f"{len(waits)} deliveries: median {statistics.median(waits):.2f} s, "
        f"95th percentile {p95:.2f} s, longest {max(waits):.2f} s"
    )


if __name__ == "__main__":
    main()
