"""What is measured: each scenario returns the lines of its part of the report."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.contest import Load, contest, differs, home, load, serving, tables
from benchmarks.contestants import CONTESTANTS, DLT_EMPTY, HELP, OURS_ALL_RUNS, Contestant

_LATENCY = 0.05
_HELP_TIMES = 5


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    contestants: Mapping[str, Contestant]
    repeats: int
    scale: float
    report: Callable[[str], None]

    def entries(self, number: int) -> int:
        """A scenario's number of entries, scaled."""
        return max(1, round(number * self.scale))


def medians(loads: Iterable[Load], contestant: str, phase: int) -> tuple[float, float] | None:
    """Median seconds and peak of the loads that were right; None if none was."""
    right = [
        found.measured
        for found in loads
        if (found.contestant, found.phase, found.wrong) == (contestant, phase, "")
    ]
    if not right:
        return None
    return median(found.seconds for found in right), median(found.peak for found in right)


def table(loads: Sequence[Load], contestants: Mapping[str, Contestant], ours: str) -> list[str]:
    """Medians, and each contestant's time as a multiple of ours."""
    lines = [
        "| | first load | against ours | second load | against ours | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    baseline = [medians(loads, ours, phase) for phase in (0, 1)]
    for name in dict.fromkeys(found.contestant for found in loads):
        cells, peaks = [], []
        for phase in (0, 1):
            found = medians(loads, name, phase)
            own = baseline[phase]
            peaks += [found[1]] if found else []
            cells += [f"{found[0]:.2f} s"] if found else [_what_was_wrong(loads, name, phase)]
            cells += [f"{found[0] / own[0]:.2f} ×"] if found and own else ["–"]
        what = contestants[name].what if name in contestants else ""
        peak = f"{max(peaks):,.0f} MB" if peaks else "–"
        lines.append(f"| {name} ({what}) | {' | '.join(cells)} | {peak} |")
    return lines


def _what_was_wrong(loads: Iterable[Load], name: str, phase: int) -> str:
    return next(
        f"WRONG: {found.wrong}"
        for found in loads
        if found.contestant == name and found.phase == phase
    )


def _whole_loads(options: Options, runs: int, entries: int) -> list[str]:
    with serving(runs=runs, entries=options.entries(entries)) as server:
        loads = contest({"": server}, options.contestants, options.repeats, options.report)
    return table(loads, options.contestants, "ours")


def bulk(options: Options) -> list[str]:
    """1,000,000 entries in 20 runs, then 5 % more."""
    return _whole_loads(options, 20, 1_000_000)


def many(options: Options) -> list[str]:
    """100,000 entries in 200 runs, then 5 % more."""
    return _whole_loads(options, 200, 100_000)


def one(options: Options) -> list[str]:
    """One run of 1,000,000 entries (a body of 206 MB), then 5 % more."""
    return _whole_loads(options, 1, 1_000_000)


def latency(options: Options) -> list[str]:
    """100,000 entries in 200 runs, each request answered after 50 ms."""
    from komos_source.settings import MAX_CONCURRENCY

    sizes = {"runs": 200, "entries": options.entries(100_000)}
    slow = " at 50 ms"
    with serving(**sizes) as near, serving(**sizes, latency=_LATENCY) as far:
        servers = {"": near, slow: far}
        loads = contest(servers, options.contestants, options.repeats, options.report)
    lines = table(loads, options.contestants, "ours")
    waiting = 200 * _LATENCY / MAX_CONCURRENCY
    for phase, which in enumerate(("first", "second")):
        fast, measured = (medians(loads, f"ours{suffix}", phase) for suffix in servers)
        if fast and measured:
            lines += [
                "",
                f"Ours, {which} load: {measured[0] / (waiting + fast[0]):.2f} × (200 requests × "
                f"50 ms / {MAX_CONCURRENCY} at once + the same load without latency).",
            ]
    return lines


def settled(options: Options) -> list[str]:
    """Nothing new: 1,000 settled runs of 20 tasks, against an empty run of dlt."""
    contestants = {"ours": OURS_ALL_RUNS, "dlt_empty": DLT_EMPTY}
    with serving(runs=1_000, entries=10_000) as server:
        loads = contest({"": server}, contestants, options.repeats, options.report, grow=False)
        lines = table(loads, contestants, "ours")
        started = contest({"": server}, {"help": HELP}, _HELP_TIMES, options.report, grow=False)
    return [*lines, "", f"`komos --help`: {medians(started, 'help', 0)[0]:.2f} s."]


def growth(options: Options) -> list[str]:
    """10,000 new entries into a table of 1, 10 and 40 million rows."""
    lines = ["| rows in the table | load of 10,000 new | against 1 M | peak memory |"]
    lines += ["|---|---|---|---|"]
    baseline, ours = None, CONTESTANTS["ours"]
    for rows in map(options.entries, (1_000_000, 10_000_000, 40_000_000)):
        loads = []
        with serving(runs=20, entries=10_000, new=10_000) as server, home() as filled:
            load(server, ours, filled, server.ask("runs"))
            tables("fill", filled / "data.duckdb", str(rows))
            server.ask("phase/1")
            for _ in range(options.repeats):
                with home() as directory:
                    shutil.copyfile(filled / "data.duckdb", directory / "data.duckdb")
                    measured = load(server, ours, directory, server.ask("runs"))
                    amiss = differs(server, ours, directory, other=rows - 10_000)
                    loads.append(Load("ours", 1, measured, amiss))
                    options.report(f"{rows:,} rows: {measured.seconds:.2f} s {amiss}")
        found = medians(loads, "ours", 1)
        baseline = baseline or found
        lines.append(
            f"| {rows:,} | {found[0]:.2f} s | {found[0] / baseline[0]:.2f} × | {found[1]:,.0f} MB |"
            if found and baseline
            else f"| {rows:,} | {_what_was_wrong(loads, 'ours', 1)} | – | – |"
        )
    return lines


def losses(options: Options) -> list[str]:
    """What gets lost: a run found later whose entries are older, a 404, a 429."""
    lines = ["| | five older runs found later | one run answers 404 | three answers are 429 |"]
    lines += ["|---|---|---|---|"]
    for name, contestant in options.contestants.items():
        cells = []
        for case in (_older, _not_found, _too_many):
            cells.append(case(contestant))
            options.report(f"{name}, {case.__name__.strip('_')}: {cells[-1]}")
        lines.append(f"| {name} ({contestant.what}) | {' | '.join(cells)} |")
    return lines


def _older(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000) as server, home() as directory:
        run_ids = server.ask("runs")
        load(server, contestant, directory, run_ids[5:])
        measured = load(server, contestant, directory, run_ids)
        return _outcome(measured.exit_code, differs(server, contestant, directory))


def _not_found(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000) as server, home() as directory:
        run_ids = server.ask("runs")
        measured = load(
            server, contestant, directory, [*run_ids[:9], str(uuid.uuid4()), *run_ids[9:]]
        )
        return _outcome(measured.exit_code, differs(server, contestant, directory))


def _too_many(contestant: Contestant) -> str:
    with serving(runs=20, entries=10_000, refuse=3) as server, home() as directory:
        measured = load(server, contestant, directory, server.ask("runs"))
        return _outcome(measured.exit_code, differs(server, contestant, directory))


def _outcome(exit_code: int, difference: str) -> str:
    return f"exit {exit_code}, {difference or 'nothing lost'}"


SCENARIOS = {found.__name__: found for found in (bulk, many, latency, settled, one, growth, losses)}
