"""Sends one finding in a process of its own: DESTINATION URL [BARRIER | die].

BARRIER is requested before; with ``die`` the process is killed once the target has the message.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.request

from komos_source.alerts import notify
from komos_source.alerts.store import AlertStore
from komos_source.analytics import CheckResult, open_database
from komos_source.analytics.checks import Finding

FINDING = Finding("silent_tasks", "t", "no run for 6 days", "usually 4 h", "t", "Orders")


def results(*findings: Finding) -> list[CheckResult]:
    return [CheckResult("silent_tasks", "task_runs", "", {}, findings)]


def main() -> None:
    destination, url, *more = sys.argv[1:]
    if more == ["die"]:
        AlertStore.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    elif more:
        urllib.request.urlopen(more[0], timeout=60).close()
    for delivery in notify(open_database(destination), results(FINDING), [url]):
        sys.stdout.write(f"{delivery}\n")


if __name__ == "__main__":
    main()
