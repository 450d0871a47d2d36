"""What can be watched of a load from outside: events in the log, OpenTelemetry's spans and metrics.

OpenTelemetry is used where the process has it already, because somebody has configured it
(``opentelemetry-instrument komos load``, or an application of your own). Nothing imports it else.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from komos_source import __version__
from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.structured_logging import emit

_SCOPE = "komos_source"
_MAX_LISTED = 100


@contextlib.contextmanager
def observed(metrics: LoadMetrics, **names: str) -> Iterator[Callable[[LoadResult], None]]:
    """One load, in a span; what it gives is to be told of the report.

    Args:
        metrics: Of the load.
        names: What to tell loads apart by, such as ``pipeline_name``.
    """

    def ended(report: LoadResult) -> None:
        counts = {"exit_code": report.exit_code, **report.to_json()}
        for run_id, reason in list(report.failures.items())[:_MAX_LISTED]:
            emit(logging.WARNING, "run not fetched", run_id=run_id, reason=reason)
        for problem in report.problems:
            emit(logging.WARNING, "problem", reason=problem)
        emit(logging.WARNING if report.exit_code else logging.INFO, "load ended", **counts, **names)
        _measure(counts, names)

    emit(logging.INFO, "load started", **names)
    with _span("load", {f"komos.{key}": value for key, value in names.items()}):
        try:
            yield ended
        except Exception:
            _measure({"exit_code": 1, "seconds": metrics.seconds}, names)
            raise


@contextlib.contextmanager
def stage(metrics: LoadMetrics, name: str) -> Iterator[None]:
    """One part of a load: whoever watches sees its name."""
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


def _measure(counts: dict[str, Any], names: dict[str, str]) -> None:
    """Adds up a load's counts; its length and outcome go to a histogram."""
    if "opentelemetry" not in sys.modules:
        return
    from opentelemetry import metrics, trace

    span = trace.get_current_span()
    span.set_attributes({f"komos.{key}": value for key, value in counts.items()})
    labels = {f"komos.{key}": value for key, value in names.items()}
    meter = metrics.get_meter(_SCOPE, __version__)
    for key, value in counts.items():
        if key not in {"exit_code", "seconds", "runs_seen"}:
            meter.create_counter(f"komos.{key}").add(value, labels)
    outcome = labels | {"komos.exit_code": counts["exit_code"]}
    meter.create_histogram("komos.load.duration", unit="s").record(counts["seconds"], outcome)
