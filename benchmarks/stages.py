"""Where the time of a first load goes: ``python -m benchmarks.stages [ENTRIES]``.

Loads in this process, with a watch around each step. Steps within steps are indented; decoding runs
on threads beside fetching and writing, so the parts of a step add up to more than its wall time.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.contest import home, serving
from benchmarks.contestants import environment

_wall: dict[str, float] = defaultdict(float)
_processor: dict[str, float] = defaultdict(float)


@contextmanager
def _watched(stage: str, clock: Callable[[], float] = time.process_time) -> Iterator[None]:
    _wall[stage] += 0  # so that stages are printed in the order they begin in
    wall, processor = time.perf_counter(), clock()
    try:
        yield
    finally:
        _wall[stage] += time.perf_counter() - wall
        _processor[stage] += clock() - processor


def _watch(
    owner: Any,
    name: str,
    stage: Callable[..., str | None],
    clock: Callable[[], float] = time.process_time,
) -> None:
    """Replaces a function by one that is timed as the stage its arguments say."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def timed(*args: Any, **kwargs: Any) -> Any:
        if (label := stage(*args)) is None:
            return original(*args, **kwargs)
        with _watched(label, clock):
            return original(*args, **kwargs)

    setattr(owner, name, timed)


def _statement(_: Any, sql: Any, *__: Any) -> str | None:
    return "    DuckDB merges" if "read_parquet" in str(sql) else None


def main() -> None:
    """Loads once and prints the stages."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with serving(runs=20, entries=entries) as server, home() as directory:
        os.environ.update(environment(server.address, directory / "data.duckdb"))
        run_ids = server.ask("runs")
        with _watched("all"):
            with _watched("  imports"):
                from komos_source.cli import startup

                startup.import_loading()
                import dlt
                from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

                from komos_source.extract import log_reader
                from komos_source.loading import load as loading
            for name in ("sync_destination", "extract", "normalize", "load"):
                _watch(dlt.Pipeline, name, lambda *_, name=name: f"  {name}")
            _watch(log_reader, "parse_log", lambda *_: "    decoding, on threads", time.thread_time)
            _watch(DuckDbSqlClient, "execute_sql", _statement)
            report = loading.load(run_ids=run_ids)
    print(f"{report.entries_loaded:,} entries; seconds\n")
    print(f"{'stage':<40}{'wall':>8}{'processor':>11}")
    for stage, seconds in _wall.items():
        print(f"{stage:<40}{seconds:>8.2f}{_processor[stage]:>11.2f}")


if __name__ == "__main__":
    main()
