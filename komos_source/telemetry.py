"""What can be watched of a load from outside: log events, and OpenTelemetry spans and metrics.

Log events have fields and are one line each, plain or as JSON. The package only emits them, to the
logger ``komos_source``; the application decides where they go. The command writes them to standard
error.

OpenTelemetry is used only in a process that has imported it, because somebody configured it
(``opentelemetry-instrument komos load``, or an application that calls `komos_source.load`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from komos_source import __version__
from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.text import printable

LOGGER = logging.getLogger("komos_source")
_EVENTS = LOGGER.getChild("events")
_EVENTS.addHandler(logging.NullHandler())  # else Python writes warnings to standard error, bare
_SCOPE = "komos_source"
_MAX_LISTED = 100


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


@contextlib.contextmanager
def load_span(metrics: LoadMetrics, labels: Mapping[str, str]) -> Iterator[None]:
    """The span of one load; a load that fails is counted here.

    Args:
        metrics: Of the load.
        labels: What distinguishes loads, such as ``pipeline_name``.
    """
    emit(logging.INFO, "load started", **labels)
    with _span("load", {f"komos.{key}": value for key, value in labels.items()}):
        try:
            yield
        except Exception:
            _measure({"exit_code": 1, "seconds": metrics.seconds}, labels)
            raise


def load_ended(result: LoadResult, labels: Mapping[str, str]) -> None:
    """Reports a load that ended; to be called inside its span."""
    counts = {"exit_code": result.exit_code, **result.to_json()}
    for run_id, reason in list(result.failures.items())[:_MAX_LISTED]:
        emit(logging.WARNING, "run not fetched", run_id=run_id, reason=reason)
    for problem in result.problems:
        emit(logging.WARNING, "problem", reason=problem)
    emit(logging.WARNING if result.exit_code else logging.INFO, "load ended", **counts, **labels)
    _measure(counts, labels)


@contextlib.contextmanager
def stage(metrics: LoadMetrics, name: str) -> Iterator[None]:
    """One part of a load, named for progress displays, log and traces."""
    metrics.stage = name
    emit(logging.INFO, "stage", name=name)
    with _span(name, {}):
        yield


def _span(name: str, attributes: dict[str, Any]) -> AbstractContextManager[Any]:
    if "opentelemetry" not in sys.modules:
        return contextlib.nullcontext()
    from opentelemetry import trace

    tracer = trace.get_tracer(_SCOPE, __version__)
    return tracer.start_as_current_span(f"komos {name}", attributes=attributes)


def _measure(counts: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Adds a load's counts to OpenTelemetry counters; its duration goes to a histogram."""
    if "opentelemetry" not in sys.modules:
        return
    from opentelemetry import metrics, trace

    span = trace.get_current_span()
    span.set_attributes({f"komos.{key}": value for key, value in counts.items()})
    named = {f"komos.{key}": value for key, value in labels.items()}
    meter = metrics.get_meter(_SCOPE, __version__)
    for key, value in counts.items():
        if key not in {"exit_code", "seconds", "runs_seen"}:
            meter.create_counter(f"komos.{key}").add(value, named)
    outcome = named | {"komos.exit_code": counts["exit_code"]}
    meter.create_histogram("komos.load.duration", unit="s").record(counts["seconds"], outcome)
