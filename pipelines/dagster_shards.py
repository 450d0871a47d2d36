"""Komos in Dagster, in shards: a run loads all of them side by side, then what concerns all.

    DAGSTER_HOME=$PWD/pipelines/dagster_home KOMOS_SHARDS=64 KOMOS_DESTINATION=postgres \
        dagster dev -f pipelines/dagster_shards.py

With the executor of Kubernetes or Celery, each shard is loaded on a machine of its own. The first
load into a dataset fixes the number of shards.
"""

import os
from itertools import chain
from typing import Any

import dagster as dg

from komos_source import LoadResult, after_shards, load_shard

SHARDS = int(os.environ.get("KOMOS_SHARDS", "64"))
DESTINATION = os.environ.get("KOMOS_DESTINATION", "postgres")
LOAD_CRON = os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *")
RETRIES = dg.RetryPolicy(max_retries=5, delay=10, backoff=dg.Backoff.EXPONENTIAL)


def reasons(result: LoadResult) -> list[str]:
    """Why a load is not complete; empty if it is."""
    return [*result.problems, *(f"{run}: {why}" for run, why in result.failures.items())]


@dg.op(out=dg.DynamicOut(int))
def buckets() -> Any:
    """The number of each shard."""
    for bucket in range(SHARDS):
        yield dg.DynamicOutput(bucket, mapping_key=str(bucket))


@dg.op(pool="komos_load", retry_policy=RETRIES)
def load_bucket(context: dg.OpExecutionContext, bucket: int) -> list[str]:
    """Loads what is new of one shard."""
    result = load_shard(bucket, SHARDS, destination=DESTINATION)
    context.add_output_metadata(result.to_json())
    return reasons(result)


@dg.op(retry_policy=RETRIES)
def finish(loaded: list[list[str]]) -> None:
    """Loads webhook deliveries and creates the views; fails if a shard is not complete."""
    incomplete = [*chain(*loaded), *reasons(after_shards(destination=DESTINATION))]
    if incomplete:
        details = {"reasons": incomplete[:20]}
        raise dg.Failure("the next load reads the rest", metadata=details, allow_retries=False)


@dg.job
def komos_shards() -> None:
    """One load of all shards."""
    finish(buckets().map(load_bucket).collect())


schedule = dg.ScheduleDefinition(
    job=komos_shards, cron_schedule=LOAD_CRON, default_status=dg.DefaultScheduleStatus.RUNNING
)
defs = dg.Definitions(jobs=[komos_shards], schedules=[schedule])
