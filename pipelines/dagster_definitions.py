"""Komos in Dagster: the tables as assets, loaded on a schedule and when a webhook arrives.

On a laptop, with telemetry switched off by the instance's settings beside this file:

    pip install '.[dagster]' dagster-webserver
    DAGSTER_HOME=$PWD/pipelines/dagster_home dagster dev -f pipelines/dagster_definitions.py

On a cluster, KOMOS_SHARDS=64 makes 64 partitions, each loaded by a run of its own, wherever the run
launcher starts it. KOMOS_DESTINATION and KOMOS_DATASET name the destination; the rest is configured
as for `komos load`. Webhooks start a load if SOURCES__KOMOS__SPOOL names their spool.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

import dagster as dg
import dlt

from komos_source import (
    AuthenticationError,
    ConfigurationError,
    LoadResult,
    LockedError,
    UsageError,
    after_shards,
    komos_source,
    load,
    load_shard,
)
from komos_source.alerts import notify
from komos_source.analytics import open_database, query, run_checks
from komos_source.webhooks import Spool

SHARDS = int(os.environ.get("KOMOS_SHARDS", "1"))
WHERE = {
    "destination": os.environ.get("KOMOS_DESTINATION", "duckdb"),
    "dataset_name": os.environ.get("KOMOS_DATASET", "komos"),
}
LOAD_CRON = os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *")
LOCK_TIMEOUT = 10.0  # seconds; then the load is tried again later, and the worker is free

# What the source declares of its tables; nothing is requested, so no key is needed.
TABLES = [
    resource.compute_table_schema()
    for resource in komos_source(api_key="unused").resources.values()
]
SHARD_KEYS = [str(bucket) for bucket in range(SHARDS)]
PARTITIONS = dg.StaticPartitionsDefinition(SHARD_KEYS) if SHARDS > 1 else None

NOT_ENDED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def spec(table: dict) -> dg.AssetSpec:
    """A table as an asset, with its key and columns."""
    columns = [
        dg.TableColumn(
            name,
            column["data_type"],
            constraints=dg.TableColumnConstraints(nullable=column.get("nullable", True)),
        )
        for name, column in table["columns"].items()
    ]
    key = [name for name, column in table["columns"].items() if column.get("primary_key")]
    return dg.AssetSpec(
        ["komos", table["name"]],
        group_name="komos",
        kinds={"dlt", WHERE["destination"]},
        metadata={"primary_key": key, "dagster/column_schema": dg.TableSchema(columns)},
    )


class LoadConfig(dg.Config):
    """Options of one load."""

    poll: bool = True  # False: only load webhook deliveries
    full_refresh: bool = False  # read every visible run again


@dg.multi_asset(
    name="load",
    specs=[spec(table) for table in TABLES],
    partitions_def=PARTITIONS,
    pool=None if PARTITIONS else "komos_load",
    # Also after a crash of the process: a load starts from what the destination holds.
    retry_policy=dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL),
)
def load_tables(
    context: dg.AssetExecutionContext, config: LoadConfig
) -> Iterator[dg.MaterializeResult]:
    """Loads what is new, once; fails the run if something could not be fetched."""
    options = {**WHERE, **config.model_dump(), "lock_timeout": LOCK_TIMEOUT}
    try:
        if SHARDS > 1:
            result = load_shard(int(context.partition_key), SHARDS, **options)
        else:
            result = load(**options)
    except LockedError as error:
        raise dg.RetryRequested(max_retries=10, seconds_to_wait=30) from error
    except (UsageError, ConfigurationError, AuthenticationError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for table in TABLES:
        yield dg.MaterializeResult(["komos", table["name"]], metadata=result.to_json())
    fail_if_incomplete(result)


def fail_if_incomplete(result: LoadResult) -> None:
    """Fails a step that could not load everything; what it has materialized stays."""
    if result.exit_code:
        details = {"failures": dict(result.failures), "problems": list(result.problems)}
        raise dg.Failure(
            "loaded, but not everything: the next load tries the rest again",
            metadata=details,
            allow_retries=False,
        )


@dg.asset(
    key=["komos", "node_health"],
    deps=[["komos", "task_runs"], ["komos", "task_run_logs"]],
    group_name="komos",
    kinds={WHERE["destination"]},
)
def node_health(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """The view of that name: the nodes with the highest error rates, and rows per table."""
    after = None
    if SHARDS > 1:
        if len(idle_shards(context.instance)) < SHARDS:
            raise dg.RetryRequested(max_retries=20, seconds_to_wait=30)
        after = after_shards(**WHERE, lock_timeout=LOCK_TIMEOUT)  # webhooks, views
    database = open_database(**WHERE)
    for table, rows in database.row_counts().items():
        context.log_event(
            dg.AssetObservation(["komos", table], metadata={"dagster/row_count": rows})
        )
    rates = query(database, "node_health")
    worst = rates.sort_values(["error_rate", "warning_rate"], ascending=False).head(10)
    shown = ["task_id", "node_id", "runs", "error_rate", "warning_rate"]
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rates),
            "runs": int(rates["runs"].sum()),
            # Not Markdown: ids come from outside, and could be links or images there.
            "worst_nodes": dg.TableMetadataValue(
                [dg.TableRecord(row) for row in worst[shown].to_dict("records")],
                dg.TableSchema([dg.TableColumn(name) for name in shown]),
            ),
        }
    )
    if after:
        fail_if_incomplete(after)


CHECKS = {
    "window_gaps": "task_run_window_gaps",
    "rejected_share": "task_run_logs_rejected",
    "freshness": "task_run_logs",
    "failed_loads": "task_run_log_loads",
    "regressions": "task_run_logs",
    "incidents": "task_run_logs",
    "new_error_templates": "task_run_logs",
    "silent_tasks": "task_runs",
    "volume": "task_runs",
    "duration": "task_runs",
    "new_fields": "task_run_logs",
}


@dg.multi_asset_check(
    specs=[dg.AssetCheckSpec(name, asset=["komos", table]) for name, table in CHECKS.items()]
)
def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """The checks of `komos health`, each a check of the table that it is about.

    What they have found is sent once to the targets of SOURCES__KOMOS__NOTIFY, if there are any.
    """
    database = open_database(**WHERE)
    results = run_checks(database, [*CHECKS])
    for delivery in notify(database, results):
        log = context.log.info if delivery.accepted else context.log.error
        log(str(delivery))
    for result in results:
        yield dg.AssetCheckResult(
            passed=result.passed,
            check_name=result.name,
            asset_key=["komos", result.table],
            description=result.detail,
            metadata=dict(result.figures),
        )


load_job = dg.define_asset_job("komos_load", dg.AssetSelection.assets(load_tables).without_checks())
check_job = dg.define_asset_job(
    "komos_checks",
    dg.AssetSelection.assets(node_health) | dg.AssetSelection.checks(checks),
    executor_def=dg.in_process_executor,  # its two steps take less than two processes would
)


def runs_under_way(instance: dg.DagsterInstance, job: str) -> Sequence[dg.DagsterRun]:
    """Runs of a job that are queued or in progress."""
    return instance.get_runs(dg.RunsFilter(job_name=job, statuses=NOT_ENDED))


def idle_shards(instance: dg.DagsterInstance) -> list[str]:
    """Shards of which no load is queued or in progress."""
    loads = runs_under_way(instance, load_job.name)
    busy = {run.tags.get("dagster/partition", SHARD_KEYS[0]) for run in loads}
    return [key for key in SHARD_KEYS if key not in busy]


@dg.schedule(job=load_job, cron_schedule=LOAD_CRON, default_status=dg.DefaultScheduleStatus.RUNNING)
def load_schedule(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    """A load of each shard that is idle."""
    if SHARDS > 1 and runs_under_way(context.instance, check_job.name):
        return dg.SkipReason("the step after all shards has not ended yet")
    idle = idle_shards(context.instance)
    if not idle:
        return dg.SkipReason("the loads of the last tick have not ended yet")
    return [dg.RunRequest(key, partition_key=key if PARTITIONS else None) for key in idle]


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[load_job],
    request_job=check_job,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def check_after_loads(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """The checks once, after the last of the shards; not after each webhook."""
    if "dagster/sensor_name" in context.dagster_run.tags:
        return dg.SkipReason("only webhooks were loaded")
    if len(idle_shards(context.instance)) < SHARDS:
        return dg.SkipReason("other shards are still loading: the last one starts the checks")
    return dg.RunRequest(context.dagster_run.run_id)


# A load that fails, or does not start, starts no checks: the freshness check finds that.
check_schedule = dg.ScheduleDefinition(
    job=check_job, cron_schedule="5 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)


@dg.sensor(
    jobs=[load_job, check_job],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def webhook_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A load of webhooks alone, as soon as a delivery waits in their spool.

    With shards, the step after all shards loads the deliveries, as they do not name their shard.
    """
    url = dlt.config.get("sources.komos.spool")
    if url is None:
        return dg.SkipReason("SOURCES__KOMOS__SPOOL is not set")
    with contextlib.closing(Spool(url)) as spool:
        last = spool.last_number()
    if not last or len(idle_shards(context.instance)) < SHARDS:
        return dg.SkipReason("no delivery waits" if not last else "a load is in progress")
    if SHARDS > 1:
        return dg.RunRequest(str(last), job_name=check_job.name)
    config = dg.RunConfig({"load": LoadConfig(poll=False)})
    return dg.RunRequest(str(last), job_name=load_job.name, run_config=config)


defs = dg.Definitions(
    assets=[load_tables, node_health],
    asset_checks=[checks],
    jobs=[load_job, check_job],
    schedules=[load_schedule, check_schedule],
    sensors=[check_after_loads, webhook_sensor],
)
