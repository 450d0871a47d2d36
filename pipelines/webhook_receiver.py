"""Near real time on one machine: the webhook receiver, and a loader that follows it.

Komos sends task-run.* events to the receiver, which stores them in a SQLite spool; the loader
loads them from there at once, and polls the API every minute. Needs SOURCES__KOMOS__API_KEY
and SOURCES__KOMOS__WEBHOOK_SECRET, and a proxy with TLS in front (see docs/webhooks.md). Arguments
are those of `komos webhooks serve`:

    python pipelines/webhook_receiver.py --port 8766
"""

import os
import signal
import subprocess
import sys

from komos_source import KomosError, LoadResult, follow

INTERVAL = 60.0
"""Seconds between two polls of the API."""


def main() -> int:
    """Runs both until stopped; returns the exit code."""
    os.umask(0o077)  # logs may hold personal data: files are for their owner only
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "komos_source", "webhooks", "serve", *sys.argv[1:]]
    with subprocess.Popen(command) as receiver:  # noqa: S603 - our own command

        def require_receiver() -> None:
            if receiver.poll() is not None:
                raise KomosError("the receiver has ended; see its own message")

        def loaded(result: LoadResult, polled: bool) -> None:
            print("polled" if polled else "drained", result.to_json(), flush=True)
            require_receiver()

        def failed(outage: str) -> None:
            print(ascii(outage), file=sys.stderr, flush=True)
            require_receiver()

        try:
            follow(INTERVAL, loaded, failed, destination="duckdb", dataset_name="komos")
        except KomosError as error:
            print(ascii(str(error)), file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            receiver.terminate()


if __name__ == "__main__":
    sys.exit(main())
