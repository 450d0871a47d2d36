"""Start-up of the ``komos`` process."""

from __future__ import annotations

import gc
import os
import signal
from importlib import import_module
from types import FrameType
from typing import NoReturn


def configure_process() -> None:
    """Settles what applies to every command: permissions of files, signals, dlt's own output."""
    os.umask(0o077)  # logs may hold personal data: files are for their owner only
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    for name, value in [*os.environ.items()]:
        if not value and name.startswith(("SOURCES__KOMOS__", "DESTINATION__")):
            del os.environ[name]  # schedulers set a missing value to an empty text
    signal.signal(signal.SIGTERM, _interrupt)


def import_loading() -> None:
    """Imports what a load needs, without garbage collection, which would find nothing."""
    gc.disable()
    import_module("komos_source.loading.load")
    gc.enable()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
