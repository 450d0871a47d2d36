"""Requests that are sent again, or not, against an API that misbehaves, over real HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.exceptions import (
    ApiUnreachableError,
    AuthenticationError,
    KomosError,
    NotVisibleError,
    RequestError,
)
from komos_source.testing import Emulator, FakeKomos
from tests.api.requests import ask, log_of, logs_of

# --- tries ---


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 504},
        {"kind": "status", "status": 520},
        {"kind": "reset"},
        {"kind": "truncate"},
        {"kind": "truncate_quietly"},
        {"kind": "html"},
        {"kind": "headers", "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}".strip(),
)
def test_client_with_a_transient_failure_retries(
    emulator: Emulator, run_id: str, fault: dict[str, Any]
) -> None:
    emulator.faults.add("/logs", times=4, **fault)
    ids, metrics = ask(emulator, log_of(run_id))
    assert ids == ["a", "b"]
    assert metrics.requests == 5


def test_client_with_a_lasting_failure_raises_after_five_tries(
    emulator: Emulator, run_id: str
) -> None:
    emulator.faults.add("/logs", "status", status=503, detail="maintenance")
    with pytest.raises(RequestError, match=r"503 maintenance \(5 tries\)") as caught:
        ask(emulator, log_of(run_id))
    assert (caught.value.status, caught.value.detail) == (503, "maintenance")
    assert emulator.count("/logs") == 5


@pytest.mark.parametrize("status", [400, 402, 410, 422])
def test_client_with_a_permanent_error_raises_at_once_with_status_and_detail(
    emulator: Emulator, run_id: str, status: int
) -> None:
    emulator.faults.add("/logs", "status", status=status, detail="no_more")
    with pytest.raises(RequestError, match=f"{status} no_more") as caught:
        ask(emulator, log_of(run_id))
    assert (caught.value.status, caught.value.detail) == (status, "no_more")
    assert emulator.count("/logs") == 1


def test_client_with_repeated_retry_after_limits_the_total_wait(
    emulator: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAX_RETRY_AFTER", 1.5)
    emulator.faults.add("/logs", "status", status=503, headers={"Retry-After": "1"})
    with pytest.raises(RequestError, match=r"\(2 tries\)"):
        ask(emulator, log_of(run_id))


@pytest.mark.parametrize("status", [429, 503])
def test_client_with_retry_after_beyond_the_limit_raises_at_once(
    emulator: Emulator, run_id: str, status: int
) -> None:
    emulator.faults.add("/logs", "status", status=status, headers={"Retry-After": "86400"})
    with pytest.raises(RequestError, match="asked to wait 86400 s"):
        ask(emulator, log_of(run_id))
    assert emulator.count("/logs") == 1


@pytest.mark.parametrize("status", [301, 308])
def test_client_with_a_permanent_redirect_names_the_setting_for_the_new_address(
    emulator: Emulator, run_id: str, status: int
) -> None:
    headers = {"Location": "https://api2.example:8443/public/v1/tasks"}
    emulator.faults.add("/logs", "status", status=status, headers=headers)
    expected = r"is not followed: if .* set SOURCES__KOMOS__BASE_URL to https://api2.example:8443$"
    with pytest.raises(RequestError, match=expected):
        ask(emulator, log_of(run_id))


@pytest.mark.parametrize("status", [301, 308])
def test_client_with_a_redirect_names_its_target_and_does_not_follow_it(
    emulator: Emulator, run_id: str, status: int
) -> None:
    target = f"{emulator.base_url}/elsewhere"
    emulator.faults.add("/logs", "status", status=status, headers={"Location": target})
    with pytest.raises(RequestError, match=f"redirects to {target}"):
        ask(emulator, log_of(run_id))
    assert len(emulator.requests) == 1


# --- the key ---


@pytest.mark.parametrize("status", [401, 403])
def test_client_with_a_refused_key_raises_authentication_error_without_the_key(
    emulator: Emulator, run_id: str, status: int
) -> None:
    emulator.faults.add("/", "status", status=status)
    with pytest.raises(AuthenticationError, match="SOURCES__KOMOS__API_KEY") as caught:
        ask(emulator, log_of(run_id))
    assert emulator.api_key not in str(caught.value)
    assert emulator.count("/logs") == 1


@pytest.mark.parametrize("known", [True, False], ids=["key accepted before", "first request"])
def test_client_with_a_403_for_one_run_reads_the_others(
    world: FakeKomos, emulator: Emulator, run_id: str, known: bool
) -> None:
    other = world.add_run(world.add_task("Other"))
    emulator.faults.add(run_id, "status", status=403, detail="legal_hold")
    order = [other, run_id] if known else [run_id, other]
    results, _ = ask(emulator, logs_of(order))
    by_run = dict(zip(order, results, strict=True))
    error = by_run[run_id]
    assert isinstance(error, RequestError)
    assert (error.status, error.detail) == (403, "legal_hold")
    assert by_run[other] == []


def test_client_with_a_missing_run_raises_not_visible_error(
    world: FakeKomos, emulator: Emulator
) -> None:
    with pytest.raises(NotVisibleError, match="404 run_not_found") as caught:
        ask(emulator, log_of(world.new_id()))
    assert caught.value.detail == "run_not_found"
    assert caught.value.status == 404


def test_client_with_a_404_of_a_gateway_raises_an_error_without_detail(
    emulator: Emulator, run_id: str
) -> None:
    emulator.faults.add("/logs", "status", status=404, detail={"gateway": "no route"})
    with pytest.raises(NotVisibleError) as caught:
        ask(emulator, log_of(run_id))
    assert caught.value.detail is None


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_client_with_an_error_that_echoes_the_key_raises_without_the_key(
    emulator: Emulator, run_id: str, status: int
) -> None:
    key = emulator.api_key
    echo = {"request_headers": {"authorization": f"Bearer {key}"}, "cut_off": key[:14], "key": key}
    for detail in (echo, f"Bearer {key} {key}", f"{'x' * 290}{key}"):
        emulator.faults.clear()
        emulator.faults.add("/", "status", status=status, detail=detail)
        with pytest.raises(KomosError, match=str(status)) as caught:
            ask(emulator, log_of(run_id), backoff=0.0)
        texts = [str(caught.value), getattr(caught.value, "detail", None) or "", repr(caught.value)]
        assert key[:12] not in "".join(texts)
        assert caught.value.__cause__ is None


def test_client_with_a_redirect_that_echoes_the_key_raises_without_the_key(
    emulator: Emulator, run_id: str
) -> None:
    location = f"https://login.example/?key={emulator.api_key}"
    emulator.faults.add("/logs", "status", status=302, headers={"Location": location})
    with pytest.raises(RequestError, match=r"login\.example") as caught:
        ask(emulator, log_of(run_id))
    assert emulator.api_key not in str(caught.value)


def test_client_with_a_long_error_detail_truncates_it(emulator: Emulator, run_id: str) -> None:
    for detail in ("x" * 5_000_000, "x" * 20_000, [{"loc": "x" * 20_000}]):
        emulator.faults.clear()
        emulator.faults.add("/logs", "status", status=400, detail=detail)
        with pytest.raises(RequestError) as caught:
            ask(emulator, log_of(run_id))
        assert len(str(caught.value)) <= settings.MAX_DETAIL + 10
        assert len(caught.value.detail or "") <= settings.MAX_DETAIL


# --- an API that is down, and single resources that fail ---


def test_client_without_a_connection_raises_api_unreachable_error(
    emulator: Emulator, run_id: str
) -> None:
    with pytest.raises(ApiUnreachableError, match="cannot be reached"):
        ask(emulator, log_of(run_id), base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("fault", ["reset", "status"])
def test_client_after_16_consecutive_failures_skips_requests(
    world: FakeKomos, emulator: Emulator, run_id: str, fault: Any
) -> None:
    async def read(client: KomosClient) -> list[Any]:
        await client.task_run(run_id)
        emulator.faults.add("/", fault)
        return await logs_of([run_id] * 40)(client)

    results, metrics = ask(emulator, read, backoff=0.0)
    assert str(results[-1]) == "skipped after 16 consecutive failed requests"
    # Ever fewer tries: 5 + 4 + 3 + 2, then one for each; and one more request that decides.
    assert metrics.requests == 1 + 14 + 12 + 1


def test_client_with_runs_that_always_fail_reads_the_others(
    world: FakeKomos, emulator: Emulator
) -> None:
    task = world.add_task("Bad")
    bad = [world.add_run(task) for _ in range(50)]
    good = [world.add_run(world.add_task("Good")) for _ in range(20)]
    for run in bad:
        emulator.faults.add(run, "status", status=500)

    async def read(client: KomosClient) -> list[Any]:
        left = iter(bad + good)

        async def work() -> list[Any]:
            return await logs_of(left)(client)

        results = await asyncio.gather(*(work() for _ in range(8)))
        return [result for each in results for result in each]

    results, metrics = ask(emulator, read)
    assert sum(isinstance(result, RequestError) for result in results) == 50
    assert results.count([]) == 20
    assert metrics.requests < 2 * (50 + 20)


# --- rate limits ---


def test_client_below_a_rate_limit_without_headers_slows_down_and_reads_all_logs(
    world: FakeKomos, emulator: Emulator
) -> None:
    runs = [world.add_run(world.add_task("T")) for _ in range(70)]
    limit = emulator.faults.limit_rate(20, 0.5)

    async def read(client: KomosClient) -> list[list[str]]:
        return await asyncio.gather(*(log_of(run)(client) for run in runs))

    results, metrics = ask(emulator, read)
    assert results == [[]] * 70
    assert metrics.requests == 70 + limit.refused
    assert metrics.paused_until > 0


def test_client_below_a_rate_limit_with_headers_waits_for_its_reset(
    world: FakeKomos, emulator: Emulator
) -> None:
    runs = [world.add_run(world.add_task("T")) for _ in range(60)]
    limit = emulator.faults.limit_rate(20, 1.0, headers=True)

    async def read(client: KomosClient) -> None:
        await asyncio.gather(*(log_of(run)(client) for run in runs))

    ask(emulator, read, max_concurrency=4)
    assert 0 < limit.refused <= 3 * 4  # at most those under way when a span was used up


def test_client_with_a_lasting_429_raises_in_bounded_time(
    emulator: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAX_RETRY_AFTER", 0.5)
    emulator.faults.add("/logs", "status", status=429, headers={"Retry-After": "0"})
    started = time.monotonic()
    with pytest.raises(RequestError, match="429") as caught:
        ask(emulator, log_of(run_id))
    assert caught.value.status == 429
    assert time.monotonic() - started < 120
    assert emulator.count("/logs") < 20


def test_client_after_retry_after_delays_all_requests(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    others = [world.add_run(world.add_task("Other")) for _ in range(3)]
    emulator.faults.add(run_id, "status", status=429, times=1, headers={"Retry-After": "1"})

    async def read(client: KomosClient) -> None:
        first = asyncio.create_task(log_of(run_id)(client))
        while not client._sender.throttle.until:
            await asyncio.sleep(0.01)
        for other in others:
            await log_of(other)(client)
            assert time.monotonic() >= client._sender.throttle.until
        await first

    started = time.monotonic()
    ask(emulator, read)
    assert time.monotonic() - started >= 1.0
