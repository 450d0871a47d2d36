"""Each check on DuckDB and Postgres: green on a healthy organisation, red on its planted story."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.analytics import run_checks
from komos_source.analytics.checks import CHECKS
from komos_source.testing import FakeKomos, make_sample_data
from komos_source.testing.stories import (
    add_bursts,
    add_field,
    add_outage,
    add_weekend_failures,
    fall_silent,
    slow_down,
)
from tests.warehouse import pipeline_over, postgres_over

_DAYS = 35
Over = Callable[[FakeKomos], Any]


@pytest.fixture(params=["duckdb", "postgres"])
def over(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Over:
    """Writes an organisation into a database; returns what reads it."""

    def write(world: FakeKomos) -> Any:
        if request.param == "duckdb":
            return pipeline_over(world, tmp_path, monkeypatch, _DAYS)
        url = request.getfixturevalue("postgres_url")
        return postgres_over(world, url, tmp_path, monkeypatch, _DAYS)

    return write


def _healthy(seed: int, **options: Any) -> FakeKomos:
    return make_sample_data(seed, **{"days": _DAYS, "stories": False} | options)


def _failed(source: Any, now: datetime) -> dict[str, list[Any]]:
    results = run_checks(source, known=[], as_of=now)
    assert [result.name for result in results] == [*CHECKS]
    return {result.name: [*result.findings] for result in results if not result.passed}


def test_checks_are_green_on_a_healthy_organisation(over: Over) -> None:
    world = _healthy(seed=3)
    assert _failed(over(world), world.clock.now()) == {}


def test_each_check_of_tasks_and_the_api_is_red_on_its_story_alone(over: Over) -> None:
    world = _healthy(seed=3)
    now = world.clock.now()
    silent, slow, busy, broken, *_ = (task["id"] for task in world.tasks())
    fall_silent(world, silent, now - timedelta(days=6))
    slow_down(world, slow, (now - timedelta(days=1)).replace(hour=0), factor=6.0)
    add_field(world, now - timedelta(days=1), "newField", 17)
    for number in range(60):
        start = now - timedelta(days=1) + timedelta(seconds=number)
        world.finish(world.add_run(busy, created_at=start), at=start)
    for number in range(3):
        start = now - timedelta(hours=5 - number)
        run = world.add_run(broken, created_at=start)
        entry = {"nodeId": "login", "level": "error", "message": f"Captcha {number} was refused"}
        world.append(run, entry)
        world.finish(run, "FAILED", at=start + timedelta(minutes=1))
    found = _failed(over(world), now)
    for verdict in ("regressions", "incidents"):  # three errors of one node may be one, too
        found.pop(verdict, None)
    assert {name: [each.task_id for each in findings] for name, findings in found.items()} == {
        "silent_tasks": [silent],
        "duration": [slow],
        "volume": [busy],
        "new_error_templates": [broken],
        "new_fields": [None],
    }
    titles = {name: findings[0].title for name, findings in found.items()}
    assert titles["silent_tasks"] == "no run for 6 days"
    assert titles["new_fields"] == "a new entry field: newField"
    assert titles["new_error_templates"] == "writes a new error: Captcha <n> was refused"
    assert titles["volume"].startswith("more runs than usual on 2025-10-13")
    assert titles["duration"].startswith("runs take ")


def test_silent_tasks_counts_silence_up_to_the_last_load(over: Over) -> None:
    world = _healthy(seed=3)
    later = world.clock.now() + timedelta(days=5)
    assert {*_failed(over(world), later)} == {"freshness"}


def test_incidents_finds_an_outage_that_tasks_share_once(over: Over) -> None:
    world = _healthy(seed=3, runs_per_day=96.0, days=8)
    now = world.clock.now()
    struck = [task["id"] for task in world.tasks()][3:6]
    add_outage(world, struck, "login", now - timedelta(hours=3), now)
    found = _failed(over(world), now)
    (incident,) = found["incidents"]
    assert incident.title.endswith("at 3 nodes of 3 tasks")
    assert [task for task, _ in incident.nodes] == sorted(struck)
    assert "regressions" not in found


@pytest.mark.parametrize("over", ["duckdb"], indirect=True)
def test_nodes_that_fail_in_bursts_or_on_weekends_are_not_regressed(over: Over) -> None:
    world = _healthy(seed=3)
    bursty, weekly, *_ = (task["id"] for task in world.tasks())
    add_bursts(world, bursty, "login", rate=0.1, correlation=1 / 9)
    add_weekend_failures(world, weekly, "login", rate=0.15)
    assert "regressions" not in _failed(over(world), world.clock.now())


def test_regressions_names_the_node_that_got_worse(over: Over) -> None:
    world = make_sample_data(seed=7)
    assert world.stories is not None
    found = _failed(over(world), world.clock.now())["regressions"]
    assert [(each.task_id, each.node_id) for each in found] == [world.stories.regressed]
    assert found[0].title.startswith("fails in ")
    assert "95 % interval" in found[0].detail
