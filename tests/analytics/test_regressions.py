"""The states that `compare` assigns to nodes from their runs in order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from komos_source.analytics import incidents, node_regressions
from komos_source.analytics.node_days import History
from komos_source.analytics.regressions import STATES, compare
from komos_source.exceptions import UsageError
from komos_source.testing import FakeKomos
from tests.warehouse import pipeline_over

_LAST = date(2025, 10, 14)
_END = datetime(2025, 10, 15, tzinfo=UTC)
_NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
Row = dict[str, Any]


def _streak(node: str, day: date, hours: tuple[float, float], runs: int, hits: int) -> Row:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {
        "task_id": f"task of {node}",
        "node_id": node,
        "day": pd.Timestamp(day),
        "first_run_at": start + timedelta(hours=hours[0]),
        "last_run_at": start + timedelta(hours=hours[1]),
        "runs": runs,
        "hits": hits,
        "only_on_trouble": False,
    }


def _days(
    node: str, baseline: tuple[int, int], recent: tuple[int, int], days: int = 3
) -> list[Row]:
    """Rows of 28 days: these hits and runs on each of the last days, and those on each before."""
    rows = []
    for age in range(28):
        hits, runs = recent if age < days else baseline
        day = _LAST - timedelta(days=age)
        if runs - hits:
            rows.append(_streak(node, day, (1, 12), runs - hits, 0))
        if hits:
            rows.append(_streak(node, day, (13, 23), hits, hits))
    return rows


def _states(*nodes: list[Row], **options: Any) -> pd.DataFrame:
    streaks = pd.DataFrame([row for node in nodes for row in node])
    return compare(History(streaks, _END, _LAST), **options).set_index("node_id")


def test_compare_assigns_each_state() -> None:
    found = _states(
        _days("broken", (0, 10), (8, 10)),
        _days("as_ever", (2, 10), (2, 10)),
        _days("repaired", (8, 10), (0, 10), days=5),
        _days("fine", (0, 10), (0, 10)),
        _days("just_added", (0, 0), (3, 10), days=2),
        _days("added_and_fine", (0, 0), (0, 10), days=2),
        _days("abandoned", (1, 10), (0, 0)),
        _days("down", (0, 10), (10, 10), days=1),
    )
    assert found["state"].to_dict() == {
        "broken": "regressed",
        "just_added": "new",
        "down": "incident",
        "as_ever": "ongoing",
        "repaired": "resolved",
        "fine": "quiet",
        "added_and_fine": "quiet",
        "abandoned": "quiet",
    }
    assert set(found["state"]) == set(STATES)
    assert list(found["state"])[:3] == ["regressed", "new", "incident"]
    assert found.loc["broken", "changed_on"] == pd.Timestamp(_LAST - timedelta(days=2))
    assert found.loc["repaired", "changed_on"] == pd.Timestamp(_LAST - timedelta(days=4))
    assert pd.isna(found.loc["as_ever", "changed_on"])


def test_compare_of_a_changed_node_compares_the_days_before_the_change_with_those_since() -> None:
    row = _states(_days("broken", (0, 10), (8, 10))).loc["broken"]
    assert (row["baseline_hits"], row["baseline_runs"]) == (0, 140)
    assert (row["recent_hits"], row["recent_runs"]) == (24, 30)
    assert row["difference"] == row["recent_rate"] - row["baseline_rate"] == 0.8
    assert row["lasts_days"] == pytest.approx(2 + 10 / 24)


def test_compare_of_a_node_significant_only_before_adjustment_sets_watch() -> None:
    suspect = _days("suspect", (0, 10), (4, 10), days=1)
    among = _states(suspect, *(_days(f"fine_{n}", (0, 10), (0, 10)) for n in range(20)))
    assert among.loc["suspect", "p_value"] <= 0.05 < among.loc["suspect", "p_adjusted"]
    assert among["watch"].to_dict() == {name: name == "suspect" for name in among.index}


def test_compare_of_a_difference_below_minimum_effect_finds_no_regression() -> None:
    days = _days("busy", (10, 1000), (30, 1000), days=5)
    assert _states(days).loc["busy", "state"] != "regressed"
    assert _states(days, minimum_effect=0.01).loc["busy", "state"] == "regressed"


def test_compare_of_a_node_whose_days_vary_as_much_as_the_last_finds_no_regression() -> None:
    def rows(bad_days: set[int]) -> list[Row]:
        return [
            row
            for age in range(28)
            for row in _days("bursty", (0, 0), (5 if age in bad_days else 0, 10), days=28)
            if row["day"] == pd.Timestamp(_LAST - timedelta(days=age))
        ]

    usual = {4, 5, 9, 13, 16, 17, 21, 25}
    others = [_days(f"fine_{n}", (0, 10), (0, 10)) for n in range(20)]
    found = _states(rows(usual | {0, 1, 2}), *others)
    assert found.loc["bursty", "state"] != "regressed"
    found = _states(rows({0, 1, 2}), *others)
    assert found.loc["bursty", "state"] == "regressed"


def test_compare_of_an_outage_over_midnight_finds_an_incident_and_no_regression() -> None:
    rows = _days("portal", (0, 10), (0, 10), days=1)
    yesterday = _LAST - timedelta(days=1)
    rows = [row for row in rows if row["day"] < pd.Timestamp(yesterday)]
    rows += [
        _streak("portal", yesterday, (1, 12), 5, 0),
        _streak("portal", yesterday, (13, 23), 5, 5),
        _streak("portal", _LAST, (1, 12), 5, 5),
    ]
    open_one = _states(rows).loc["portal"]
    assert open_one["state"] == "incident"
    assert pd.isna(open_one["incident_until"])
    over = _states([*rows, _streak("portal", _LAST, (13, 23), 5, 0)]).loc["portal"]
    assert over["state"] == "incident"
    assert over["incident_from"] == datetime(2025, 10, 13, 13, tzinfo=UTC)
    assert over["incident_until"] == datetime(2025, 10, 14, 13, tzinfo=UTC)
    assert (over["incident_runs"], over["lasts_days"]) == (10, pytest.approx(23 / 24))


def test_compare_without_runs_is_empty() -> None:
    empty = pd.DataFrame(columns=list(_streak("a", _LAST, (0, 1), 1, 0)))
    assert compare(History(empty, _END, _LAST)).empty
    assert compare(None).empty


def test_node_regressions_of_a_period_without_days_is_refused() -> None:
    for days in ({"recent_days": 0}, {"baseline_days": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            node_regressions(None, **days)  # type: ignore[arg-type] # raised before it is used
    with pytest.raises(UsageError, match="days must be 1 to 14"):
        incidents(None, days=15)  # type: ignore[arg-type] # likewise


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A node that fails since this morning, one that is fine, a clean-up; 10 runs a day."""
    world = FakeKomos()
    tasks = [world.add_task(name) for name in ("Orders", "Prices")]
    for number in range(200):
        for task in tasks:
            started = _NOW - timedelta(hours=2.4 * number + 1)
            fails = task == tasks[0] and number < 5
            run = world.add_run(task, created_at=started, started_at=started)
            world.append(run, {"nodeId": "click", "message": "Started"})
            if fails:
                world.append(
                    run,
                    {"nodeId": "click", "level": "error", "message": f"No answer in {number} ms"},
                    {"nodeId": "cleanup", "level": "error", "message": "Page saved"},
                )
            world.finish(run, "FAILED" if fails else "COMPLETED", at=started)
    with pytest.MonkeyPatch.context() as patch:
        yield pipeline_over(world, tmp_path_factory.mktemp("broken"), patch), tasks[0]


