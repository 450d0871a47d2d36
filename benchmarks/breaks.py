"""How soon a node that breaks outright is named: ``python -m benchmarks.breaks [SEEDS]``.

Each seed is the organisation of `benchmarks.verdicts`: 200 nodes with 10 runs a day. At 20 of them
every run fails from a moment on, another moment for each. `node_regressions` is asked after each
hour, by SQL. Counted are the runs since that moment until a look names the node as ``incident`` or
``regressed``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.verdicts import DAY, HOUR, START, Array, world, write
from komos_source.analytics import node_regressions, open_database

_BROKEN, _DAYS = 20, 30
_FROM = (_DAYS - 2) * DAY
"""Each node breaks in the first 12 hours from here on."""
_NAMED = ("incident", "regressed")


def failing_runs(before: float, seed: int) -> list[int]:
    """The failing runs of each broken node up to the look that names it.

    Args:
        before: Share of its runs that failed before it broke.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    breaks = _FROM + rng.random(_BROKEN) * DAY / 2

    def rate(node: Array, moment: Array) -> Array:
        broken = moment >= breaks[np.minimum(node, _BROKEN - 1)]
        return np.where(node < _BROKEN, np.where(broken, 1.0, before), 0.05)

    made = world(rng, rate=rate, days=_DAYS)
    runs: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "komos_task_run_logs.duckdb"
        write(made, file)
        for hour in range(1, 48):
            seen = _FROM + hour * HOUR
            asked = node_regressions(
                open_database(database=file),
                as_of=START + timedelta(seconds=seen),
                time_zone="UTC",
            )
            named = asked[asked["state"].isin(_NAMED)]["task_id"]
            for node in range(_BROKEN):
                mine = (made.node == node) & (made.moment < seen) & (made.moment >= breaks[node])
                if f"task-{node:03d}" in set(named) and mine.any():
                    runs.setdefault(node, int(mine.sum()))
            if len(runs) == _BROKEN:
                break
    return [runs.get(node, 99) for node in range(_BROKEN)]


def main() -> None:
    """Prints how many nodes were named after how many failing runs."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for before in (0.0, 0.02, 0.05):
        found = Counter(count for seed in range(seeds) for count in failing_runs(before, seed))
        print(
            f"from {before:.0%}, {seeds} seeds: nodes by failing runs {dict(sorted(found.items()))}"
        )


if __name__ == "__main__":
    main()
