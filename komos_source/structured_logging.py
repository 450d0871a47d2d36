"""Structured logs: events of standard `logging` with fields, one per line, plain or as JSON.

The package only emits them, to the logger ``komos_source``; the application decides where they go.
The command writes them to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from komos_source.text import printable

LOGGER = logging.getLogger("komos_source")
_EVENTS = LOGGER.getChild("events")
_EVENTS.addHandler(logging.NullHandler())  # else Python writes warnings to standard error, bare


def emit(level: int, event: str, **fields: Any) -> None:
    """Logs an event with its fields; no field may be a secret."""
    _EVENTS.log(level, event, extra={"fields": fields})


def log_to_stderr(log_format: str) -> None:
    """Writes the events to standard error, in a process of the command.

    Args:
        log_format: ``plain`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Plain())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **fields,
        }
        # In ASCII no character of a message controls the terminal or log viewer that shows it.
        return json.dumps(event, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = (f"{key}={value!r}" for key, value in getattr(record, "fields", {}).items())
        return printable(" ".join([_time(record), record.levelname, record.getMessage(), *fields]))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
