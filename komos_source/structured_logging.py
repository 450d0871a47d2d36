"""Structured logs: events of standard `logging` with fields, a line each, plain or as JSON.

The package only emits them, to the logger ``komos_source``; where they go is for the application to
say. The command says it here.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("komos_source")
_EVENTS = LOGGER.getChild("events")
_EVENTS.addHandler(logging.NullHandler())  # else Python writes warnings to standard error, bare


def emit(level: int, event: str, **fields: Any) -> None:
    """Logs an event with its fields, none of which may be a secret."""
    _EVENTS.log(level, event, extra={"fields": fields})


def to_stderr(form: str) -> None:
    """Sends the events to standard error, for a process of our own.

    Args:
        form: ``plain`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Plain())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def going_to_stderr() -> bool:
    """Whether this process writes events instead of messages for a person."""
    return bool(LOGGER.handlers)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "event": record.getMessage(),
                **getattr(record, "fields", {}),
            },
            ensure_ascii=False,
            default=str,
        )


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = (f"{key}={value!r}" for key, value in getattr(record, "fields", {}).items())
        return " ".join([_time(record), record.levelname, record.getMessage(), *fields])


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
