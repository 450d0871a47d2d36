"""The checks of loads, on real loads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from komos_source.analytics import CheckResult, Database, open_database, run_checks
from komos_source.analytics.checks import Limits
from komos_source.exceptions import DestinationError, UsageError
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv
from tests.integration.test_webhook_loads import Inbox


def reader(home: LoadEnv) -> Database:
    return open_database(database=home.file)


def check(home: LoadEnv, name: str, **limits: Any) -> CheckResult:
    (result,) = run_checks(reader(home), [name], limits=Limits(**limits), known=[])
    return result


def test_run_checks_after_a_complete_load_all_pass(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    home.load()
    assert all(result.passed for result in run_checks(reader(home)))


def test_window_gaps_fails_for_a_day_after_a_gap(home: LoadEnv, world: FakeKomos) -> None:
    world.clock.set(datetime.now(UTC))  # a gap is dated by the server's clock
    task = world.add_task("Orders")
    world.add_run(task)
    home.load()
    for _ in range(60):
        world.add_run(task)
    home.load()
    result = check(home, "window_gaps")
    assert result.figures == {"tasks": 1, "gaps": 1}
    assert result.detail.startswith("1 task started 50 runs or more between two loads within 24 h")
    (finding,) = result.findings
    assert (finding.task_id, finding.task_name) == (task, "Orders")
    home.rows("UPDATE task_run_window_gaps SET detected_at = detected_at - INTERVAL 2 DAY")
    assert check(home, "window_gaps").passed


def test_rejected_share_fails_above_its_limit(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {}, {}, "no entry at all")
    home.load()
    result = check(home, "rejected_share")
    assert not result.passed
    assert result.figures == {"loaded": 3, "rejected": 1, "share": 0.25}
    assert check(home, "rejected_share", rejected_share=0.5).passed


def test_freshness_fails_for_a_pipeline_without_a_load_for_hours(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load(pipeline_name="first")
    home.load(pipeline_name="second")
    assert check(home, "freshness").passed
    later = "UPDATE komos_loads SET ended_at = ended_at - INTERVAL {} WHERE pipeline_name = '{}'"
    home.rows(later.format("3 HOUR", "second"))
    result = check(home, "freshness")
    assert [finding.subject for finding in result.findings] == ["second"]
    assert result.detail.startswith("the last load of second ended 3 h ago")
    assert check(home, "freshness", freshness_hours=24).passed
    home.rows(later.format("8 DAY", "second"))
    assert check(home, "freshness").passed, "retired"
    home.rows(later.format("9 DAY", "first"))
    assert not check(home, "freshness").passed


def test_freshness_ignores_failed_loads(home: LoadEnv, world: FakeKomos) -> None:
    world.add_task("Orders")
    home.load()
    home.rows("UPDATE komos_loads SET exit_code = 1")
    assert check(home, "freshness").detail == "nothing was ever loaded: run `komos load`"


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
    assert not check(home, "freshness").passed


def test_failed_loads_fails_after_three_incomplete_loads_in_a_row(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    first = home.value(
        "UPDATE komos_loads SET started_at = started_at - INTERVAL 1 DAY RETURNING id"
    )
    for hour, exit_code in enumerate((3, 1, 3), 1):
        assert check(home, "failed_loads").passed
        home.rows(
            f"INSERT INTO komos_loads SELECT * REPLACE ('{hour}' AS id, {exit_code} AS exit_code, "
            f"started_at + INTERVAL {hour} HOUR AS started_at, "
            f"""'["run 7 could not be read"]' AS problems) FROM komos_loads WHERE id = '{first}'"""
        )
    result = check(home, "failed_loads")
    assert result.detail == (
        "the last 3 loads of komos_task_run_logs were not complete, exit code 3: run 7 could not "
        "be read"
    )
    assert check(home, "failed_loads", failed_loads=4).passed


def test_checks_without_komos_loads_say_what_is_not_checked(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    home.rows("DROP TABLE komos_loads")
    results = {result.name: result for result in run_checks(reader(home), known=[])}
    assert all(result.passed for result in results.values())
    for name in ("freshness", "failed_loads", "rejected_share"):
        assert results[name].detail.startswith("not checked")


def test_run_checks_runs_only_the_named_checks(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    assert [result.name for result in run_checks(reader(home), ["freshness"])] == ["freshness"]
    with pytest.raises(UsageError, match="there is no check 'frishness'; there are window_gaps"):
        run_checks(reader(home), ["frishness"])


def test_open_database_before_the_first_load_names_the_command_to_run_and_creates_no_file(
    home: LoadEnv,
) -> None:
    with pytest.raises(DestinationError, match="Run `komos load`"):
        reader(home)
    assert not home.file.exists()
