"""Benchmarks count only loads that are right."""

from __future__ import annotations

from benchmarks.contest import Load, contest, differs, home, load, serving
from benchmarks.contestants import CONTESTANTS
from benchmarks.measure import Measured
from benchmarks.report import medians, ratio


def test_differs_reports_missing_rows_and_ratio_ignores_the_load() -> None:
    floor = CONTESTANTS["floor"]
    with serving(runs=4, entries=400) as server, home() as directory:
        run_ids = server.ask("runs")
        measured = load(server, floor, directory, run_ids[:3])
        assert measured.exit_code == 0
        difference = differs(server, floor, directory)
        assert difference == "300 of 400 rows"
        load(server, floor, directory, run_ids)
        assert differs(server, floor, directory) == ""
    right = medians([Load("peer", 0, measured, "")], "peer", 0)
    assert ratio(right, right) == 1
    assert ratio(medians([Load("peer", 0, measured, difference)], "peer", 0), right) is None


def test_contest_reports_a_failed_load() -> None:
    with serving(runs=2, entries=2, refuse=1) as server:
        (found,) = contest(
            {"": server}, {"floor": CONTESTANTS["floor"]}, 1, lambda _: None, phases=(0,)
        )
    assert found.wrong == "exit 1"
    assert "429" in found.measured.said


def test_medians_with_one_slow_load_of_three_ignore_it() -> None:
    loads = [Load("ours", 0, Measured(s, 100, 0, ""), "") for s in (2.0, 9.0, 1.0)]
    found = medians(loads, "ours", 0)
    assert found is not None
    assert found.seconds == 2.0
