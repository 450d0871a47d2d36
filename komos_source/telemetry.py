"""What can be watched of a load from outside: log events, and OpenTelemetry spans and metrics.

OpenTelemetry is used only in a process that has imported it, because somebody configured it
(``opentelemetry-instrument komos load``, or an application that calls `komos_source.load`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from komos_source import __version__
from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.structured_logging import emit

_SCOPE = "komos_source"
_MAX_LISTED = 100


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
