"""Komos in Airflow: loads on a schedule, then runs the data-quality checks.

    pip install '.[airflow]'                # from a checkout, into Airflow's environment
    cp pipelines/airflow_dag.py $AIRFLOW_HOME/dags/

With KOMOS_SHARDS=64 a load is 64 tasks, on any workers; KOMOS_DESTINATION and KOMOS_DATASET name
the destination. The rest is configured as for `komos load`. dlt's own helper for Airflow is not
used: it runs a pipeline without the recovery, the lock and the row count that `load` adds.
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
CHECKS = [
    *("window_gaps", "rejected_share", "freshness", "failed_loads"),
    *(
        "regressions",
        "incidents",
        "new_error_templates",
        "silent_tasks",
        "volume",
        "duration",
        "new_fields",
    ),
]


def counts(result: Any) -> dict[str, float]:
    """The counts of a load; fails the task if something could not be loaded."""
    if result.exit_code:
        reasons = [*result.problems, *result.failures.values()]
        raise AirflowFailException(
            f"loaded, but not everything; the next load tries the rest again: {reasons[:20]}"
        )
    return result.to_json()


@dag(
    schedule=os.environ.get("KOMOS_LOAD_CRON", "*/15 * * * *"),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # no load while another is in progress
    tags=["komos"],
)
def komos():
    """Komos' task runs and their logs, each entry once."""

    # The imports are inside the tasks: the scheduler parses this file every few seconds.
    @task(retries=3, retry_delay=timedelta(seconds=30), retry_exponential_backoff=True)
    def load(bucket: int) -> dict[str, float]:
        """Loads what is new, once. A killed task can simply be started again."""
        import komos_source

        try:
            if SHARDS > 1:
                result = komos_source.load_shard(bucket, SHARDS, **WHERE)
            else:
                result = komos_source.load(**WHERE)
        except (
            komos_source.UsageError,
            komos_source.ConfigurationError,
            komos_source.AuthenticationError,
        ) as error:
            raise AirflowFailException(str(error)) from error
        return counts(result)

    @task(trigger_rule="all_done")
    def after() -> dict[str, float]:
        """Loads webhook deliveries, creates the views, checks that each shard has been loaded."""
        from komos_source import after_shards

        return counts(after_shards(**WHERE))

    @task(trigger_rule="all_done")
    def check(name: str) -> str:
        """Runs one of the checks of `komos_source.analytics`."""
        from komos_source.analytics import open_database, run_checks

        (result,) = run_checks(open_database(**WHERE), [name])
        if not result.passed:
            raise AirflowFailException(result.detail)
        return result.detail

    @task(trigger_rule="one_failed")
    def outcome() -> None:
        """Fails the run if any task has failed: Airflow takes the state of the last tasks only."""
        raise AirflowFailException("not all tasks have succeeded")

    loaded = load.expand(bucket=list(range(SHARDS)))
    checked = check.expand(name=CHECKS)
    if SHARDS > 1:
        afterwards = after()
        loaded >> afterwards >> checked
        [loaded, afterwards, checked] >> outcome()
    else:
        loaded >> checked
        [loaded, checked] >> outcome()


komos()
