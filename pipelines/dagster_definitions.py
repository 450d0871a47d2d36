"""Komos in Dagster: the tables as assets, loaded on a schedule and when a webhook has come.

On a laptop, with telemetry switched off by the instance's settings beside this file:

    pip install '.[dagster]' dagster-webserver
    DAGSTER_HOME=$PWD/pipelines/dagster_home dagster dev -f pipelines/dagster_definitions.py

The same file goes to a cluster: there KOMOS_SHARDS=64 makes 64 partitions, each loaded by a run of
its own, wherever the run launcher puts it. KOMOS_DESTINATION and KOMOS_DATASET say where to; the
rest is configured as for `komos load`.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

import dagster as dg
import dlt

from komos_source import tables
from komos_source.analytics import checks as health_checks
from komos_source.analytics import query
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import (
    AuthenticationError,
    ConfigurationError,
    LockedError,
    UsageError,
)
from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.loading.shards import after_shards, load_shard
from komos_source.webhooks._optional import open_spool
from komos_source.webhooks.config import spool_in_use

SHARDS = int(os.environ.get("KOMOS_SHARDS", "1"))
WHERE = {
    "destination": os.environ.get("KOMOS_DESTINATION", "duckdb"),
    "dataset_name": os.environ.get("KOMOS_DATASET", "komos"),
}
LOAD_CRON = os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *")
LOCK_TIMEOUT = 10.0  # seconds; then the load is tried again later, and the worker is free

HINTS = [table.hints() for table in tables.ARROW_TABLES]
SHARD_KEYS = [str(bucket) for bucket in range(SHARDS)]
PARTITIONS = dg.StaticPartitionsDefinition(SHARD_KEYS) if SHARDS > 1 else None

NOT_ENDED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def reader() -> dlt.Pipeline:
    """What the checks read through: not a load's own pipeline, whose files come and go."""
    return make_pipeline(WHERE["destination"], WHERE["dataset_name"], "komos_checks")


def spec(hints: dict) -> dg.AssetSpec:
    """A table as an asset, with its key and columns."""
    columns = [
        dg.TableColumn(
            name,
            column["data_type"],
            constraints=dg.TableColumnConstraints(nullable=column.get("nullable", True)),
        )
        for name, column in hints["columns"].items()
    ]
    return dg.AssetSpec(
        ["komos", hints["name"]],
        group_name="komos",
        kinds={"dlt", WHERE["destination"]},
        metadata={
            "primary_key": hints["primary_key"],
            "dagster/column_schema": dg.TableSchema(columns),
        },
    )


class LoadConfig(dg.Config):
    """What one load does."""

    poll: bool = True  # False: only drain the webhooks' spool
    full_refresh: bool = False  # read every visible run again


@dg.multi_asset(
    name="load",
    specs=[spec(hints) for hints in HINTS],
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
            report = load_shard(int(context.partition_key), SHARDS, **options)
        else:
            report = load(**options)
    except LockedError as error:
        raise dg.RetryRequested(max_retries=10, seconds_to_wait=30) from error
    except (UsageError, ConfigurationError, AuthenticationError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for hints in HINTS:
        yield dg.MaterializeResult(["komos", hints["name"]], metadata=report.to_json())
    fail_if_incomplete(report)


def fail_if_incomplete(report: LoadResult) -> None:
    """Fails a step that did not get everything; what it has materialized stays."""
    if report.exit_code:
        details = {"failures": dict(report.failures), "problems": list(report.problems)}
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
    """The view of that name: rates of the worst nodes, and how many rows each table has."""
    after = None
    if SHARDS > 1:
        if len(idle_shards(context.instance)) < SHARDS:
            raise dg.RetryRequested(max_retries=20, seconds_to_wait=30)
        after = after_shards(**WHERE, lock_timeout=LOCK_TIMEOUT)  # webhooks, views
    pipeline = reader()
    for table, rows in health_checks.row_counts(pipeline).items():
        context.log_event(
            dg.AssetObservation(["komos", table], metadata={"dagster/row_count": rows})
        )
    rates = query(pipeline, "node_health")
    worst = rates.sort_values(["error_rate", "warning_rate"], ascending=False).head(10)
    shown = ["task_id", "node_id", "runs", "error_rate", "warning_rate"]
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rates),
            "runs": int(rates["runs"].sum()),
            "worst_nodes": dg.MarkdownMetadataValue(worst[shown].to_markdown(index=False)),
        }
    )
    if after:
        fail_if_incomplete(after)


QUESTIONS = {
    "no_window_gap": "task_run_window_gaps",
    "rejected_share": "task_run_logs_rejected",
    "freshness": "task_run_logs",
    "no_regression": "task_run_logs",
}


@dg.multi_asset_check(
    specs=[dg.AssetCheckSpec(name, asset=["komos", table]) for name, table in QUESTIONS.items()]
)
def checks() -> Iterator[dg.AssetCheckResult]:
    """The checks of `komos_source.analytics`, each a check of the table that it is about."""
    for verdict in health_checks.run_checks(reader()):
        yield dg.AssetCheckResult(
            passed=verdict.passed,
            check_name=verdict.name,
            asset_key=["komos", verdict.table],
            description=verdict.detail,
            metadata=dict(verdict.figures),
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
        return dg.SkipReason("what comes after all shards has not ended yet")
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
        return dg.SkipReason("other shards are still loading: the last one asks")
    return dg.RunRequest(context.dagster_run.run_id)


# Loads that fail, or do not even start, ask for no checks: freshness is for these.
check_schedule = dg.ScheduleDefinition(
    job=check_job, cron_schedule="5 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)


@dg.sensor(
    jobs=[load_job, check_job],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def webhook_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A load without asking the API, as soon as a delivery waits in the webhooks' spool.

    With shards, what comes after them all takes the deliveries: whose they are they do not say.
    """
    url = spool_in_use()
    if url is None:
        return dg.SkipReason("no spool is in use")
    with contextlib.closing(open_spool(url)) as spool:
        last = spool.last_number()
    if not last or len(idle_shards(context.instance)) < SHARDS:
        return dg.SkipReason("nothing waits" if not last else "a load is in progress")
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
