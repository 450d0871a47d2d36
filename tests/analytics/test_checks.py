"""The questions of `komos_source.analytics.checks`, asked of real loads."""

from __future__ import annotations

from datetime import UTC, datetime

import dlt
import pytest

from komos_source.analytics.checks import (
    freshness,
    no_regression,
    no_window_gap,
    rejected_share,
    row_counts,
    run_checks,
)
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import DestinationError
from komos_source.testing import FakeKomos, make_sample_data
from tests.conftest import LoadEnv
from tests.integration.test_webhook_loads import Inbox


def reader(home: LoadEnv) -> dlt.Pipeline:
    return make_pipeline(pipeline_name="komos_checks", pipelines_dir=str(home.directory / "dlt"))


def test_all_is_well_after_a_load_of_a_calm_world(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    home.load()
    assert all(verdict.passed for verdict in run_checks(reader(home)))
    assert row_counts(reader(home)) == {
        "tasks": 1,
        "task_runs": 1,
        "task_run_logs": 2,
        "task_run_log_loads": 1,
        "task_run_logs_rejected": 0,
        "task_run_window_gaps": 0,
    }


def test_a_window_gap_is_told_of_for_a_day(home: LoadEnv, world: FakeKomos) -> None:
    world.clock.set(datetime.now(UTC))  # a gap is dated by the server's clock
    task = world.add_task("Orders")
    world.add_run(task)
    home.load()
    for _ in range(60):
        world.add_run(task)
    home.load()
    verdict = no_window_gap(reader(home))
    assert not verdict.passed
    assert verdict.figures == {"gaps": 1}
    assert verdict.detail == "1 tasks started 50 runs or more between two loads within 24 h"
    home.rows("UPDATE task_run_window_gaps SET detected_at = detected_at - INTERVAL 2 DAY")
    assert no_window_gap(reader(home)).passed


def test_too_many_rejected_entries_are_told_of(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {}, {}, "no entry at all")
    home.load()
    verdict = rejected_share(reader(home))
    assert not verdict.passed
    assert verdict.figures == {"loaded": 3, "rejected": 1, "share": 0.25}
    assert rejected_share(reader(home), limit=0.5).passed


def test_a_shard_that_has_not_loaded_for_hours_is_told_of(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load(pipeline_name="first")
    home.load(pipeline_name="second")
    assert freshness(reader(home)).passed
    later = "UPDATE komos_loads SET ended_at = ended_at - INTERVAL {} WHERE pipeline_name = '{}'"
    home.rows(later.format("3 HOUR", "second"))
    verdict = freshness(reader(home))
    assert not verdict.passed
    assert verdict.detail == "the last load of second ended 3 h ago"
    home.rows(later.format("8 DAY", "second"))
    assert freshness(reader(home)).passed, "retired"
    home.rows(later.format("9 DAY", "first"))
    assert not freshness(reader(home)).passed


def test_a_load_that_failed_does_not_count_as_fresh(home: LoadEnv, world: FakeKomos) -> None:
    world.add_task("Orders")
    home.load()
    home.rows("UPDATE komos_loads SET exit_code = 1")
    assert freshness(reader(home)).detail == "nothing was ever loaded"


def test_a_load_of_webhooks_alone_does_not_count_as_fresh(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    home.rows("UPDATE komos_loads SET ended_at = ended_at - INTERVAL 3 HOUR")
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    inbox = Inbox(spool, world)
    run_id = world.add_run(world.add_task("Prices"))
    world.append(run_id, {})
    inbox.entries(run_id, 0)
    inbox.spool.close()
    assert home.load(poll=False, spool=spool).entries_loaded == 1
    assert not freshness(reader(home)).passed


def test_a_node_that_got_worse_is_named(home: LoadEnv) -> None:
    history = make_sample_data(seed=7)
    home.emulator.world = history
    home.load()
    verdict = no_regression(reader(home))
    assert not verdict.passed
    assert history.stories is not None
    task_id, node_id = history.stories.regressed
    assert f"{node_id} of task {task_id}" in verdict.detail


def test_before_the_first_load_the_questions_say_what_to_do(home: LoadEnv) -> None:
    with pytest.raises(DestinationError, match="load first"):
        no_window_gap(reader(home))
