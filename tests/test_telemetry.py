"""Telemetry of a load: events in the log, spans and metrics sent to a collector."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from komos_source.testing import FakeKomos
from tests.cli.test_commands import KEY, komos
from tests.conftest import LoadEnv


class Collector(http.server.ThreadingHTTPServer):
    """Receives what the exporters of OpenTelemetry send over OTLP/HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Received)
        self.bodies: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> dict[str, dict[str, object]]:
        """Attributes of each span by its name."""
        found = {}
        for body in self._sent_to("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found[span.name] = {
                            each.key: getattr(each.value, each.value.WhichOneof("value"))
                            for each in span.attributes
                        }
        return found

    def counters(self) -> dict[str, int]:
        found = {}
        for body in self._sent_to("/v1/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.sum.data_points:
                            found[metric.name] = point.as_int
        return found

    def _sent_to(self, path: str) -> list[bytes]:
        return [body for where, body in self.bodies if where == path]


class _Received(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    return run_id


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """Every line of the error output; one that is not JSON fails the test."""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_load_with_log_format_json_logs_stages_and_counts(home: LoadEnv, run_id: str) -> None:
    done = komos(home, "load", "--log-format", "json")
    found = events(done)
    assert [event["event"] for event in found] == [
        "load started",
        *["stage"] * 3,
        "load ended",
    ]
    assert found[-1]["entries_loaded"] == 2
    assert found[-1]["pipeline_name"] == "komos_task_run_logs"
    assert found[-1]["level"] == "info"


def test_load_with_log_format_plain_in_the_environment_logs_plain_lines(
    home: LoadEnv, run_id: str
) -> None:
    done = komos(home, "load", KOMOS_LOG_FORMAT="plain")
    last = done.stderr.splitlines()[-1]
    assert " INFO load ended exit_code=0 " in last
    assert " entries_loaded=2 " in last


def test_load_with_a_run_that_cannot_be_fetched_logs_a_warning(home: LoadEnv, run_id: str) -> None:
    home.emulator.faults.add("/logs", "status", status=500)
    found = events(komos(home, "load", "--log-format", "json"))
    warnings = [event for event in found if event["level"] == "warning"]
    assert [event["event"] for event in warnings] == ["run not fetched", "load ended"]
    assert warnings[0]["run_id"] == run_id
    assert warnings[1]["exit_code"] == 3


def test_load_without_log_format_prints_sentences_only(home: LoadEnv, run_id: str) -> None:
    home.emulator.faults.add("/logs", "status", status=500)
    (line,) = komos(home, "load", "--json").stderr.splitlines()
    assert line.startswith(f"run {run_id}: ")


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_load_that_fails_logs_the_reason_without_the_key(
    home: LoadEnv, run_id: str, log_format: str
) -> None:
    done = komos(home, "load", "--log-format", log_format, SOURCES__KOMOS__API_KEY=KEY)
    assert done.returncode == 1
    assert "the API refused the key" in done.stderr.splitlines()[-1]
    assert KEY not in done.stdout + done.stderr


def test_load_with_opentelemetry_exports_spans_and_metrics_without_the_key(
    home: LoadEnv, run_id: str, collector: Collector
) -> None:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("opentelemetry-instrument")),
            *(sys.executable, "-m", "komos_source", "load", "--json"),
        ],
        cwd=home.directory,
        env={
            "PATH": str(Path(sys.executable).parent),
            "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
            "DLT_DATA_DIR": str(home.directory / "dlt"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout)["entries_loaded"] == 2
    spans = collector.spans()
    assert {"komos reading state", "komos reading logs", "komos loading into duckdb"} <= set(spans)
    assert spans["komos load"]["komos.entries_loaded"] == 2
    assert spans["komos load"]["komos.exit_code"] == 0
    assert collector.counters()["komos.entries_loaded"] == 2
    assert home.emulator.api_key not in done.stderr
    assert all(home.emulator.api_key.encode() not in body for _, body in collector.bodies)


def test_load_without_opentelemetry_configured_does_not_import_it(
    home: LoadEnv, run_id: str
) -> None:
    code = (
        "import sys; from komos_source.loading.load import load; load();"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home.directory,
        env={
            "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
            "DLT_DATA_DIR": str(home.directory / "dlt"),
        },
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
