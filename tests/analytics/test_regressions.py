"""The states that `compare` assigns to nodes from their daily counts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from komos_source.analytics.regressions import STATES, compare, node_regressions
from komos_source.exceptions import UsageError

_LAST = date(2025, 10, 14)


def _days(
    node: str, baseline: tuple[int, int], recent: tuple[int, int], **flags: Any
) -> list[dict[str, Any]]:
    """Rows of 14 baseline days and 2 recent days, with these hits and runs on each."""
    return [
        {
            "task_id": "t",
            "node_id": node,
            "day": pd.Timestamp(_LAST - timedelta(days=age)),
            "runs": runs,
            "runs_with_error": hits,
            "runs_with_warning": 0,
            "runs_of_task": 10,
            "only_on_trouble": False,
            **flags,
        }
        for age in range(16)
        for hits, runs in [recent if age < 2 else baseline]
        if runs
    ]


def _states(*nodes: list[dict[str, Any]], **options: Any) -> pd.DataFrame:
    daily = pd.DataFrame([row for node in nodes for row in node])
    found = compare(daily, recent_from=_LAST - timedelta(days=1), **options)
    return found.set_index("node_id")


def test_compare_assigns_each_state() -> None:
    found = _states(
        _days("broken", (0, 10), (8, 10)),
        _days("as_ever", (2, 10), (2, 10)),
        _days("repaired", (8, 10), (0, 10)),
        _days("fine", (0, 10), (0, 10)),
        _days("just_added", (0, 0), (3, 10)),
        _days("added_and_fine", (0, 0), (0, 10)),
        _days("abandoned", (1, 10), (0, 0)),
    )
    assert found["state"].to_dict() == {
        "broken": "regressed",
        "just_added": "new",
        "as_ever": "ongoing",
        "repaired": "resolved",
        "fine": "quiet",
        "added_and_fine": "quiet",
        "abandoned": "quiet",
    }
    assert set(found["state"]) == set(STATES)
    assert list(found["state"])[:2] == ["regressed", "new"]
    assert found.loc["broken", "changed_on"] == pd.Timestamp(_LAST - timedelta(days=1))
    assert found.loc["repaired", "changed_on"] == pd.Timestamp(_LAST - timedelta(days=1))
    assert pd.isna(found.loc["as_ever", "changed_on"])


def test_compare_of_a_node_significant_only_before_adjustment_sets_watch() -> None:
    alone = _states(_days("suspect", (0, 5), (1, 5)))
    assert alone.loc["suspect", "p_value"] == alone.loc["suspect", "p_adjusted"] <= 0.05
    assert alone.loc["suspect", "state"] == "regressed"
    among = _states(
        _days("suspect", (0, 5), (1, 5)), *(_days(f"fine_{n}", (0, 5), (0, 5)) for n in range(20))
    )
    assert among.loc["suspect", "state"] == "quiet"
    assert among["watch"].to_dict() == {name: name == "suspect" for name in among.index}


def test_compare_of_a_difference_below_minimum_effect_finds_no_regression() -> None:
    days = _days("busy", (10, 1000), (30, 1000))
    assert _states(days).loc["busy", "state"] == "ongoing"
    assert _states(days, minimum_effect=0.01).loc["busy", "state"] == "regressed"


def test_compare_of_a_node_visited_only_on_trouble_counts_all_runs_of_its_task() -> None:
    usual = _days("click", (0, 10), (0, 10))
    cleanup = [
        row
        for row in _days("cleanup", (1, 1), (7, 7), only_on_trouble=True)
        if row["day"] >= pd.Timestamp(_LAST) - pd.Timedelta(days=4)
    ]
    found = _states(usual, cleanup)
    row = found.loc["cleanup"]
    assert (row["baseline_hits"], row["baseline_runs"]) == (3, 140)
    assert (row["recent_hits"], row["recent_runs"]) == (14, 20)
    assert row["state"] == "regressed"


def test_compare_with_level_warning_counts_warnings() -> None:
    rows = [
        row | {"runs_with_warning": row["runs_with_error"], "runs_with_error": 0}
        for row in _days("slow", (0, 10), (8, 10))
    ]
    assert _states(rows).loc["slow", "state"] == "quiet"
    assert _states(rows, level="warning").loc["slow", "state"] == "regressed"


def test_node_regressions_of_a_period_without_days_is_refused() -> None:
    for days in ({"recent_days": 0}, {"baseline_days": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            node_regressions(None, **days)  # type: ignore[arg-type] # raised before it is used


@pytest.mark.parametrize("recent", [date(2025, 1, 1), date(2026, 1, 1)])
def test_compare_with_one_period_without_rows_finds_no_regression(recent: date) -> None:
    daily = pd.DataFrame(_days("click", (1, 10), (1, 10)))
    assert set(compare(daily, recent_from=recent)["state"]) <= {"new", "quiet"}
