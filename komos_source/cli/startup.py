"""Start-up of the ``komos`` process."""

from __future__ import annotations

import gc
import os
import signal
from importlib import import_module
from types import FrameType
from typing import NoReturn

from komos_source.settings import API_KEY_VARIABLE


def configure_process() -> None:
    """Settles what applies to every command: permissions of files, signals, dlt's own output."""
    os.umask(0o077)  # logs may hold personal data: files are for their owner only
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    if os.environ.get(API_KEY_VARIABLE) == "":
        del os.environ[API_KEY_VARIABLE]  # schedulers set a missing secret to an empty text
    signal.signal(signal.SIGTERM, _interrupt)


def import_loading() -> None:
    """Imports what a load needs, without garbage collection, and exempts it from later ones.

    Modules stay for as long as the process: collecting among them takes an eighth of a small load.
    """
    gc.disable()
    import_module("komos_source.loading.load")
    gc.freeze()
    gc.enable()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
