"""From loads to the lines of a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.contest import Load
from benchmarks.contestants import Contestant


@dataclass(frozen=True)
class Medians:
    """Of the loads of one contestant in one phase.

    Attributes:
        seconds: Wall time.
        peak: Peak memory, MB.
        wrong: What was wrong with one of them: then the numbers do not count.
    """

    seconds: float
    peak: float
    wrong: str = ""


def medians(loads: Sequence[Load], contestant: str, phase: int) -> Medians | None:
    """Medians over the rounds; None if there was no such load."""
    found = [load for load in loads if (load.contestant, load.phase) == (contestant, phase)]
    if not found:
        return None
    return Medians(
        median(load.measured.seconds for load in found),
        median(load.measured.peak for load in found),
        next((load.wrong for load in found if load.wrong), ""),
    )


def ratio(one: Medians | None, other: Medians | None) -> float | None:
    """How many times as long the one takes as the other; None if either does not count."""
    if one is None or other is None or one.wrong or other.wrong:
        return None
    return one.seconds / other.seconds


def seconds(found: Medians | None) -> str:
    """A cell of a table: the time, or why there is none."""
    if found is None:
        return "–"
    if found.wrong:
        return "WRONG: " + found.wrong.replace("|", "/")
    return f"{found.seconds:.2f} s"


def times(number: float | None) -> str:
    """A cell of a table: a ratio."""
    return "–" if number is None else f"{number:.2f} ×"


def table(loads: Sequence[Load], contestants: Mapping[str, Contestant]) -> list[str]:
    """Medians of both loads, and the time as a multiple of ours."""
    lines = ["| | first load | × ours | second load | × ours | peak memory |", "|---" * 6 + "|"]
    for name in dict.fromkeys(load.contestant for load in loads):
        both = [medians(loads, name, phase) for phase in (0, 1)]
        cells = []
        for phase, found in enumerate(both):
            cells += [seconds(found), times(ratio(found, medians(loads, "ours", phase)))]
        peak = max(found.peak for found in both if found)
        what = f" ({contestants[name].what})" if name in contestants else ""
        lines.append(f"| {name}{what} | {' | '.join(cells)} | {peak:,.0f} MB |")
    return lines
