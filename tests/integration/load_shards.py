"""Loads some buckets, one after the other, in one process, and prints a line after each.

python load_shards.py DESTINATION OF BUCKET…
"""

from __future__ import annotations

import sys

from komos_source.cli import startup
from komos_source.loading.shards import load_shard


def main(destination: str, of: str, *buckets: str) -> None:
    startup.import_loading()
    for bucket in buckets:
        report = load_shard(int(bucket), int(of), destination=destination, backoff=0.01)
        assert report.exit_code == 0, report
        sys.stdout.write(f"{bucket}: {report.entries_loaded}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
