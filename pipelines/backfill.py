"""Backfill: loads the logs of named runs, or of some tasks' visible runs.

The API lists only a task's 50 newest runs; older ones are loaded by their ids:

    python pipelines/backfill.py --runs-file kept_run_ids.txt
    python pipelines/backfill.py --task-id 6513270e-269e-4d37-b2a7-4de452e6b438 --since 2025-10-01
"""

import argparse
import sys
from pathlib import Path

from komos_source import KomosError, load


def main() -> int:
    """Loads what the arguments name; returns the exit code."""
    parser = argparse.ArgumentParser(description="Load chosen Komos runs.")
    parser.add_argument("--runs-file", type=Path, help="one run id per line")
    parser.add_argument("--task-id", action="append", help="repeatable")
    parser.add_argument("--since", help="ISO 8601; with --task-id")
    arguments = parser.parse_args()
    if not arguments.runs_file and not arguments.task_id:
        parser.error("give --runs-file or --task-id")
    try:
        result = load(
            run_ids=arguments.runs_file.read_text("utf-8").split() if arguments.runs_file else None,
            task_ids=arguments.task_id,
            since=arguments.since,
            full_refresh=True,
        )
    except (KomosError, OSError) as error:
        print("nothing was loaded:", ascii(str(error)), file=sys.stderr)
        return 1
    print(result.to_json())
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
