"""The Dagster definitions, run in this process: real Dagster, real loads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from komos_source.analytics.checks import CHECKS
from komos_source.testing import FakeKomos
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool
from tests.conftest import LoadEnv, expected
from tests.dagster_code import PIPELINES, definitions
from tests.integration.test_webhook_loads import Inbox


@pytest.fixture(autouse=True)
def configured(home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__API_KEY", home.emulator.api_key)
    monkeypatch.setenv("SOURCES__KOMOS__BASE_URL", home.emulator.base_url)
    monkeypatch.setenv("SOURCES__KOMOS__BACKOFF", "0.01")
    monkeypatch.setenv("DLT_DATA_DIR", str(home.directory / "dlt"))
    monkeypatch.chdir(home.directory)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as running:
        yield running


def run(
    job: str, instance: dg.DagsterInstance, module: str = "dagster_definitions"
) -> dg.ExecuteInProcessResult:
    return (
        definitions(module)
        .defs.resolve_job_def(job)
        .execute_in_process(instance=instance, raise_on_error=False)
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def failure(result: dg.ExecuteInProcessResult) -> dict[str, dg.MetadataValue]:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return dict(data.metadata)


def test_definitions_have_an_asset_per_table() -> None:
    assert {spec.key.path[-1] for spec in definitions().tables.specs} == {
        "tasks",
        "task_runs",
        "task_run_logs",
        "task_run_log_loads",
        "task_run_logs_rejected",
        "task_run_window_gaps",
    }


def test_load_job_loads_each_entry_once_and_reports_the_count(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    for entries in (2, 0):
        result = run("komos_load", instance)
        assert result.success
        logs = [
            event.materialization
            for event in result.get_asset_materialization_events()
            if event.asset_key.path[-1] == "task_run_logs"
        ]
        assert logs[0].metadata["entries_loaded"].value == entries
    assert home.table() == expected(world)


def test_checks_job_with_a_window_gap_and_a_rejected_entry_fails_these_checks(
    world: FakeKomos, instance: dg.DagsterInstance
) -> None:
    world.clock.set(datetime.now(UTC))
    task = world.add_task("Orders")
    world.append(world.add_run(task), {}, "no entry at all")
    run("komos_load", instance)
    for _ in range(60):
        world.add_run(task)
    run("komos_load", instance)
    found = checks(run("komos_checks", instance))
    assert found.keys() == CHECKS.keys()
    assert (found["window_gaps"], found["rejected_share"]) == (False, False)
    assert (found["freshness"], found["regressions"]) == (True, True)


def test_load_job_with_a_run_that_cannot_be_fetched_fails_and_keeps_the_others(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance
) -> None:
    task = world.add_task("Orders")
    good, bad = (world.add_run(task) for _ in range(2))
    world.append(good, {})
    world.append(bad, {})
    home.emulator.faults.add(f"{bad}/logs", "status", status=500)
    result = run("komos_load", instance)
    assert not result.success
    assert len(home.table()) == 1
    assert list(failure(result)["failures"].value) == [bad]


def test_shards_job_loads_each_shard_and_the_webhook_deliveries(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [world.add_run(world.add_task(name)) for name in "ABCDEF"]
    for run_id in runs:
        world.append(run_id, {}, {})
    spool = f"sqlite:///{home.directory / 'spool.db'}"
    monkeypatch.setenv("SOURCES__KOMOS__SPOOL", spool)
    monkeypatch.setenv("KOMOS_DESTINATION", "duckdb")
    monkeypatch.setenv("KOMOS_SHARDS", "2")
    inbox = Inbox(spool, world)
    world.append(runs[0], {"message": "pushed"})
    inbox.entries(runs[0], 2)
    assert run("komos_shards", instance, "dagster_shards").success
    assert home.table().keys() == expected(world).keys()
    assert inbox.spool.waiting() == 0
    inbox.spool.close()


def test_shards_job_with_a_run_that_cannot_be_fetched_finishes_and_then_fails(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOMOS_DESTINATION", "duckdb")
    monkeypatch.setenv("KOMOS_SHARDS", "2")
    bad = world.add_run(world.add_task("Orders"))
    home.emulator.faults.add(f"{bad}/logs", "status", status=500)
    result = run("komos_shards", instance, "dagster_shards")
    assert bad in str(failure(result)["reasons"].value)
    assert home.rows("SELECT * FROM node_health") == []


def test_webhook_sensor_with_a_waiting_delivery_requests_a_load_unless_one_is_running(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = definitions()
    context = dg.build_sensor_context(instance)
    assert isinstance(module.webhook_sensor(context), dg.SkipReason)
    monkeypatch.setenv("SOURCES__KOMOS__SPOOL", "sqlite:///spool.db")
    assert isinstance(module.webhook_sensor(context), dg.SkipReason)
    spool = Spool("sqlite:///spool.db")
    spool.put([Delivery("task-run.other", run_id="", body=b"{}", digest="d")])
    spool.close()
    request = module.webhook_sensor(context)
    assert request.run_config["ops"]["tables"]["config"]["poll"] is False
    job = module.defs.resolve_job_def("komos_load")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(module.webhook_sensor(context), dg.SkipReason)


@pytest.mark.parametrize("example", sorted(PIPELINES.glob("*.py")), ids=lambda path: path.stem)
def test_example_has_at_most_80_lines(example: Path) -> None:
    assert len(example.read_text("utf-8").splitlines()) <= 80
