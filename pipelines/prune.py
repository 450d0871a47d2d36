"""Retention: deletes runs that ended more than half a year ago, for a scheduler to run once a week.

    python pipelines/prune.py
    python pipelines/prune.py --days 90 --destination postgres

Runs that failed are kept for two years. Daily rates of all nodes are kept for good.
"""

import argparse
import sys
from datetime import timedelta

from komos_source import KomosError, prune

KEEP_FAILED = timedelta(days=2 * 365)


def main() -> int:
    """Prunes; returns the exit code."""
    parser = argparse.ArgumentParser(description="Delete old Komos runs.")
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--destination", default="duckdb")
    arguments = parser.parse_args()
    try:
        for older_than, keep_failed in (
            (timedelta(days=arguments.days), True),
            (KEEP_FAILED, False),
        ):
            result = prune(older_than, keep_failed=keep_failed, destination=arguments.destination)
            print(result.sentence())
    except KomosError as error:
        print("not all was pruned:", ascii(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
