"""The ``komos`` command with short waits between two looks at a log."""

from __future__ import annotations

from komos_source import settings
from komos_source.cli.main import main

FAST_SETTINGS = {"LOG_WAIT": 0.02, "LOG_MAX_WAIT": 0.1, "LOG_RECONNECT_WAIT": 0.05}

if __name__ == "__main__":
    vars(settings).update(FAST_SETTINGS)
    main()
