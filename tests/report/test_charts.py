"""`komos_source.report.charts`: numbers in, markup out."""

from __future__ import annotations

import re
from datetime import date, timedelta

from komos_source.report import charts
from tests.analytics.test_formatting import plain

DAYS = [date(2025, 10, 1) + timedelta(days=index) for index in range(14)]


def test_trend_has_a_dot_for_each_day_with_runs_only() -> None:
    seen = [charts.Day(0, 4, 0), charts.Day(1, 2, 1), charts.Day(13, 4, 4)]
    drawn = charts.trend(DAYS, seen, None)
    assert drawn.count("<circle") == 3
    assert drawn.count('class="mean"') == 1
    assert "change" not in drawn


def test_trend_with_a_change_has_two_means_and_a_mark() -> None:
    seen = [charts.Day(index, 4, 4 if index >= 10 else 0) for index in range(14)]
    drawn = charts.trend(DAYS, seen, DAYS[10])
    assert drawn.count('class="mean"') == 2
    assert plain(drawn).count("since 11 Oct") == 1
    before, after = re.findall(r'class="mean" d="M[\d.]+ ([\d.]+)H', drawn)
    assert float(after) < float(before)  # up is less


def test_trend_without_any_day_is_empty() -> None:
    assert "<circle" not in charts.trend(DAYS, [], None)


def test_heat_grows_with_the_share_and_zero_has_its_own_class() -> None:
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


def test_interval_beyond_the_axis_is_cut_at_its_ends() -> None:
    assert "--low:50.00%;--at:100.00%;--high:100.00%" in charts.interval(0.1, 0.2, 0.3, 0.2)
    assert "--low:0.00%;--at:50.00%;--high:100.00%" in charts.odds(0.0, 1.0, 1e9)
