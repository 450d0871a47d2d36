"""Komos in Dagster: tables as assets, loaded on a schedule and when a webhook arrives, and checked.

    pip install '.[dagster]' dagster-webserver
    DAGSTER_HOME=$PWD/pipelines/dagster_home dagster dev -f pipelines/dagster_definitions.py

KOMOS_DESTINATION names the destination; the rest is configured as for `komos load`.
"""

import contextlib
import os

import dagster as dg
import dlt

from komos_source import komos_source, load
from komos_source.alerts import notify
from komos_source.analytics import open_database, run_checks
from komos_source.analytics.checks import CHECKS
from komos_source.webhooks import Spool

DESTINATION = os.environ.get("KOMOS_DESTINATION", "duckdb")
LOAD_CRON = os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *")
TABLES = list(komos_source(api_key="unused").resources)
LOGS = dg.AssetKey(["komos", "task_run_logs"])
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


class LoadConfig(dg.Config):
    """Options of one load."""

    poll: bool = True  # False: only load webhook deliveries


@dg.multi_asset(
    specs=[dg.AssetSpec(["komos", table], group_name="komos", kinds={"dlt"}) for table in TABLES],
    pool="komos_load",  # one at a time: see dagster_home/dagster.yaml
    retry_policy=dg.RetryPolicy(5, delay=10, backoff=dg.Backoff.EXPONENTIAL),  # also after a crash
)
def tables(config: LoadConfig):
    """Loads what is new, each entry once; fails if something could not be read."""
    result = load(destination=DESTINATION, poll=config.poll)
    for table in TABLES:
        yield dg.MaterializeResult(["komos", table], metadata=result.to_json())
    if result.exit_code:
        reasons = {"failures": dict(result.failures), "problems": list(result.problems)}
        raise dg.Failure("the next load reads the rest", metadata=reasons, allow_retries=False)


@dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset=LOGS) for name in CHECKS])
def checks(context: dg.AssetCheckExecutionContext):
    """The checks of `komos health`; new findings go to the targets of SOURCES__KOMOS__NOTIFY."""
    results = run_checks(database := open_database(destination=DESTINATION))
    for delivery in notify(database, results):
        context.log.info(str(delivery))
    for each in results:
        yield dg.AssetCheckResult(check_name=each.name, passed=each.passed, description=each.detail)


ASSETS, ON = dg.AssetSelection, dg.DefaultScheduleStatus.RUNNING
load_job = dg.define_asset_job("komos_load", ASSETS.assets(tables).without_checks())
check_job = dg.define_asset_job("komos_checks", ASSETS.checks(checks))
load_schedule = dg.ScheduleDefinition(job=load_job, cron_schedule=LOAD_CRON, default_status=ON)
check_schedule = dg.ScheduleDefinition(job=check_job, cron_schedule="5 * * * *", default_status=ON)


@dg.sensor(job=load_job, default_status=dg.DefaultSensorStatus.RUNNING)
def webhook_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A load of webhook deliveries alone, as soon as one is in the spool and no load is running."""
    running = dg.RunsFilter(job_name="komos_load", statuses=[*set(dg.DagsterRunStatus) - ENDED])
    if (url := dlt.config.get("sources.komos.spool")) is None or context.instance.get_runs(running):
        return dg.SkipReason("there is no spool, or a load is running")
    with contextlib.closing(Spool(url)) as spool:
        if not (last := spool.last_number()):
            return dg.SkipReason("the spool is empty")
    return dg.RunRequest(str(last), dg.RunConfig({"tables": LoadConfig(poll=False)}))


SCHEDULES = [load_schedule, check_schedule]
defs = dg.Definitions([tables], SCHEDULES, [webhook_sensor], asset_checks=[checks])
