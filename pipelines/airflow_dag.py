"""Komos in Airflow: load on a schedule, then ask whether what is there is sound.

    pip install '.[airflow]'                # from a checkout, into Airflow's environment
    cp pipelines/airflow_dag.py $AIRFLOW_HOME/dags/

KOMOS_SHARDS=64 makes 64 tasks of the load, on whatever workers there are; KOMOS_DESTINATION and
KOMOS_DATASET say where to. The rest is configured as for `komos load`. dlt's own helper for Airflow
is not used: it runs a pipeline without the recovery, the lock and the counting that `load` adds.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

SHARDS = int(os.environ.get("KOMOS_SHARDS", "1"))
WHERE = {
    "destination": os.environ.get("KOMOS_DESTINATION", "duckdb"),
    "dataset_name": os.environ.get("KOMOS_DATASET", "komos"),
}


def counts(report: Any) -> dict[str, float]:
    """Of a `LoadResult`; fails the task if it is not of everything."""
    if report.exit_code:
        reasons = [*report.problems, *report.failures.values()]
        raise AirflowFailException(
            f"loaded, but not everything; the next load tries the rest again: {reasons[:20]}"
        )
    return report.to_json()


@dag(
    schedule=os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *"),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # no load while another is in progress
    tags=["komos"],
)
def komos():
    """Komos' task runs and their logs, each entry once."""

    # Imports inside: the scheduler parses this file every few seconds.
    @task(retries=3, retry_delay=timedelta(seconds=30), retry_exponential_backoff=True)
    def load(bucket: int) -> dict[str, float]:
        """Loads what is new, once. A killed task is simply started again."""
        from komos_source.exceptions import AuthenticationError, ConfigurationError, UsageError
        from komos_source.loading.load import load
        from komos_source.loading.shards import load_shard

        try:
            report = load_shard(bucket, SHARDS, **WHERE) if SHARDS > 1 else load(**WHERE)
        except (UsageError, ConfigurationError, AuthenticationError) as error:
            raise AirflowFailException(str(error)) from error
        return counts(report)

    @task(trigger_rule="all_done")
    def after() -> dict[str, float]:
        """What concerns all shards: webhooks, views, whether each has been loaded."""
        from komos_source.loading.shards import after_shards

        return counts(after_shards(**WHERE))

    @task(trigger_rule="all_done")
    def check(question: str) -> str:
        """Asks one question of `komos_source.analytics.checks`; fails if the answer is no."""
        from komos_source.analytics import checks
        from komos_source.destinations.pipeline import make_pipeline

        reader = make_pipeline(WHERE["destination"], WHERE["dataset_name"], "komos_checks")
        verdict = getattr(checks, question)(reader)
        if not verdict.passed:
            raise AirflowFailException(verdict.detail)
        return verdict.detail

    @task(trigger_rule="one_failed")
    def outcome() -> None:
        """Fails the run if any task has failed. Airflow judges it by its last tasks only."""
        raise AirflowFailException("not all tasks have succeeded")

    loaded = load.expand(bucket=list(range(SHARDS)))
    questions = ["no_window_gap", "rejected_share", "freshness", "no_regression"]
    checked = check.expand(question=questions)
    if SHARDS > 1:
        afterwards = after()
        loaded >> afterwards >> checked
        [loaded, afterwards, checked] >> outcome()
    else:
        loaded >> checked
        [loaded, checked] >> outcome()


komos()
