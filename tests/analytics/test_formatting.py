"""`komos_source.analytics.formatting`: numbers and findings as text."""

from __future__ import annotations

import pandas as pd
import pytest

from komos_source.analytics import formatting


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("share", "says"),
    [
        (0.0, "0 %"),
        (0.034, "3.4 %"),
        (0.02, "2 %"),
        (0.0995, "10 %"),
        (0.701, "70 %"),
        (1, "100 %"),
    ],
)
def test_percent_shows_a_decimal_only_below_ten_percent(share: float, says: str) -> None:
    assert plain(formatting.percent(share)) == says


def changes(**row: object) -> pd.DataFrame:
    known = {
        "node_id": "click",
        "state": "regressed",
        "watch": False,
        "changed_on": pd.Timestamp("2025-10-12"),
        "baseline_runs": 50,
        "recent_runs": 10,
        "baseline_rate": 0.02,
        "recent_rate": 0.8,
    }
    return pd.DataFrame([known | row])


def test_headline_names_the_regressed_node_and_the_day() -> None:
    says = "click fails in 80 % of its runs, up from 2 %, since about 12 Oct"
    assert plain(formatting.headline(changes())) == says
    two = pd.concat([changes(), changes(node_id="login")])
    assert plain(formatting.headline(two)) == f"{says}, and 1 more node"


def test_headline_without_regression_names_no_node() -> None:
    calm = "No node fails more than it did, beyond what chance explains"
    for state in ("ongoing", "resolved", "quiet"):
        assert formatting.headline(changes(state=state, watch=True)) == calm
    assert formatting.headline(changes()[:0]) == calm


def test_change_of_a_node_not_visited_in_a_period_has_no_rate_for_it() -> None:
    new = changes(state="new", baseline_runs=0, baseline_rate=float("nan"), changed_on=pd.NaT)
    assert plain(formatting.change(new.iloc[0], "error")) == (
        "80 % of runs with an error; not visited before"
    )
    gone = changes(state="quiet", recent_runs=0, recent_rate=float("nan"), changed_on=pd.NaT)
    assert "not visited in the last days" in formatting.change(gone.iloc[0], "warning")
