"""The simulation of false alarms, made small: the same code in two weeks of fewer nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import verdicts
from komos_source.analytics import open_database


@pytest.mark.parametrize("name", ["bursty", "hours"])
def test_looks_at_a_world_of_bursts_call_hardly_a_healthy_node_regressed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "NODES", 40)
    monkeypatch.setattr(verdicts, "COMPARED", [])
    monkeypatch.setattr(verdicts, "_COMPARED", 0.01)
    rng = np.random.default_rng(1)
    made = verdicts.world(rng, days=42, **verdicts.WORLDS[name][1])
    file = tmp_path / "komos_task_run_logs.duckdb"
    verdicts.write(made, file)
    database = open_database(database=file)
    data = verdicts.read(database, made.days, made.quiet)
    first = verdicts.look(data, database, made.days, rng, since=28)
    assert np.isfinite(first).sum() <= 1  # at most 3 in 12 weeks of 200 nodes, on average
    assert verdicts.COMPARED, "no look was repeated with node_regressions"
