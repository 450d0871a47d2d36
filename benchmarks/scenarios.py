"""What is measured: each scenario returns the lines of its part of the report."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import (
    Load,
    Server,
    contest,
    differs,
    home,
    load,
    serving,
    tables,
    wrong,
)
from benchmarks.contestants import CONTESTANTS, DLT_EMPTY, HELP, OURS_ALL_RUNS, Contestant
from benchmarks.report import medians, ratio, seconds, table, times

_LATENCY = 0.05


@dataclass(frozen=True)
class Options:
    """What the command line asked for.

    Attributes:
        contestants: Who takes part, by name.
        repeats: Rounds.
        scale: Multiplies the entries of a scenario.
        report: Told of each load as it ends.
    """

    contestants: Mapping[str, Contestant]
    repeats: int
    scale: float
    report: Callable[[str], None]

    def entries(self, number: int) -> int:
        """A scenario's number of entries, scaled."""
        return max(1, round(number * self.scale))


def bulk(options: Options) -> list[str]:
    """1,000,000 entries in 20 runs, then 5 % more."""
    return _both_loads(options, 20, 1_000_000)


def many(options: Options) -> list[str]:
    """100,000 entries in 200 runs, then 5 % more."""
    return _both_loads(options, 200, 100_000)


def one(options: Options) -> list[str]:
    """One run of 1,000,000 entries (a body of 206 MB), then 5 % more."""
    return _both_loads(options, 1, 1_000_000)


def _both_loads(options: Options, runs: int, entries: int) -> list[str]:
    with serving(runs=runs, entries=options.entries(entries)) as server:
        loads = contest({"": server}, options.contestants, options.repeats, options.report)
    return table(loads, options.contestants)


def latency(options: Options) -> list[str]:
    """100,000 entries in 200 runs, each log answered after 50 ms."""
    sizes = {"runs": 200, "entries": options.entries(100_000)}
    with serving(**sizes) as near, serving(**sizes, latency=_LATENCY) as far:
        servers = {"": near, " at 50 ms": far}
        loads = contest(servers, options.contestants, options.repeats, options.report)
    lines = table(loads, options.contestants)
    at_once = _our_concurrency()
    waiting = 200 * _LATENCY / at_once
    for phase, which in enumerate(("first", "second")):
        fast, slow = medians(loads, "ours", phase), medians(loads, "ours at 50 ms", phase)
        if fast and slow:
            lines += [
                "",
                f"Ours, {which} load: {slow.seconds / (waiting + fast.seconds):.2f} × (200 requests"
                f" × 50 ms / {at_once} at once + the same load without latency).",
            ]
    return lines


def _our_concurrency() -> int:
    """Asked of another process: importing it here would swell the runner, see `tables`."""
    question = "from komos_source.settings import MAX_CONCURRENCY; print(MAX_CONCURRENCY)"
    return int(subprocess.check_output([sys.executable, "-c", question]))


def settled(options: Options) -> list[str]:
    """Nothing new (the second load): 1,000 settled runs of 20 tasks, and an empty run of dlt."""
    contestants = {"ours": OURS_ALL_RUNS, "dlt_empty": DLT_EMPTY, "help": HELP}
    with serving(runs=1_000, entries=10_000) as server:
        loads = contest({"": server}, contestants, options.repeats, options.report, grow=False)
    return table(loads, contestants)


def growth(options: Options) -> list[str]:
    """10,000 new entries in 20 runs, into a table of 1, 10 and 40 million rows."""
    lines = ["| rows there before | load | × the first line | peak memory |", "|---" * 4 + "|"]
    ours, loads = CONTESTANTS["ours"], list[Load]()
    for size, rows in enumerate(map(options.entries, (1_000_000, 10_000_000, 40_000_000))):
        with serving(runs=20, entries=10_000, new=10_000) as server, home() as filled:
            load(server, ours, filled, server.ask("runs"))
            tables("fill", filled / "data.duckdb", str(rows))
            server.ask("phase/1")
            for _ in range(options.repeats):
                with home() as directory:
                    shutil.copyfile(filled / "data.duckdb", directory / "data.duckdb")
                    measured = load(server, ours, directory, server.ask("runs"))
                    amiss = wrong(server, ours, directory, measured, other=rows - 10_000)
                    loads.append(Load("ours", size, measured, amiss))
                    options.report(f"{rows:,} rows: {measured.seconds:.2f} s {amiss}")
        if found := medians(loads, "ours", size):
            against = times(ratio(found, medians(loads, "ours", 0)))
            lines.append(f"| {rows:,} | {seconds(found)} | {against} | {found.peak:,.0f} MB |")
    return lines


def losses(options: Options) -> list[str]:
    """What the table holds after trouble, of 10,000 entries in 20 runs."""
    lines = ["| | five older runs found later | one run answers 404 | three answers are 429 |"]
    lines += ["|---" * 4 + "|"]
    for name, contestant in options.contestants.items():
        cells = []
        for case in (_older_runs, _not_found, _too_many):
            cells.append(case(contestant))
            options.report(f"{name}, {case.__name__.strip('_')}: {cells[-1]}")
        lines.append(f"| {name} ({contestant.what}) | {' | '.join(cells)} |")
    return lines


def _older_runs(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000) as server, home() as directory:
        run_ids = server.ask("runs")
        load(server, contestant, directory, run_ids[5:])
        return _outcome(server, contestant, directory, run_ids)


def _not_found(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000) as server, home() as directory:
        run_ids = server.ask("runs")
        return _outcome(server, contestant, directory, [str(uuid.uuid4()), *run_ids])


def _too_many(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000, refuse=3) as server, home() as directory:
        return _outcome(server, contestant, directory, server.ask("runs"))


def _outcome(server: Server, contestant: Contestant, directory: Path, run_ids: list[str]) -> str:
    exit_code = load(server, contestant, directory, run_ids).exit_code
    return f"exit {exit_code}: {differs(server, contestant, directory) or 'all there'}"


SCENARIOS = {found.__name__: found for found in (bulk, many, latency, settled, one, growth, losses)}
