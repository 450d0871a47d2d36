"""The Dagster definitions, run in this process: real Dagster, real loads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from komos_source.analytics.checks import CHECKS
from komos_source.destinations.locking import lock_pipeline
from komos_source.testing import FakeKomos
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool
from tests.conftest import LoadEnv, expected
from tests.dagster_code import definitions
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
    job: str, instance: dg.DagsterInstance, *, shard: str | None = None
) -> dg.ExecuteInProcessResult:
    return (
        definitions()
        .defs.resolve_job_def(job)
        .execute_in_process(instance=instance, partition_key=shard, raise_on_error=False)
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def test_definitions_have_an_asset_per_table_with_key_and_columns() -> None:
    specs = {spec.key.path[-1]: spec for spec in definitions().load_tables.specs}
    assert specs.keys() == {
        "tasks",
        "task_runs",
        "task_run_logs",
        "task_run_log_loads",
        "task_run_logs_rejected",
        "task_run_window_gaps",
    }
    logs = specs["task_run_logs"].metadata
    assert sorted(logs["primary_key"]) == ["id", "run_id"]
    columns = {column.name: column.type for column in logs["dagster/column_schema"].columns}
    assert columns["timestamp"] == "timestamp"
    assert columns["extra"] == "json"


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


def test_checks_job_after_a_load_passes_and_reports_the_row_count(
    world: FakeKomos, instance: dg.DagsterInstance
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    image = "![p](https://evil.example/pixel.png)"
    world.append(run_id, {"nodeId": image, "level": "error"}, {})
    world.finish(run_id)
    run("komos_load", instance)
    result = run("komos_checks", instance)
    assert checks(result) == dict.fromkeys(CHECKS, True)
    (rates,) = result.get_asset_materialization_events()
    worst = rates.materialization.metadata["worst_nodes"]
    assert isinstance(worst, dg.TableMetadataValue), "Markdown would show an id as an image"
    assert worst.records[0].data["node_id"] == image
    observed = instance.fetch_observations(dg.AssetKey(["komos", "task_run_logs"]), limit=1)
    counted = observed.records[0].asset_observation
    assert counted is not None
    assert counted.metadata["dagster/row_count"].value == 2


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
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert list(details.metadata["failures"].value) == [bad]


def test_load_job_of_each_partition_loads_its_shard(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ABCDEF":
        world.append(world.add_run(world.add_task(name)), {}, {})
    monkeypatch.setenv("KOMOS_SHARDS", "2")
    assert [run("komos_load", instance, shard=key).success for key in "01"] == [True, True]
    assert home.table() == expected(world)
    assert checks(run("komos_checks", instance))["freshness"]


def test_checks_job_with_a_shard_never_loaded_reports_it_and_runs_the_checks(
    world: FakeKomos, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    monkeypatch.setenv("KOMOS_SHARDS", "2")
    run("komos_load", instance, shard="0")
    result = run("komos_checks", instance)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert details.metadata["problems"].value == ["shard 1/2 has never been loaded"]
    assert result.asset_materializations_for_node("komos__node_health")
    assert checks(result)


def test_load_asset_during_another_load_requests_a_retry(home: LoadEnv, world: FakeKomos) -> None:
    world.add_task("Orders")
    module = definitions()
    module.LOCK_TIMEOUT = 0.1
    directory = home.directory / "dlt" / "pipelines"
    with (
        lock_pipeline(directory, "komos_task_run_logs", timeout=1),
        pytest.raises(dg.RetryRequested),
    ):
        list(module.load_tables(dg.build_asset_context(), module.LoadConfig()))
    assert home.emulator.requests == []


def test_load_schedule_requests_idle_shards_only(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOMOS_SHARDS", "3")
    module = definitions()
    context = dg.build_schedule_context(instance)
    assert [request.partition_key for request in module.load_schedule(context)] == ["0", "1", "2"]
    job = module.defs.resolve_job_def("komos_load")
    instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "1"}
    )
    assert [request.partition_key for request in module.load_schedule(context)] == ["0", "2"]


def test_load_schedule_during_a_load_skips(
    instance: dg.DagsterInstance,
) -> None:
    module = definitions()
    job = module.defs.resolve_job_def("komos_load")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(module.load_schedule(dg.build_schedule_context(instance)), dg.SkipReason)


def test_webhook_sensor_with_a_waiting_delivery_requests_a_load(
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
    assert request.run_config["ops"]["load"]["config"]["poll"] is False


def test_webhook_sensor_with_shards_requests_the_job_after_all_shards(
    home: LoadEnv, world: FakeKomos, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {"message": "polled"})
    monkeypatch.setenv("KOMOS_SHARDS", "2")
    monkeypatch.setenv("SOURCES__KOMOS__SPOOL", f"sqlite:///{home.directory / 'spool.db'}")
    for key in "01":
        run("komos_load", instance, shard=key)
    inbox = Inbox(f"sqlite:///{home.directory / 'spool.db'}", world)
    world.append(run_id, {"message": "pushed"})
    inbox.entries(run_id, 1)
    request = definitions().webhook_sensor(dg.build_sensor_context(instance))
    assert request.job_name == "komos_checks"
    assert run("komos_checks", instance).success
    assert home.table().keys() == expected(world).keys()
    assert inbox.spool.waiting() == 0
    inbox.spool.close()
