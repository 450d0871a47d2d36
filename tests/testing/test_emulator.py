"""The emulator answers as the API is documented to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from komos_source.testing import Emulator, FakeKomos, WorldClock, bulk_world, grow, make_sample_data
from komos_source.testing.world import iso


def get(emulator: Emulator, path: str, key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key or emulator.api_key}"}
    return httpx.get(f"{emulator.base_url}/public/v1{path}", headers=headers)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/task-runs/nope/logs", 400, "invalid_run_id"),
        ("/task-runs/9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94/logs", 404, "run_not_found"),
        ("/task-runs/9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94", 404, "run_not_found"),
        ("/tasks/nope/runs", 400, "invalid_task_id"),
        ("/tasks/9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94/runs", 404, "task_not_found"),
        ("/elsewhere", 404, "Not Found"),
    ],
)
def test_emulator_error_response_has_the_documented_detail(
    emulator: Emulator, path: str, status: int, detail: str
) -> None:
    answer = get(emulator, path)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_emulator_without_the_right_key_responds_with_401(emulator: Emulator) -> None:
    assert get(emulator, "/tasks", key="sk_live_other").status_code == 401
    assert httpx.get(emulator.base_url + "/public/v1/tasks").status_code == 401


def test_emulator_pages_searches_and_filters_tasks(world: FakeKomos, emulator: Emulator) -> None:
    for number in range(30):
        world.add_task(f"Task {number}", status="READY" if number % 2 else "DRAFT")
    page = get(emulator, "/tasks?offset=25").json()
    assert (len(page["tasks"]), page["total"]) == (5, 30)
    assert len(get(emulator, "/tasks").json()["tasks"]) == 20
    assert get(emulator, "/tasks?search=TASK%2029").json()["total"] == 1
    assert get(emulator, "/tasks?status=DRAFT").json()["total"] == 15
    assert get(emulator, "/tasks?limit=101").status_code == 422


def test_emulator_lists_only_the_50_newest_runs_of_a_task(
    world: FakeKomos, emulator: Emulator
) -> None:
    task = world.add_task("Orders")
    runs = []
    for _ in range(60):
        runs.append(world.add_run(task))
        world.clock.advance(1)
    listed = get(emulator, f"/tasks/{task}/runs").json()["runs"]
    assert [run["id"] for run in listed] == runs[:9:-1]


def test_fake_komos_run_changes_its_status_with_the_clock(world: FakeKomos) -> None:
    now = world.clock.now()
    run_id = world.add_run(
        world.add_task("Orders"),
        status="FAILED",
        created_at=now + timedelta(seconds=1),
        started_at=now + timedelta(seconds=2),
        finished_at=now + timedelta(seconds=3),
        error={"code": "x"},
    )
    seen: list[Any] = []
    for _ in range(4):
        run = world.run(run_id)
        seen.append(run and (run["status"], run["timestamps"]["finishedAt"], run["error"]))
        world.clock.advance(1)
    end = iso(now + timedelta(seconds=3))
    expected = [
        None,
        ("PENDING", None, None),
        ("RUNNING", None, None),
        ("FAILED", end, {"code": "x"}),
    ]
    assert seen == expected


def test_fake_komos_log_has_the_persisted_entries_in_order_of_time(world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    now = world.clock.now()
    later = now + timedelta(seconds=10)
    world.append(run_id, {"id": "a", "timestamp": iso(now)}, {"id": "b", "timestamp": None})
    world.append(run_id, {"id": "c", "timestamp": iso(now + timedelta(seconds=2))})
    world.append(
        run_id, {"id": "late", "timestamp": iso(now + timedelta(seconds=1))}, persisted_at=later
    )
    assert [entry["id"] for entry in world.log(run_id)] == ["a", "b", "c"]
    world.clock.set(later)
    assert [entry["id"] for entry in world.log(run_id)] == ["a", "b", "late", "c"]


def test_emulator_date_header_is_the_time_of_the_clock(
    world: FakeKomos, emulator: Emulator
) -> None:
    assert get(emulator, "/tasks").headers["Date"] == "Tue, 14 Oct 2025 18:00:00 GMT"


def test_world_clock_with_a_pace_advances_by_itself() -> None:
    clock = WorldClock(pace=1e6)
    assert clock.now() < clock.now()


def test_faults_apply_to_their_path_the_given_number_of_times(
    world: FakeKomos, emulator: Emulator
) -> None:
    emulator.faults.add("/tasks", "status", status=503, times=2, headers={"Retry-After": "1"})
    answers = [get(emulator, "/tasks") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "1"
    for kind in ("reset", "truncate"):
        emulator.faults.add("/tasks", kind, times=1)  # type: ignore[arg-type] # both are kinds
        with pytest.raises(httpx.TransportError):
            get(emulator, "/tasks")
    emulator.faults.add("/tasks", "truncate_quietly", times=1)
    with pytest.raises(ValueError, match=r".+"):
        get(emulator, "/tasks").json()


def test_make_sample_data_with_the_same_seed_returns_the_same_entries() -> None:
    first, second, other = (make_sample_data(seed, days=3) for seed in (1, 1, 2))
    assert list(first.entries()) == list(second.entries())
    assert list(first.entries()) != list(other.entries())


def test_make_sample_data_contains_the_planted_patterns() -> None:
    world = make_sample_data(days=28)
    assert world.stories
    task, node = world.stories.regressed
    shares = {}
    for after in (False, True):
        runs = [
            world.log(run["id"])
            for run in world.runs(task)
            if (run["timestamps"]["createdAt"] >= iso(world.stories.regressed_on)) is after
        ]
        visits = [[e for e in log if e["nodeId"] == node] for log in runs]
        failed = [any(e["level"] == "error" for e in visit) for visit in visits if visit]
        shares[after] = sum(failed) / len(failed)
    assert shares[False] < 0.1
    assert shares[True] > 0.3
    last = world.runs(world.stories.abandoned)[0]["timestamps"]["createdAt"]
    assert last <= iso(world.stories.abandoned_on)
    assert make_sample_data(days=2, stories=False).stories is None


def test_bulk_world_has_the_given_size_and_grows() -> None:
    world = bulk_world(runs=3, entries_per_run=1000, null_timestamp_share=0.01)
    entries = list(world.entries())
    assert len({entry["id"] for _, _, entry in entries}) == 3000
    assert 0 < sum(entry["timestamp"] is None for _, _, entry in entries) < 100
    assert grow(world, 0.05) == 150
    assert sum(1 for _ in world.entries()) == 3150
