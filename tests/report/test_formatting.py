"""What the report says and draws, from numbers alone."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pandas as pd
import pytest

from komos_source.report import charts, words
from komos_source.report.page import _breakable, _template

DAYS = [date(2025, 10, 1) + timedelta(days=place) for place in range(14)]


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
def test_shares_have_a_decimal_only_where_it_says_something(share: float, says: str) -> None:
    assert plain(words.percent(share)) == says


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


def test_the_headline_says_what_regressed_since_when() -> None:
    says = "click fails in 80 % of its runs, up from 2 %, since about 12 Oct"
    assert plain(words.headline(changes())) == says
    two = pd.concat([changes(), changes(node_id="login")])
    assert plain(words.headline(two)) == f"{says}, and 1 more node"


def test_the_headline_claims_nothing_that_chance_explains() -> None:
    calm = "No node fails more than it did, beyond what chance explains"
    for state in ("ongoing", "resolved", "quiet"):
        assert words.headline(changes(state=state, watch=True)) == calm
    assert words.headline(changes()[:0]) == calm


def test_a_node_that_was_not_visited_in_a_period_has_no_rate_there() -> None:
    new = changes(state="new", baseline_runs=0, baseline_rate=float("nan"), changed_on=pd.NaT)
    assert plain(words.change(new.iloc[0], "error")) == (
        "80 % of runs with an error; not visited before"
    )
    gone = changes(state="quiet", recent_runs=0, recent_rate=float("nan"), changed_on=pd.NaT)
    assert "not visited in the last days" in words.change(gone.iloc[0], "warning")


def test_a_trend_has_a_dot_for_each_day_with_runs_and_none_for_others() -> None:
    seen = [charts.Day(0, 4, 0), charts.Day(1, 2, 1), charts.Day(13, 4, 4)]
    drawn = charts.trend(DAYS, seen, None)
    assert drawn.count("<circle") == 3
    assert drawn.count('class="mean"') == 1
    assert "change" not in drawn


def test_a_change_splits_the_mean_and_is_marked_at_its_day() -> None:
    seen = [charts.Day(place, 4, 4 if place >= 10 else 0) for place in range(14)]
    drawn = charts.trend(DAYS, seen, DAYS[10])
    assert drawn.count('class="mean"') == 2
    assert plain(drawn).count("since 11 Oct") == 1
    before, after = re.findall(r'class="mean" d="M[\d.]+ ([\d.]+)H', drawn)
    assert float(after) < float(before)  # up is less


def test_a_trend_without_a_single_day_is_an_empty_frame() -> None:
    assert "<circle" not in charts.trend(DAYS, [], None)


def test_colours_grow_with_the_share_and_zero_has_its_own() -> None:
    shares = (0, 0.01, 0.02, 0.021, 0.1, 0.25, 0.5, 0.51, 1.0)
    assert [charts.heat(share) for share in shares] == [
        "h0",
        "h1",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "h6",
    ]


def test_an_interval_never_leaves_its_axis() -> None:
    assert "--low:50.00%;--at:100.00%;--high:100.00%" in charts.interval(0.1, 0.2, 0.3, 0.2)
    assert "--low:0.00%;--at:50.00%;--high:100.00%" in charts.odds(0.0, 1.0, 1e9)


def test_masks_are_set_apart_and_all_else_is_escaped() -> None:
    assert _template("Waited <n> ms <b>") == "Waited <i>n</i> ms &lt;b&gt;"
    assert _breakable("a_<b>") == "a_<wbr>&lt;b&gt;"
