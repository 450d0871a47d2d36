"""`komos_source.analytics.formatting`: numbers and findings as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
        "task_id": "orders",
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


def test_headline_and_title_without_earlier_runs_say_that_nothing_can_be_compared() -> None:
    first = changes(state="new", baseline_runs=0, baseline_rate=float("nan"), changed_on=pd.NaT)
    assert formatting.headline(first) == (
        "There is nothing to compare the last 2 days with: no earlier run is loaded"
    )
    assert formatting.changes_title(first, "error") == "Nodes with errors cannot be compared yet"


def test_node_of_a_task_without_earlier_runs_is_not_called_new() -> None:
    usual = changes(state="quiet", node_id="login")
    new_task = changes(state="new", task_id="stock", baseline_runs=0)
    found = pd.concat([usual, new_task], ignore_index=True)
    assert formatting.headline(found).startswith("No node fails more than it did")
    assert "new" not in formatting.changes_title(found, "error")
    new_node = pd.concat([usual, changes(state="new", baseline_runs=0)], ignore_index=True)
    assert plain(formatting.headline(new_node)).startswith("1 new node has errors")
    assert "1 new with errors" in formatting.changes_title(new_node, "error")


def test_changes_title_of_watched_nodes_alone_agrees_with_the_headline() -> None:
    watched = changes(state="quiet", watch=True)
    assert formatting.headline(watched).startswith("No node fails more than it did")
    assert formatting.changes_title(watched, "error") == (
        "No node has errors more often or more rarely than before, beyond chance; "
        "1 on watch, which may be chance"
    )
    assert (
        formatting.changes_title(changes(), "error")
        == "Nodes that changed: 1 regressed with errors"
    )


def test_age_of_data_is_said_only_when_the_data_ends_days_ago() -> None:
    newest = datetime(2025, 10, 14, 18, tzinfo=UTC)
    assert formatting.age_of_data(newest, newest + timedelta(days=2)) == ""
    assert plain(formatting.age_of_data(newest, newest + timedelta(days=40))) == (
        "The data ends 40 days ago: the newest run started on 14 October 2025. "
        "All below is as of that day."
    )


def test_heat_title_names_no_day_on_which_hardly_anything_ran() -> None:
    days = [pd.Timestamp("2025-10-01"), pd.Timestamp("2025-10-13")]
    hits = pd.DataFrame({"day": days, "runs": [11, 190], "hits": [1, 17]})
    assert plain(formatting.heat_title(hits, "error")) == (
        "Errors were most frequent on 13 October 2025: in 8.9 % of 190 visits"
    )
    assert formatting.heat_title(hits.assign(hits=0), "error") == "No errors on any day"
