"""Runs one process to its end: how long it took, how much memory it held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""getrusage(2) counts bytes on macOS, kilobytes on Linux."""


@dataclass(frozen=True)
class Measured:
    """One process, from its start to its exit.

    Attributes:
        seconds: Wall time.
        peak: Most memory that the process, or one that it started and waited for, held at once;
            in MB (10**6 bytes).
        exit_code: Negative: the signal that ended it.
        said: What it printed last.
    """

    seconds: float
    peak: float
    exit_code: int
    said: str


def measure(
    command: Sequence[str], directory: Path, limit: float, environment: Mapping[str, str]
) -> Measured:
    """Runs ``command`` in ``directory``; kills it after ``limit`` seconds."""
    output = directory / "output.txt"
    with output.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        killer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        # wait4 and not wait: it alone says what this process used, and not all children together.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        seconds,
        usage.ru_maxrss * _MAXRSS_UNIT / 1e6,
        process.returncode,
        output.read_text(errors="replace")[-400:].strip(),
    )
