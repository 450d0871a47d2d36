"""Near real time on one machine: the webhook receiver, and a loader that follows it.

Komos pushes task-run.* events to the receiver, which keeps them in a SQLite spool; the loader
drains the spool at once, and asks the API for the rest every minute. Needs SOURCES__KOMOS__API_KEY
and SOURCES__KOMOS__WEBHOOK_SECRET, and a proxy with TLS in front (see docs/webhooks.md). Arguments
are those of `komos webhooks serve`:

    python pipelines/webhook_receiver.py --port 8766
"""

import signal
import subprocess
import sys

from komos_source.exceptions import KomosError
from komos_source.load_result import LoadResult
from komos_source.loading.follow import follow

EVERY = 60.0
"""Seconds between two looks at the API."""


def main() -> int:
    """Runs both until stopped; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "komos_source", "webhooks", "serve", *sys.argv[1:]]
    with subprocess.Popen(command) as receiver:  # noqa: S603 - our own command

        def loaded(report: LoadResult, polled: bool) -> None:
            print("polled" if polled else "drained", report.to_json(), flush=True)
            if receiver.poll() is not None:
                raise KomosError("the receiver has ended; its own message says why")

        def failed(outage: str) -> None:
            print(outage, file=sys.stderr, flush=True)

        try:
            follow(EVERY, loaded, failed, destination="duckdb", dataset_name="komos")
        except KomosError as error:
            failed(str(error))
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            receiver.terminate()


if __name__ == "__main__":
    sys.exit(main())
