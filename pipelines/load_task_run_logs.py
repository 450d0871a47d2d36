"""The scheduled job: load what is new from Komos into DuckDB, and fail if something is amiss.

Endpoints: tasks, their runs, the runs' logs. Needs SOURCES__KOMOS__API_KEY. Run it from cron:

    */15 * * * *  cd /srv/komos && .venv/bin/python pipelines/load_task_run_logs.py
"""

import sys

from komos_source.exceptions import KomosError
from komos_source.loading.load import load


def main() -> int:
    """Loads once; returns the exit code."""
    try:
        report = load(destination="duckdb", dataset_name="komos")
    except KomosError as error:
        print(f"nothing was loaded: {error}", file=sys.stderr)
        return 1
    print(report.to_json())
    for run_id, reason in report.failures.items():
        print(f"run {run_id} will be tried again: {reason}", file=sys.stderr)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
