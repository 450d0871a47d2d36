"""The client against an API that misbehaves, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.exceptions import (
    AnswerError,
    ApiUnreachableError,
    AuthenticationError,
    NotVisibleError,
    RequestError,
)
from komos_source.metrics import LoadMetrics
from komos_source.testing import Emulator, FakeKomos

T = TypeVar("T")


def ask(
    emulator: Emulator, use: Callable[[KomosClient], Awaitable[T]], **options: Any
) -> tuple[T, LoadMetrics]:
    metrics = LoadMetrics()

    async def main() -> T:
        arguments = {"api_key": emulator.api_key, "base_url": emulator.base_url, "backoff": 0.01}
        async with KomosClient(**{**arguments, **options}, metrics=metrics) as client:  # type: ignore[arg-type] # tests override freely
            return await use(client)

    return asyncio.run(main()), metrics


def log_of(run_id: str) -> Callable[[KomosClient], Awaitable[list[str]]]:
    async def read(client: KomosClient) -> list[str]:
        async with client.task_run_log(run_id) as answer:
            ids: list[str] = answer.value.rows["id"].to_pylist()
            return ids

    return read


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {"id": "a"}, {"id": "b"})
    return run_id


def test_tasks_are_paged_to_the_end(world: FakeKomos, emulator: Emulator) -> None:
    wanted = {world.add_task(f"Task {number}") for number in range(230)}

    async def ids(client: KomosClient) -> set[str]:
        return {task["id"] async for page in client.tasks() for task in page.tasks}

    found, metrics = ask(emulator, ids)
    assert found == wanted
    assert metrics.requests == 3


def test_the_clock_of_an_answer_is_the_servers(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    answer, _ = ask(emulator, lambda client: client.task_run(run_id))
    assert answer.served_at == world.clock.now()
    assert answer.value.status == "RUNNING"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 504},
        {"kind": "status", "status": 429},
        {"kind": "reset"},
        {"kind": "truncate"},
        {"kind": "truncate_quietly"},
        {"kind": "html"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}".strip(),
)
def test_what_passes_is_asked_again(emulator: Emulator, run_id: str, fault: dict[str, Any]) -> None:
    emulator.faults.add("/logs", times=4, **fault)
    ids, metrics = ask(emulator, log_of(run_id))
    assert ids == ["a", "b"]
    assert metrics.requests == 5


def test_after_five_tries_it_is_given_up(emulator: Emulator, run_id: str) -> None:
    emulator.faults.add("/logs", "status", status=503, detail="maintenance")
    with pytest.raises(RequestError, match="503 maintenance"):
        ask(emulator, log_of(run_id))
    assert emulator.count("/logs") == 5


def test_retry_after_is_honoured_by_all_requests_of_the_client(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    others = [world.add_run(world.add_task("Other")) for _ in range(3)]
    emulator.faults.add(run_id, "status", status=429, times=1, headers={"Retry-After": "1"})

    async def all_of_them(client: KomosClient) -> None:
        first = asyncio.create_task(log_of(run_id)(client))
        while not client._pause.until:
            await asyncio.sleep(0.01)
        for other in others:
            await log_of(other)(client)
            assert time.monotonic() >= client._pause.until
        await first

    started = time.monotonic()
    ask(emulator, all_of_them)
    assert time.monotonic() - started >= 1.0


def test_a_wait_beyond_the_limit_is_left_to_the_next_load(emulator: Emulator, run_id: str) -> None:
    emulator.faults.add("/logs", "status", status=429, headers={"Retry-After": "86400"})
    with pytest.raises(RequestError, match="asked to wait 86400 s"):
        ask(emulator, log_of(run_id))
    assert emulator.count("/logs") == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_is_not_repeated(
    emulator: Emulator, run_id: str, status: int
) -> None:
    emulator.faults.add("/logs", "status", status=status)
    with pytest.raises(AuthenticationError, match="SOURCES__KOMOS__API_KEY") as caught:
        ask(emulator, log_of(run_id))
    assert emulator.api_key not in str(caught.value)
    assert emulator.count("/logs") == 1


def test_a_run_that_is_not_there_is_not_visible(world: FakeKomos, emulator: Emulator) -> None:
    with pytest.raises(NotVisibleError, match="404 run_not_found"):
        ask(emulator, log_of(world.new_id()))


def test_a_refusal_says_what_the_api_said(emulator: Emulator) -> None:
    with pytest.raises(RequestError, match="400 invalid_task_id"):
        ask(emulator, lambda client: client.task_runs("no/uuid"))


def test_the_log_of_another_run_is_an_error(emulator: Emulator, run_id: str) -> None:
    emulator.faults.add("/logs", "body", body=b'{"runId": "other", "logEntries": []}')
    with pytest.raises(AnswerError, match="another run"):
        ask(emulator, log_of(run_id))
    assert emulator.count("/logs") == 1


def test_an_answer_nested_beyond_what_python_follows_is_at_most_an_error_of_that_request(
    emulator: Emulator, run_id: str
) -> None:
    nested = b"[" * 600 + b"]" * 600  # is read; Python 3.11 cannot walk through it
    body = b'{"run": {"id": "%s", "outputs": {"x": %s}}}' % (run_id.encode(), nested)
    emulator.faults.add(run_id, "body", body=body)
    with contextlib.suppress(AnswerError):
        ask(emulator, lambda client: client.task_run(run_id))


def test_an_api_that_never_answers_is_out_of_reach(emulator: Emulator, run_id: str) -> None:
    with pytest.raises(ApiUnreachableError, match="cannot be reached"):
        ask(emulator, log_of(run_id), base_url="http://127.0.0.1:9")


def test_an_api_that_goes_away_is_not_asked_for_every_run(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    emulator.faults.add("/logs", "reset")

    async def many(client: KomosClient) -> list[str]:
        await client.task_run(run_id)
        reasons = []
        for _ in range(20):
            try:
                await log_of(run_id)(client)
            except RequestError as error:
                reasons.append(str(error))
        return reasons

    reasons, metrics = ask(emulator, many, backoff=0.0)
    assert len(reasons) == 20
    assert reasons[-1].startswith("not asked")
    assert metrics.requests == 1 + 16 * 5


def test_no_more_requests_are_under_way_than_allowed(world: FakeKomos, emulator: Emulator) -> None:
    runs = [world.add_run(world.add_task("T")) for _ in range(12)]
    emulator.faults.latency = 0.05

    async def all_at_once(client: KomosClient) -> float:
        started = time.monotonic()
        await asyncio.gather(*(log_of(run)(client) for run in runs))
        return time.monotonic() - started

    seconds, _ = ask(emulator, all_at_once, max_concurrency=3)
    assert seconds >= 12 / 3 * 0.05


def test_a_body_that_is_said_to_be_huge_takes_no_memory_before_it_comes(run_id: str) -> None:
    def answer(listener: socket.socket) -> None:
        for _ in range(settings.MAX_TRIES):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % 10**15)

    async def read() -> None:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            KomosClient("sk_live_test", address, backoff=0.01) as client,
            client.task_run_log(run_id),
        ):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,), daemon=True)
        server.start()
        with pytest.raises(RequestError, match="RemoteProtocolError"):
            asyncio.run(read())
        server.join(10)
