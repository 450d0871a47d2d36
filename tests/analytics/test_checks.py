"""`komos_source.analytics.checks` on real loads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from komos_source.analytics import Database, open_database
from komos_source.analytics.checks import (
    freshness,
    no_regression,
    no_window_gap,
    rejected_share,
    run_checks,
)
from komos_source.exceptions import DestinationError, UsageError
from komos_source.testing import FakeKomos, make_sample_data
from tests.conftest import LoadEnv
from tests.integration.test_webhook_loads import Inbox


def reader(home: LoadEnv) -> Database:
    return open_database(database=home.file)


def test_run_checks_after_a_complete_load_all_pass(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    home.load()
    assert all(result.passed for result in run_checks(reader(home)))
    assert reader(home).row_counts() == {
        "tasks": 1,
        "task_runs": 1,
        "task_run_logs": 2,
        "task_run_log_loads": 1,
        "task_run_logs_rejected": 0,
        "task_run_window_gaps": 0,
    }


def test_no_window_gap_fails_for_a_day_after_a_gap(home: LoadEnv, world: FakeKomos) -> None:
    world.clock.set(datetime.now(UTC))  # a gap is dated by the server's clock
    task = world.add_task("Orders")
    world.add_run(task)
    home.load()
    for _ in range(60):
        world.add_run(task)
    home.load()
    result = no_window_gap(reader(home))
    assert not result.passed
    assert result.figures == {"gaps": 1}
    assert result.detail == "1 tasks started 50 runs or more between two loads within 24 h"
    home.rows("UPDATE task_run_window_gaps SET detected_at = detected_at - INTERVAL 2 DAY")
    assert no_window_gap(reader(home)).passed


def test_rejected_share_fails_above_its_limit(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {}, {}, "no entry at all")
    home.load()
    result = rejected_share(reader(home))
    assert not result.passed
    assert result.figures == {"loaded": 3, "rejected": 1, "share": 0.25}
    assert rejected_share(reader(home), limit=0.5).passed


def test_freshness_fails_for_a_pipeline_without_a_load_for_hours(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load(pipeline_name="first")
    home.load(pipeline_name="second")
    assert freshness(reader(home)).passed
    later = "UPDATE komos_loads SET ended_at = ended_at - INTERVAL {} WHERE pipeline_name = '{}'"
    home.rows(later.format("3 HOUR", "second"))
    result = freshness(reader(home))
    assert not result.passed
    assert result.detail == "the last load of second ended 3 h ago"
    home.rows(later.format("8 DAY", "second"))
    assert freshness(reader(home)).passed, "retired"
    home.rows(later.format("9 DAY", "first"))
    assert not freshness(reader(home)).passed


def test_freshness_ignores_failed_loads(home: LoadEnv, world: FakeKomos) -> None:
    world.add_task("Orders")
    home.load()
    home.rows("UPDATE komos_loads SET exit_code = 1")
    assert freshness(reader(home)).detail == "nothing was ever loaded"


def test_freshness_ignores_loads_of_webhooks_only(home: LoadEnv, world: FakeKomos) -> None:
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


def test_no_regression_names_the_node_that_got_worse(home: LoadEnv) -> None:
    history = make_sample_data(seed=7)
    home.emulator.world = history
    home.load()
    result = no_regression(reader(home))
    assert not result.passed
    assert history.stories is not None
    task_id, node_id = history.stories.regressed
    assert f"{node_id} of task {task_id}" in result.detail


def test_run_checks_runs_only_the_named_checks(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    assert [result.name for result in run_checks(reader(home), ["freshness"])] == ["freshness"]
    with pytest.raises(UsageError, match="there is no check 'frishness'; there are no_window_gap"):
        run_checks(reader(home), ["frishness"])


def test_open_database_before_the_first_load_names_the_command_to_run_and_creates_no_file(
    home: LoadEnv,
) -> None:
    with pytest.raises(DestinationError, match="Run `komos load`"):
        reader(home)
    assert not home.file.exists()
