"""``komos health`` and ``komos load --notify``: output, exit codes, targets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import pytest

from komos_source.cli import startup
from komos_source.cli.main import main
from komos_source.testing import FakeKomos
from tests.alerts.endpoints import HttpEndpoint, http_endpoint
from tests.conftest import LoadEnv

Komos = Callable[..., tuple[int, str, str]]
_CHEAP = ("--only", "freshness,failed_loads", "--only", "rejected_share")


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    with http_endpoint() as running:
        yield running


@pytest.fixture
def komos(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Komos:
    """Runs the command in this process; returns its exit code, output and errors."""
    monkeypatch.setenv("SOURCES__KOMOS__API_KEY", home.emulator.api_key)
    monkeypatch.setenv("SOURCES__KOMOS__BASE_URL", home.emulator.base_url)
    monkeypatch.setenv("DLT_DATA_DIR", str(home.directory / "dlt"))
    monkeypatch.chdir(home.directory)
    monkeypatch.setattr(startup, "configure_process", lambda: None)

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["komos", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def _fail(home: LoadEnv) -> None:
    home.rows("UPDATE komos_loads SET ended_at = ended_at - INTERVAL 3 HOUR")


def test_health_prints_a_line_a_check_and_exits_with_4_if_one_fails(
    home: LoadEnv, world: FakeKomos, komos: Komos, endpoint: HttpEndpoint
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    code, output, error = komos("health")
    assert (code, error) == (0, "")
    assert [line.split()[0] for line in output.splitlines()] == 11 * ["ok"]

    _fail(home)
    code, output, error = komos("health", *_CHEAP, "--json", "--notify", endpoint.url)
    found = json.loads(output)
    assert (code, found["passed"]) == (4, False)
    assert [check["name"] for check in found["checks"]] == [
        *("freshness", "failed_loads", "rejected_share"),
    ]
    assert found["checks"][0]["findings"][0]["subject"] == "komos_task_run_logs"
    assert found["notified"] == [{"target": "json://127.0.0.1", "sent": 1, "accepted": True}]
    ((title, _),) = endpoint.messages
    assert title == "Komos, komos_task_run_logs has not loaded for 3 h"

    code, output, error = komos(*("health", *_CHEAP), SOURCES__KOMOS__NOTIFY=endpoint.url)
    assert (code, error) == (4, "")
    assert output.endswith("notify  json://127.0.0.1: nothing new to send\n")
    assert "hunter2" not in output


def test_health_shows_a_known_problem_last_and_neither_fails_nor_sends(
    home: LoadEnv, world: FakeKomos, komos: Komos, endpoint: HttpEndpoint
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    _fail(home)
    entry = '[[known_problem]]\ncheck = "freshness"\nreason = "moving"\nuntil = 2999-01-01\n'
    (home.directory / "komos.toml").write_text(entry)
    code, output, _ = komos("health", *_CHEAP, "--notify", endpoint.url)
    assert code == 0
    assert output.splitlines()[3:] == [
        "known   freshness: komos_task_run_logs has not loaded for 3 h; moving (until 2999-01-01 "
        "00:00 UTC)",
        "notify  json://127.0.0.1: nothing new to send",
    ]
    assert endpoint.messages == []


def test_health_that_cannot_read_the_database_exits_with_1(komos: Komos) -> None:
    code, output, error = komos("health")
    assert (code, output) == (1, "")
    assert error.startswith("komos: there is no database")


def test_health_refuses_what_cannot_be_used(komos: Komos, home: LoadEnv) -> None:
    refused = {
        ("--notify", "nothing://hunter2"): "nothing://… is not a target",
        ("--notify",): "--notify has no URL",
        ("--as-of", "now"): "'now' is no time",
        ("--as-of", "2025-10-14", "--notify", "json://x"): "--notify cannot be combined",
    }
    home.load()
    for arguments, message in refused.items():
        code, _, error = komos("health", *arguments)
        assert code == 2
        assert message in error
        assert "hunter2" not in error


def test_health_reports_a_target_that_is_down_and_exits_with_3_if_all_is_well(
    home: LoadEnv, world: FakeKomos, komos: Komos, endpoint: HttpEndpoint
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    _fail(home)
    komos("health", *_CHEAP, "--notify", endpoint.url)
    home.rows("UPDATE komos_loads SET ended_at = ended_at + INTERVAL 3 HOUR")
    home.rows("UPDATE komos_alerts SET last_seen = last_seen - INTERVAL 3 HOUR")
    endpoint.status = 500
    code, _, error = komos("health", *_CHEAP, "--notify", endpoint.url)
    assert code == 3
    assert error == (
        "komos: json://127.0.0.1 did not accept the message: the next call tries again\n"
    )


def test_load_with_notify_sends_alerts_also_if_the_load_fails(
    home: LoadEnv, world: FakeKomos, komos: Komos, endpoint: HttpEndpoint
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, "no entry at all")
    code, output, error = komos("load", "--json", "--notify", endpoint.url)
    assert (code, error) == (0, "")
    assert json.loads(output)["entries_rejected"] == 1
    ((title, _),) = endpoint.messages
    assert title == "Komos, 50.00% of the entries were rejected"
    _fail(home)
    code, _, error = komos("load", "--notify", endpoint.url, SOURCES__KOMOS__API_KEY="sk_refused")
    assert code == 1
    assert len(endpoint.messages) == 2
    assert endpoint.messages[1][0] == "Komos, komos_task_run_logs has not loaded for 3 h"


def test_limits_are_read_from_the_settings(home: LoadEnv, world: FakeKomos, komos: Komos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    _fail(home)
    variable = "SOURCES__KOMOS__CHECKS__FRESHNESS_HOURS"
    assert komos("health", *_CHEAP, **{variable: "26"})[0] == 0
    code, _, error = komos("health", *_CHEAP, **{variable: "soon"})
    assert code == 1
    assert "freshness_hours in [sources.komos.checks] must be a number above 0" in error
