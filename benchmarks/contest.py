"""One contest: each contestant loads what a server holds, in turn, and is held to the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant, environment
from benchmarks.measure import Measured, measure

LIMIT = 1_200.0
"""Seconds after which a load is given up."""


@dataclass(frozen=True)
class Load:
    """One load by one contestant.

    Attributes:
        contestant: Its name.
        phase: 0 for the first load, 1 for the second.
        measured: What it took.
        wrong: What the table holds that it should not, or lacks; empty if it is right.
    """

    contestant: str
    phase: int
    measured: Measured
    wrong: str


class Server:
    """A benchmark server that runs."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str) -> Any:
        """The answer of one of the server's own routes."""
        with urllib.request.urlopen(f"{self.address}/bench/{path}") as answer:
            return json.load(answer)


@contextmanager
def serving(**options: float) -> Iterator[Server]:
    """Starts a server with these options of `benchmarks.server`; ends it on leaving."""
    command = [sys.executable, "-m", "benchmarks.server"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Server(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.kill()


@contextmanager
def home() -> Iterator[Path]:
    """An empty directory for one contestant; its database is ``data.duckdb`` in there."""
    with tempfile.TemporaryDirectory(prefix="komos-benchmark-") as directory:
        yield Path(directory)


def load(server: Server, contestant: Contestant, directory: Path, run_ids: list[str]) -> Measured:
    """Lets a contestant load these runs once."""
    runs_file, database = directory / "runs.txt", directory / "data.duckdb"
    runs_file.write_text("\n".join(run_ids))
    command = contestant.command(server.address, runs_file, database)
    os.sync()  # else what has been written before is written out while the load is measured
    return measure(command, directory, LIMIT, environment(server.address, database))


def tables(verb: str, database: Path, argument: str) -> list[int]:
    """Runs `benchmarks.tables` and returns the numbers it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tables", verb, str(database), argument],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(word) for word in done.stdout.split()]


def wrong(
    server: Server, contestant: Contestant, directory: Path, measured: Measured, other: int = 0
) -> str:
    """How a load failed, or how its table differs (see `differs`); empty if all is right."""
    if measured.exit_code:
        return f"exit {measured.exit_code}"
    return differs(server, contestant, directory, other) if contestant.table else ""


def differs(server: Server, contestant: Contestant, directory: Path, other: int = 0) -> str:
    """How the table differs from what the server holds and ``other`` rows; empty if it does not."""
    expected = server.ask("expected")
    found = tables("count", directory / "data.duckdb", str(contestant.table))
    if not found:
        return "no table"
    rows, distinct, untimed = found
    parts = {
        f"{rows:,} of {expected['rows'] + other:,} rows": rows == expected["rows"] + other,
        f"{rows - distinct:,} rows twice": rows == distinct,
        f"{untimed:,} of {expected['untimed']:,} null timestamps": untimed == expected["untimed"],
    }
    return ", ".join(part for part, right in parts.items() if not right)


def contest(
    servers: Mapping[str, Server],
    contestants: Mapping[str, Contestant],
    repeats: int,
    report: Callable[[str], None],
    grow: bool = True,
    phases: Sequence[int] = (0, 1),
) -> list[Load]:
    """First and second load of each contestant from each server, in turn: A B C, B C A.

    Args:
        servers: By a suffix for the contestants' names.
        contestants: By name.
        repeats: Rounds.
        report: Told of each load as it ends.
        grow: Each run has new entries before the second load.
        phases: Only the first load if ``(0,)``.
    """
    loads = []
    for suffix, server, name, contestant in _turns(servers, contestants, repeats):
        with home() as directory:
            for phase in phases:
                server.ask(f"phase/{phase if grow else 0}")
                measured = load(server, contestant, directory, server.ask("runs"))
                amiss = wrong(server, contestant, directory, measured)
                loads.append(Load(name + suffix, phase, measured, amiss))
                report(
                    f"{name + suffix}, {('first', 'second')[phase]} load: "
                    f"{measured.seconds:.2f} s, {measured.peak:.0f} MB {amiss}"
                    + (f"\n{measured.said}" if measured.exit_code else "")
                )
    return loads


def _turns(
    servers: Mapping[str, Server], contestants: Mapping[str, Contestant], repeats: int
) -> Iterator[tuple[str, Server, str, Contestant]]:
    names = list(contestants)
    for number in range(repeats):
        first = number % len(names)  # else each would always follow the same one
        for suffix, server in servers.items():
            for name in names[first:] + names[:first]:
                contestant = contestants[name]
                if number < contestant.rounds:
                    yield suffix, server, name, contestant
