"""Komos in Airflow: loads on a schedule, then runs the checks of `komos health`.

    pip install '.[airflow]'                # from a checkout, into Airflow's environment
    cp pipelines/airflow_dag.py $AIRFLOW_HOME/dags/

With KOMOS_SHARDS=64 a load is 64 tasks, on any workers; KOMOS_DESTINATION names the destination.
The rest is configured as for `komos load`. dlt's helper for Airflow is not used: it runs a pipeline
without the recovery, the lock and the row count that `load` adds.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

SHARDS = int(os.environ.get("KOMOS_SHARDS", "1"))
DESTINATION = os.environ.get("KOMOS_DESTINATION", "duckdb")


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
    def load(bucket: int) -> list[str]:
        """Loads what is new; returns what could not be read. A killed task is simply retried."""
        import komos_source

        try:
            if SHARDS > 1:
                result = komos_source.load_shard(bucket, SHARDS, destination=DESTINATION)
            else:
                result = komos_source.load(destination=DESTINATION)
        except (komos_source.ConfigurationError, komos_source.AuthenticationError) as error:
            raise AirflowFailException(str(error)) from error  # no retry mends it
        print(result.to_json())
        return [*result.problems, *(f"{run}: {why}" for run, why in result.failures.items())]

    @task
    def finish(incomplete: list[list[str]]) -> None:
        """With shards, does what concerns all of them; fails if something could not be read."""
        reasons = [reason for each in incomplete for reason in each]
        if SHARDS > 1:
            from komos_source import after_shards

            after = after_shards(destination=DESTINATION)
            reasons += [*after.problems, *after.failures.values()]
        if reasons:
            raise AirflowFailException(f"the next load reads the rest: {reasons[:20]}")

    @task(trigger_rule="all_done")  # alerts are needed most after a load that has failed
    def check() -> None:
        """Runs the checks, sends alerts to SOURCES__KOMOS__NOTIFY; fails if a check fails."""
        from komos_source.alerts import notify
        from komos_source.analytics import open_database, run_checks

        results = run_checks(database := open_database(destination=DESTINATION))
        notify(database, results)
        if failed := [f"{each.name}: {each.detail}" for each in results if not each.passed]:
            raise AirflowFailException("; ".join(failed))

    @task
    def complete() -> None:
        """Is reached only if everything was loaded; else the run fails, whatever `check` finds."""

    finish(load.expand(bucket=list(range(SHARDS)))) >> [check(), complete()]


komos()
