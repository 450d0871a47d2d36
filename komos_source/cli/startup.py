"""Start-up of the ``komos`` process."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

from komos_source.exceptions import ConfigurationError
from komos_source.text import without_quotes

_SETTING = re.compile(r"(\w+__)?(SOURCES__KOMOS|DESTINATION)__|KOMOS_API_KEY$")
_UNQUOTED = re.compile(r"SOURCES__KOMOS__|KOMOS_API_KEY|__CREDENTIALS$")


NOT_ON_WINDOWS = (
    "komos does not run on Windows itself: run it in WSL (`wsl --install`, then as on Linux), or "
    "in a container"
)


def configure_process() -> None:
    """Sets what applies to every command: permissions of files, signals, the output of dlt.

    Raises:
        ConfigurationError: On Windows, where docs/compatibility.md lists what would fail.
    """
    if sys.platform == "win32":
        raise ConfigurationError(NOT_ON_WINDOWS)
    os.umask(0o077)  # logs may hold personal data: files are for their owner only
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    for name, value in [*os.environ.items()]:
        if _SETTING.match(name):
            # Passwords and the like may begin and end with anything.
            stripped = without_quotes(value) if _UNQUOTED.search(name) else value
            if stripped:
                os.environ[name] = stripped
            else:
                del os.environ[name]  # schedulers set a missing value to an empty text
    if not os.environ.get("KOMOS_TRACEBACK"):
        # On a full disk, Arrow fails once more when it closes a file, after the error was reported.
        sys.unraisablehook = lambda _: None
    signal.signal(signal.SIGTERM, _interrupt)


def import_loading() -> None:
    """Imports what a load needs, without garbage collection, which would find nothing."""
    gc.disable()
    import_module("komos_source.loading.load")
    gc.enable()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
