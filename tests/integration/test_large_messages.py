"""Loads of messages of up to a megabyte each, with limited memory."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from komos_source.testing import Emulator, FakeKomos
from tests.stores import make_store

MEGABYTE = 1_000_000
PEAK = 700 * MEGABYTE
"""Measured: 466 to 650 MB, more on a busy machine. All rows together are 360 MB."""
UNIT = 1 if sys.platform == "darwin" else 1024
"""getrusage(2) counts bytes on macOS, kilobytes on Linux."""
MEASURE = (
    "import resource, subprocess, sys;"
    "code = subprocess.call([sys.executable, *sys.argv[1:]]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr);"
    "sys.exit(code)"
)
"""Runs Python and prints its peak memory. A direct child of this process would count the memory of
this process, which holds all messages, as its own."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("duckdb", 1), ("duckdb-dlt", 6), ("postgres", 6)])
def test_load_of_large_messages_stays_within_the_memory_limit(
    name: str,
    share: int,
    tmp_path: Path,
    emulator: Emulator,
    world: FakeKomos,
    request: pytest.FixtureRequest,
) -> None:
    created = world.clock.now() - timedelta(hours=2)
    task = world.add_task("Screenshots")
    runs = [(100, 50_000)] * (36 // share) + [(30, MEGABYTE)] * (6 // share)
    for entries, size in runs:
        run = world.add_run(task, created_at=created)
        texts = [world.random.randbytes(size // 2).hex() for _ in range(entries)]
        world.append(run, *({"message": text} for text in texts))
        world.finish(run, at=created + timedelta(hours=1))

    store = make_store(name, tmp_path, request)
    process = store.start(emulator, "-c", MEASURE, "-m", "komos_source", *store.command())
    _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    rows = store.query("komos", "SELECT COUNT(*), SUM(LENGTH(message)) FROM {task_run_logs}")
    assert rows == [(sum(count for count, _ in runs), sum(count * size for count, size in runs))]
    assert int(error.split()[-1]) * UNIT <= PEAK

    # Small rows are added later, by a load that must not rewrite the large ones in memory.
    run = world.add_run(task, created_at=created)
    world.append(run, {"message": "short"})
    assert store.load(emulator)["entries_loaded"] == 1
