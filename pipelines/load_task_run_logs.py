"""The scheduled job: loads what is new from Komos into DuckDB, and fails if a run cannot be loaded.

Endpoints: tasks, their runs, the runs' logs. Needs SOURCES__KOMOS__API_KEY. Run it from cron:

    */15 * * * *  cd /srv/komos && .venv/bin/python pipelines/load_task_run_logs.py
"""

import sys

from komos_source import KomosError, load


def main() -> int:
    """Loads once; returns the exit code."""
    try:
        result = load(destination="duckdb", dataset_name="komos")
    except KomosError as error:
        print("nothing was loaded:", ascii(str(error)), file=sys.stderr)
        return 1
    print(result.to_json())
    for run_id, reason in result.failures.items():
        print(f"run {run_id!r} will be tried again: {reason!r}", file=sys.stderr)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
