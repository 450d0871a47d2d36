"""``komos logs --follow`` as a process, in a pipe and on a terminal.

Time passes in the emulated world only when a log is read, so that nothing depends on the machine.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from komos_source.cli.output import is_terminal
from komos_source.testing import FakeKomos
from komos_source.testing.world import iso
from tests.cli.conftest import Komos
from tests.cli.komos_process import komos, komos_on_terminal, start, without_escapes
from tests.conftest import LoadEnv

SECONDS = 40
"""How long the run goes on; it writes an entry each second."""
RETRY_AFTER = 1.0


class GrowingRun:
    """A run that goes on while its log is read: 2 s pass after each answer.

    Each tenth entry appears late; the last of them after the end of the run. After five answers, a
    request is refused with 429.

    Attributes:
        run_id: Its id.
        looks: When its log was answered, on the monotonic clock.
        on_look: Called after each answer.
    """

    def __init__(self, home: LoadEnv, world: FakeKomos) -> None:
        self.world, self.faults = world, home.emulator.faults
        self.looks: list[float] = []
        self.on_look: Callable[[int], None] = lambda number: None
        now = world.clock.now()
        progress = {"currentStep": 2, "stepsTotal": 5}
        self.run_id = world.add_run(world.add_task("Orders"), created_at=now, progress=progress)
        world.finish(self.run_id, "FAILED", at=now + timedelta(seconds=SECONDS))
        for second in range(SECONDS):
            written = now + timedelta(seconds=second)
            late = 7.0 if second % 10 == 9 else 0.5
            world.append(
                self.run_id,
                {"timestamp": iso(written), "message": f"message {second:02}."},
                persisted_at=written + timedelta(seconds=late),
            )
        self.faults.add(f"{self.run_id}/logs", "rewrite", rewrite=self._answered)

    def _answered(self, _: str, body: bytes) -> bytes:
        self.looks.append(time.monotonic())
        self.world.clock.advance(2)
        if len(self.looks) == 5:
            headers = {"Retry-After": f"{RETRY_AFTER:.0f}"}
            self.faults.add(
                f"task-runs/{self.run_id}", "status", times=1, status=429, headers=headers
            )
        self.on_look(len(self.looks))
        return body


@pytest.fixture
def growing(home: LoadEnv, world: FakeKomos) -> GrowingRun:
    return GrowingRun(home, world)


def shown_messages(output: str) -> list[tuple[bool, int]]:
    """Lateness and number of each message, in the order in which they were shown."""
    found = re.findall(r"(\(late\) )?message (\d\d)\.", output)
    return [(bool(late), int(number)) for late, number in found]


def check_entries(shown: list[tuple[bool, int]]) -> None:
    """Checks that each entry was shown once, and that just the late ones are marked."""
    assert sorted(number for _, number in shown) == [*range(SECONDS)]
    assert [number for late, number in shown if late] == [9, 19, 29]
    assert [number for late, number in shown if not late] == [
        n for n in range(SECONDS) if n not in {9, 19, 29}
    ]


def test_logs_follow_in_a_pipe_prints_each_entry_once(home: LoadEnv, growing: GrowingRun) -> None:
    done = komos(home, "logs", growing.run_id, "--follow", "--exit-status")
    assert (done.returncode, done.stderr) == (4, "")
    assert len(done.stdout.splitlines()) == SECONDS
    assert done.stdout.isprintable() or "\x1b" not in done.stdout
    check_entries(shown_messages(done.stdout))
    refused = [request for request in home.emulator.requests if request.status == 429]
    assert len(refused) == 1
    assert growing.looks[5] - growing.looks[4] >= RETRY_AFTER


def test_logs_follow_json_prints_what_the_world_holds(
    world: FakeKomos, growing: GrowingRun, komos_here: Komos
) -> None:
    done = komos_here("logs", growing.run_id, "--follow", "--json")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["id"]: each["message"] for each in entries} == {
        each["id"]: each["message"] for each in world.log(growing.run_id)
    }
    check_entries([(each["late"], int(each["message"][8:10])) for each in entries])


def test_logs_follow_on_a_terminal_prints_each_entry_once_and_the_state_below(
    home: LoadEnv, growing: GrowingRun
) -> None:
    code, output = komos_on_terminal(home, "logs", growing.run_id, "--follow", "--exit-status")
    assert code == 4
    plain = without_escapes(output)
    check_entries(shown_messages(plain))
    assert "RUNNING · step 2 of 5 · " in plain
    assert plain.rstrip().splitlines()[-1].strip().endswith(f"FAILED · {SECONDS} s")
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l"), "the cursor stays hidden"


def test_is_terminal_is_false_for_one_that_cannot_move_its_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with os.fdopen(os.openpty()[1]) as terminal:
        for name, usable in (("xterm", True), ("dumb", False)):
            monkeypatch.setenv("TERM", name)
            assert is_terminal(terminal) is usable


def test_logs_follow_ends_at_once_if_the_run_has_long_ended(
    world: FakeKomos, growing: GrowingRun, komos_here: Komos
) -> None:
    world.clock.advance(3_600)
    done = komos_here("logs", growing.run_id, "--follow")
    assert len(growing.looks) == 1
    assert [late for late, _ in shown_messages(done.stdout)] == [False] * SECONDS


def test_logs_follow_continues_after_an_outage_with_nothing_twice(
    growing: GrowingRun, komos_here: Komos
) -> None:
    def fail(number: int) -> None:
        if number == 3:
            growing.faults.add(growing.run_id, "reset", times=7)

    growing.on_look = fail
    done = komos_here("logs", growing.run_id, "--follow")
    assert done.returncode == 0
    assert "looking again in 0.05 s" in done.stderr
    check_entries(shown_messages(done.stdout))


def test_logs_follow_interrupted_ends_with_130_and_no_message(
    home: LoadEnv, growing: GrowingRun
) -> None:
    process = start(home, "logs", growing.run_id, "--follow")
    growing.on_look = lambda number: process.send_signal(signal.SIGINT) if number == 3 else None
    output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert shown_messages(output)


def test_logs_follow_on_a_terminal_interrupted_restores_the_cursor(
    home: LoadEnv, growing: GrowingRun
) -> None:
    interrupted = []

    def interrupt(output: str, process: subprocess.Popen[bytes]) -> None:
        if "message 05." in output and not interrupted:
            interrupted.append(process.send_signal(signal.SIGINT))

    code, output = komos_on_terminal(home, "logs", growing.run_id, "--follow", on_output=interrupt)
    assert code == 130
    assert "Traceback" not in output
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
