"""Analyses of sample data: they find the planted patterns and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from komos_source.analytics import failure_precursors, node_regressions, query
from komos_source.cli.emulate import RUNS_PER_DAY
from komos_source.testing import FakeKomos, make_sample_data
from tests.warehouse import pipeline_over


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_analyses_find_the_planted_patterns_and_nothing_else(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_sample_data(seed)
    assert world.stories is not None
    pipeline = pipeline_over(world, tmp_path, monkeypatch)
    found = node_regressions(pipeline).set_index(["task_id", "node_id"])
    regressed = found[found["state"] == "regressed"]
    assert list(regressed.index) == [world.stories.regressed]
    away = regressed["changed_on"].iloc[0].date() - world.stories.regressed_on.date()
    assert abs(away.days) <= 1
    assert found.loc[world.stories.flaky, "state"] in {"ongoing", "quiet"}
    assert not found[found["state"] == "new"].size

    before = node_regressions(pipeline, as_of=world.stories.regressed_on.date() - timedelta(days=1))
    assert "regressed" not in set(before["state"])

    health = query(pipeline, "node_health")
    trouble = health[health["only_on_trouble"]]
    assert list(zip(trouble["task_id"], trouble["node_id"], strict=True)) == [
        world.stories.trouble_only
    ]
    assert trouble["error_rate"].iloc[0] < 0.2

    templates = query(pipeline, "message_templates")
    (new,) = templates[templates["new_in_window"]].itertuples()
    assert (new.task_id, new.node_id) == world.stories.new_warning[:2]
    assert new.template.startswith("Consent layer v<n> covers <selector>")
    assert not (failure_precursors(pipeline)["p_adjusted"] <= 0.05).any()


@pytest.mark.parametrize("hour", [2, 13, 19])
def test_node_regressions_of_the_runs_that_the_api_lists_find_the_node_at_any_hour(
    hour: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime(2026, 11, 30, hour, 13, tzinfo=UTC)
    days = round(50 / RUNS_PER_DAY)  # a first load reads 50 runs of each task
    world = make_sample_data(days=days, end=end, runs_per_day=RUNS_PER_DAY)
    assert world.stories is not None
    found = node_regressions(pipeline_over(world, tmp_path, monkeypatch))
    assert found[["task_id", "node_id", "state"]].iloc[0].tolist() == [
        *world.stories.regressed,
        "regressed",
    ]


@pytest.mark.slow
def test_node_regressions_without_planted_patterns_has_few_false_positives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    seeds = range(request.config.getoption("--seeds"))
    false_positives = [
        seed
        for seed in seeds
        if "regressed"
        in set(
            node_regressions(
                pipeline_over(make_sample_data(seed, stories=False), tmp_path, monkeypatch)
            )["state"]
        )
    ]
    assert len(false_positives) <= 0.05 * len(seeds), false_positives


def test_analyses_of_an_empty_database_return_empty_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_over(FakeKomos(), tmp_path, monkeypatch)
    assert node_regressions(pipeline).empty
    assert failure_precursors(pipeline).empty
    assert query(pipeline, "node_health_daily").empty


def test_failure_precursors_finds_a_warning_that_precedes_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FakeKomos()
    task_id = world.add_task("Orders")
    for number in range(40):
        run_id = world.add_run(task_id)
        warned = number % 4 == 0
        failed = number % 8 == 0 or number == 1
        world.append(run_id, {"nodeId": "click", "message": "Started"})
        if warned:
            world.append(
                run_id, {"nodeId": "click", "level": "warning", "message": f"Session {number} old"}
            )
        if number % 2:
            world.append(run_id, {"nodeId": "click", "level": "warning", "message": "Slow"})
        if failed:
            world.append(run_id, {"nodeId": "click", "level": "error", "message": "Login rejected"})
        world.finish(run_id, "FAILED" if failed else "COMPLETED")
    found = failure_precursors(pipeline_over(world, tmp_path, monkeypatch))
    first = found.iloc[0]
    assert first["template"] == "Session <n> old"
    counts = ["runs_with", "failed_with", "runs_without", "failed_without"]
    assert first[counts].tolist() == [10, 5, 30, 1]
    assert first["p_adjusted"] <= 0.05
    assert 1 < first["odds_ratio_low"] < first["odds_ratio"] < first["odds_ratio_high"]
    assert found["template"].tolist() == ["Session <n> old", "Slow"]
    assert found.iloc[1]["p_adjusted"] > 0.05
