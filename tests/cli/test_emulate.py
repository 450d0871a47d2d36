"""``komos emulate``: runs start by themselves, and on request as the command prints it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from komos_source.testing import Emulator, FakeKomos, make_sample_data


@contextmanager
def _emulate(*options: str) -> Iterator[list[str]]:
    """The lines that the command prints while it serves."""
    with subprocess.Popen(
        [sys.executable, "-m", "komos_source", "emulate", "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as server:
        assert server.stdout is not None
        lines: list[str] = []
        while not lines or "curl" not in lines[-1]:
            lines.append(server.stdout.readline())
            assert lines[-1], lines
        try:
            yield lines
        finally:
            server.terminate()
            server.wait(timeout=20)


def _get(url: str, path: str) -> list[dict[str, dict[str, str]]]:
    headers = {"Authorization": "Bearer sk_live_emulator"}
    answer = httpx.get(f"{url}/public/v1/{path}", headers=headers).json()
    found: list[dict[str, dict[str, str]]] = answer["tasks" if path == "tasks" else "runs"]
    return found


def test_emulate_has_runs_of_the_last_hours_and_starts_one_as_printed() -> None:
    with _emulate("--run-every", "0", "--pace", "2") as lines:
        said = "".join(lines)
        assert "no run starts by itself, and time passes 2 times as fast as usual" in said
        words = shlex.split(lines[-1])
        name, _, value = words[words.index("-H") + 1].partition(": ")
        url, path = words[-1].split("/public/v1/")
        before = _get(url, path)
        newest = datetime.fromisoformat(before[0]["timestamps"]["createdAt"])
        assert datetime.now(UTC) - newest < timedelta(days=2)
        answer = httpx.request(words[words.index("-X") + 1], words[-1], headers={name: value})
        assert answer.status_code == 201
        assert answer.json()["run"]["id"] == _get(url, path)[0]["id"]
        assert answer.json()["run"]["status"] == "PENDING"


def test_emulate_starts_runs_by_itself() -> None:
    with _emulate("--run-every", "0.05") as lines:
        url = re.findall(r"http://[\d.:]+", lines[0])[0]
        assert "a run starts every 0.05 s, and time passes as usual" in "".join(lines)

        def newest() -> set[object]:
            return {
                run["id"]
                for task in _get(url, "tasks")
                for run in _get(url, f"tasks/{task['id']}/runs")
            }

        first, deadline = newest(), time.monotonic() + 60
        while not newest() - first:
            assert time.monotonic() < deadline


def test_start_run_writes_entries_and_ends_as_time_passes() -> None:
    world = make_sample_data(days=2)
    task_id = world.tasks()[0]["id"]
    run_id = world.start_run(task_id)
    assert world.runs(task_id)[0]["id"] == run_id
    assert world.log(run_id) == []
    world.clock.advance(timedelta(hours=1))
    ended = world.run(run_id)
    assert ended is not None
    assert ended["status"] in {"COMPLETED", "FAILED", "CANCELLED"}
    assert len(world.log(run_id)) > 1


def test_start_run_of_no_task_in_particular_leaves_out_the_abandoned_one() -> None:
    world = make_sample_data(days=2)
    assert world.stories is not None
    started = {(world.run(world.start_run()) or {})["taskId"] for _ in range(100)}
    assert started == {task["id"] for task in world.tasks()} - {world.stories.abandoned}


@pytest.mark.parametrize(("key", "status"), [("sk_live_emulator", 201), ("sk_other", 401)])
def test_post_of_a_run_needs_the_key(
    emulator: Emulator, world: FakeKomos, key: str, status: int
) -> None:
    task_id = world.add_task("Orders")
    path = f"{emulator.base_url}/public/v1/tasks/{task_id}/runs"
    answer = httpx.post(path, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == status
    assert len(world.runs(task_id)) == (status == 201)
    for other in ("tasks", f"task-runs/{task_id}"):
        url = f"{emulator.base_url}/public/v1/{other}"
        refused = httpx.post(url, headers={"Authorization": f"Bearer {emulator.api_key}"})
        assert refused.status_code == 405
