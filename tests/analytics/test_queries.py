"""The queries on all three databases: input rows and expected rows are data, in ``tests/sql``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from komos_source.analytics.render import QUERIES
from komos_source.analytics.views import VIEWS
from tests.engines import Engine, Row, ask, fill

_CASES = sorted((Path(__file__).parents[1] / "sql").glob("*/*.yaml"))


@pytest.mark.parametrize("path", _CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_query_returns_the_expected_rows_of_its_case(path: Path, engine: Engine) -> None:
    case = yaml.safe_load(path.read_text("utf-8"))
    fill(engine, case["given"])
    found = ask(engine, path.parent.name, **case.get("options", {}))
    expected: list[Row] = case["expected"]
    shown = (
        [{column: row[column] for column in expected[0]} for row in found] if expected else found
    )
    assert _in_order(shown) == _in_order(expected), case["says"]


def test_each_query_has_cases_and_each_view_is_a_query() -> None:
    assert {path.parent.name for path in _CASES} == set(QUERIES)
    assert set(QUERIES) > set(VIEWS)


def test_view_has_the_documented_columns(engine: Engine) -> None:
    fill(
        engine,
        {
            "task_runs": [{"id": "r", "task_id": "t", "status": "COMPLETED"}],
            "task_run_logs": [{"id": "e", "run_id": "r", "level": "info"}],
        },
    )
    (row,) = ask(engine, "node_health")
    assert list(row) == [
        *("task_id", "node_id", "runs", "runs_with_warning", "runs_with_error"),
        *("warning_rate", "warning_rate_low", "warning_rate_high"),
        *("error_rate", "error_rate_low", "error_rate_high"),
        *("entries", "warnings", "errors", "first_seen", "last_seen"),
        *("only_on_trouble", "coverage_complete", "runs_of_task", "task_name"),
    ]


def test_bounds_of_node_health_match_statsmodels(engine: Engine) -> None:
    from statsmodels.stats.proportion import proportion_confint

    shares = [
        (hits, runs) for runs in (1, 2, 7, 60, 411) for hits in range(0, runs + 1, 1 + runs // 9)
    ]
    fill(engine, _visits(shares))
    rows = {row["task_id"]: row for row in ask(engine, "node_health")}
    assert len(rows) == len(shares)
    for number, (hits, runs) in enumerate(shares):
        row = rows[f"t{number}"]
        low, high = proportion_confint(hits, runs, method="wilson")
        assert row["error_rate"] == pytest.approx(hits / runs, abs=1e-12)
        assert row["error_rate_low"] == pytest.approx(low, abs=1e-12)
        assert row["error_rate_high"] == pytest.approx(high, abs=1e-12)
        assert 0 <= row["error_rate_low"] <= row["error_rate"] <= row["error_rate_high"] <= 1


def _visits(shares: list[tuple[int, int]]) -> dict[str, list[Row]]:
    """Rows of a task for each share of runs with an error at its node."""
    tables: dict[str, list[Row]] = {"task_runs": [], "task_run_logs": []}
    for task, (hits, runs) in enumerate(shares):
        for number in range(runs):
            run_id = f"{task}-{number}"
            tables["task_runs"].append({"id": run_id, "task_id": f"t{task}", "status": "COMPLETED"})
            levels = ["info", "error"] if number < hits else ["info"]
            tables["task_run_logs"] += [
                {"id": f"{run_id}-{level}", "run_id": run_id, "node_id": "n", "level": level}
                for level in levels
            ]
    return tables


def _in_order(rows: list[Row]) -> list[Row]:
    return sorted(
        ({name: _comparable(value) for name, value in row.items()} for row in rows), key=repr
    )


def _comparable(value: Any) -> Any:
    return round(value, 9) if isinstance(value, float) else value
