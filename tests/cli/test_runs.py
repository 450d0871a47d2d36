"""``komos runs``, and run ids by their beginning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from komos_source.testing import FakeKomos
from tests.cli.conftest import Komos
from tests.conftest import LoadEnv

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in (0xAB12, 0xAB13, 0xC)]


@pytest.fixture
def tasks(world: FakeKomos) -> list[str]:
    """Two tasks with three runs; the ids of two of these begin alike."""
    now = world.clock.now()
    tasks = [world.add_task("Orders"), world.add_task("Claims")]
    for number, run_id in enumerate(IDS):
        task = tasks[number % 2]
        created = now - timedelta(minutes=number)
        status = ["RUNNING", "FAILED", "COMPLETED"][number]
        world.add_run(task, run_id=run_id, created_at=created, status=status)
        if number:
            world.finish(run_id, status, at=created + timedelta(seconds=30))
        world.append(run_id, {"message": f"of {number}"})
    return tasks


def test_runs_lists_all_runs_newest_first(
    home: LoadEnv, tasks: list[str], komos_here: Komos
) -> None:
    done = komos_here("runs")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[-1] for row in rows] == IDS
    assert [row[2:4] for row in rows] == [
        ["Orders", "RUNNING"],
        ["Claims", "FAILED"],
        ["Orders", "COMPLETED"],
    ]
    assert not home.file.exists()


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--status", "failed"], [1]),
        (["--status", "FAILED", "--status", "RUNNING"], [0, 1]),
        (["--limit", "2"], [0, 1]),
        (["--status", "CANCELLED"], []),
    ],
)
def test_runs_lists_what_options_choose(
    tasks: list[str], komos_here: Komos, options: list[str], chosen: list[int]
) -> None:
    done = komos_here("runs", "--json", *options)
    found = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert found == [IDS[number] for number in chosen]


def test_runs_of_a_task_requests_its_list_only(
    home: LoadEnv, tasks: list[str], komos_here: Komos
) -> None:
    done = komos_here("runs", "--task-id", tasks[1])
    assert done.stdout.splitlines()[1].endswith(IDS[1])
    assert [request.path for request in home.emulator.requests] == [
        f"/public/v1/tasks/{tasks[1]}/runs"
    ]


def test_runs_exits_with_3_if_a_list_cannot_be_read_and_with_1_if_none_can(
    home: LoadEnv, tasks: list[str], komos_here: Komos
) -> None:
    home.emulator.faults.add(f"{tasks[0]}/runs", "status", status=500)
    done = komos_here("runs")
    assert done.returncode == 3
    assert f"the runs of task {tasks[0]} could not be listed" in done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == [IDS[1]]
    assert komos_here("runs", "--task-id", tasks[0]).returncode == 1


def test_runs_without_runs_says_so(world: FakeKomos, komos_here: Komos) -> None:
    done = komos_here("runs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no runs\n", "")


@pytest.mark.parametrize(
    "arguments", [["--status", "late"], ["--limit", "0"], ["--task-id", ""]], ids=" ".join
)
def test_runs_with_wrong_usage_exits_with_2_before_any_request(
    home: LoadEnv, komos_here: Komos, arguments: list[str]
) -> None:
    assert komos_here("runs", *arguments).returncode == 2
    assert not home.emulator.requests


def test_logs_of_a_beginning_finds_the_run_in_the_lists_of_the_api(
    home: LoadEnv, tasks: list[str], komos_here: Komos
) -> None:
    assert komos_here("logs", "0000000C").stdout.endswith("of 2\n")
    assert not home.file.exists()


def test_logs_of_an_ambiguous_beginning_lists_the_candidates(
    home: LoadEnv, tasks: list[str], komos_here: Komos
) -> None:
    done = komos_here("logs", "0000ab")
    assert done.returncode == 2
    assert f"2 run ids that the API lists begin with '0000ab': {IDS[0]}, {IDS[1]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def complete(line: str, home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What click proposes for the last word of a command line."""
    from click.shell_completion import BashComplete

    from komos_source.cli.main import cli

    monkeypatch.chdir(home.directory)
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    found = BashComplete(cli, {}, "komos", "_KOMOS_COMPLETE").complete()
    return [each.partition(",")[2] for each in found.splitlines()]


def test_a_beginning_and_completions_use_the_database_where_there_is_one(
    home: LoadEnv,
    world: FakeKomos,
    tasks: list[str],
    komos_here: Komos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert complete("komos logs 0000", home, monkeypatch) == []
    assert not home.file.exists()
    home.load()
    assert complete("komos logs 0000", home, monkeypatch) == IDS
    assert complete("komos logs 0000000C", home, monkeypatch) == [IDS[2]]
    assert complete("komos load --run-id 0000ab", home, monkeypatch) == IDS[:2]
    assert complete(f"komos runs --task-id {tasks[0][:5]}", home, monkeypatch) == [tasks[0]]
    assert complete("komos runs --sta", home, monkeypatch) == ["--status"]
    home.emulator.requests.clear()
    assert komos_here("logs", "0000000c").stdout.endswith("of 2\n")
    assert home.emulator.count("/tasks") == 0
    assert "in the database" in komos_here("logs", "0000ab").stderr


def test_completion_script_of_bash_completes_commands(tmp_path: Path) -> None:
    command = tmp_path / "komos"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{MAIN}" "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(_KOMOS_COMPLETE=bash_source komos)"\n'
        "COMP_WORDS=(komos lo) COMP_CWORD=1\n"
        "_komos_completion komos\n"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("load logs\n", "")


MAIN = "import sys; sys.argv[0] = 'komos'; from komos_source.cli.main import main; main()"
