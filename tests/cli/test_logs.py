"""``komos logs`` as a process, in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from komos_source.testing import FakeKomos
from tests.cli.conftest import Komos
from tests.cli.komos_process import FAST, environment, komos_on_terminal, start
from tests.conftest import LoadEnv


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    """A run that ended an hour ago."""
    created = world.clock.now() - timedelta(hours=1, minutes=1)
    run_id = world.add_run(world.add_task("Orders"), created_at=created)
    world.append(run_id, {"message": "first", "nodeId": "login"}, {"message": "second"})
    world.append(run_id, {"message": "third", "level": "error", "nodeId": "pay"})
    world.finish(run_id, "FAILED", at=created + timedelta(minutes=1))
    return run_id


def test_logs_prints_a_line_per_entry_with_one_request(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos
) -> None:
    done = komos_here("logs", run_id.upper(), "--utc")
    assert (done.returncode, done.stderr) == (0, "")
    time = world.clock.now().isoformat(timespec="milliseconds")
    assert done.stdout.splitlines() == [
        f"{time} info login first",
        f"{time} info - second",
        f"{time} error pay third",
    ]
    assert [request.path for request in home.emulator.requests] == [
        f"/public/v1/task-runs/{run_id}/logs"
    ]
    assert not home.file.exists()


def test_logs_json_prints_an_object_per_entry_in_ascii(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos
) -> None:
    world.append(run_id, {"id": "odd", "message": "\x1b[2J\x9b\u202e", "region": "eu"}, 7)
    done = komos_here("logs", run_id, "--json")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["message"] for each in entries[:3]] == ["first", "second", "third"]
    assert entries[3] == {
        "run_id": run_id,
        "id": "odd",
        "position": 3,
        "timestamp": world.clock.now().isoformat(),
        "level": "info",
        "node_id": None,
        "message": "\x1b[2J\x9b\u202e",
        "extra": {"region": "eu"},
        "rejected": None,
        "late": False,
    }
    assert (entries[4]["message"], entries[4]["rejected"]) == ("7", "the entry is not an object")
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


def test_logs_shows_control_characters_as_escapes(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos
) -> None:
    world.append(run_id, {"message": "\x1b]0;pwned\x07\nkomos: all is well"})
    assert (
        komos_here("logs", run_id)
        .stdout.splitlines()[-1]
        .endswith(r"\x1b]0;pwned\x07\nkomos: all is well")
    )
    code, output = komos_on_terminal(home, "logs", run_id, width=100)
    assert code == 0
    assert r"\x1b]0;pwned\x07" in output
    assert "\x07" not in output
    assert "\x1b]" not in output
    assert "\x1b[1;31m✗ error" in output


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--level", "warning"], ["third"]),
        (["--node", "login", "--node", "pay"], ["first", "third"]),
        (["--since", "2025-10-14T18:00:01Z"], []),
        (["--since", "15m"], ["first", "second", "third"]),
    ],
)
def test_logs_shows_the_entries_that_options_choose(
    run_id: str, komos_here: Komos, options: list[str], messages: list[str]
) -> None:
    lines = komos_here("logs", run_id, "--json", *options).stdout.splitlines()
    assert [json.loads(line)["message"] for line in lines] == messages


@pytest.mark.parametrize(
    ("status", "code"), [("FAILED", 4), ("CANCELLED", 4), ("COMPLETED", 0), ("RUNNING", 0)]
)
def test_logs_exit_status_is_4_if_the_run_failed_or_was_cancelled(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos, status: str, code: int
) -> None:
    world.finish(run_id, status)
    assert komos_here("logs", run_id).returncode == 0
    assert komos_here("logs", run_id, "--exit-status").returncode == code


def test_logs_of_an_unknown_run_is_one_sentence_and_exits_with_1(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos
) -> None:
    for unknown in (world.new_id(), "fffffffe"):
        for options in ([], ["--follow"]):
            done = komos_here("logs", unknown, *options)
            assert (done.returncode, done.stdout) == (1, "")
            assert len(done.stderr.splitlines()) == 1
            assert unknown in done.stderr
            assert "`komos runs`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "neither a run id"),
        (["%"], "neither a run id"),
        (["9c77", "--since", "soon"], "'soon' is neither"),
        (["9c77", "--level", "debug"], "'debug'"),
        ([], "RUN_ID"),
    ],
)
def test_logs_with_wrong_usage_exits_with_2_before_any_request(
    home: LoadEnv, komos_here: Komos, arguments: list[str], says: str
) -> None:
    done = komos_here("logs", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert not home.emulator.requests


def test_logs_into_a_closed_pipe_ends_without_a_message(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    world.append(run_id, *({"message": "x" * 1_000} for _ in range(1_000)))
    piped = '"$0" "$@" | head -n 1; exit "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", piped, sys.executable, FAST, "logs", run_id],
        cwd=home.directory,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (141, "")
    assert len(done.stdout.splitlines()) == 1


def test_logs_follow_ends_if_its_reader_does_although_nothing_is_new(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    world.finish(run_id, "RUNNING")
    process = start(home, "logs", run_id, "--follow")
    assert process.stdout is not None
    assert "first" in process.stdout.readline()
    process.stdout.close()
    process.stdout = open(os.devnull)  # noqa: SIM115 - closed by communicate()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (141, "")


def test_logs_and_runs_show_redacted_texts_unless_they_are_revealed(
    home: LoadEnv, world: FakeKomos, run_id: str, komos_here: Komos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "email")
    secret = "anna@example.com"
    world.append(run_id, {"message": secret, "more": secret}, {"message": {"x": secret}})
    world.add_run(world.tasks()[0]["id"], inputs={"to": secret}, error=secret)
    for command in (["logs", run_id], ["logs", run_id, "--json"], ["runs", "--json"]):
        done = komos_here(*command)
        assert (done.returncode, done.stderr) == (0, "")
        assert "[email]" in done.stdout
        assert secret not in done.stdout
    assert secret in komos_here("logs", run_id, "--reveal").stdout
    home.emulator.faults.add(run_id, "status", status=410, detail=f"by {secret}")
    done = komos_here("logs", run_id, "--reveal")
    assert "[email]" in done.stderr
    assert secret not in done.stderr
