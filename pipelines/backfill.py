"""Backfill: the logs of runs you name, or of some tasks' visible runs.

The API lists only a task's 50 newest runs; older ones come home by their ids:

    python pipelines/backfill.py --runs-file kept_run_ids.txt
    python pipelines/backfill.py --task-id 6513270e-269e-4d37-b2a7-4de452e6b438 --since 2025-10-01
"""

import argparse
import sys
from pathlib import Path

from komos_source.exceptions import KomosError
from komos_source.extract.options import read_runs_file
from komos_source.loading.load import load


def main() -> int:
    """Loads what the arguments name; returns the exit code."""
    parser = argparse.ArgumentParser(description="Load chosen Komos runs.")
    parser.add_argument("--runs-file", type=Path, help="one run id a line")
    parser.add_argument("--task-id", action="append", help="repeatable")
    parser.add_argument("--since", help="ISO 8601; with --task-id")
    arguments = parser.parse_args()
    if not arguments.runs_file and not arguments.task_id:
        parser.error("give --runs-file or --task-id")
    try:
        report = load(
            run_ids=read_runs_file(arguments.runs_file) if arguments.runs_file else None,
            task_ids=arguments.task_id,
            since=arguments.since,
            full_refresh=True,
        )
    except KomosError as error:
        print(f"nothing was loaded: {error}", file=sys.stderr)
        return 1
    print(report.to_json())
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