def test_node_regressions_of_a_node_that_breaks_finds_an_incident_within_three_runs(
    broken: Any,
) -> None:
    pipeline, task = broken
    first_failure = _NOW - timedelta(hours=2.4 * 4 + 1)

    def state(after: timedelta) -> str:
        found = node_regressions(pipeline, as_of=first_failure + after, time_zone="UTC")
        return str(found.set_index(["task_id", "node_id"]).loc[(task, "click"), "state"])

    assert state(timedelta(hours=0)) == "quiet"
    assert state(timedelta(hours=2 * 2.4 + 1)) == "incident"


def test_incidents_of_nodes_that_share_one_is_one_row(broken: Any) -> None:
    pipeline, task = broken
    found = node_regressions(pipeline, as_of=_NOW, time_zone="UTC")
    shared = found[found["state"] == "incident"]
    assert sorted(shared["node_id"]) == ["cleanup", "click"]
    (incident,) = incidents(pipeline, as_of=_NOW, time_zone="UTC").to_dict("records")
    assert set(shared["incident_id"]) == {incident["incident_id"]}
    assert incident["started_at"] == _NOW - timedelta(hours=2.4 * 4 + 1)
    assert incident["open"]
    assert pd.isna(incident["ended_at"])
    assert (incident["runs"], incident["tasks"]) == (5, [task])
    assert incident["nodes"] == [(task, "cleanup"), (task, "click")]
    assert incident["template"] in {"No answer in <n> ms", "Page saved"}


def test_incident_id_stays_when_more_runs_fail(broken: Any) -> None:
    pipeline, _ = broken
    names = [
        incidents(pipeline, as_of=_NOW - timedelta(hours=hours), time_zone="UTC")["incident_id"]
        for hours in (0, 3, 5)
    ]
    assert [list(each) for each in names] == [list(names[0])] * 3


def test_node_regressions_and_incidents_of_no_runs_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_over(FakeKomos(), tmp_path, monkeypatch)
    assert node_regressions(pipeline).empty
    assert node_regressions(pipeline, as_of=_NOW).empty
    assert incidents(pipeline).empty
    assert incidents(pipeline, as_of=_NOW).empty
