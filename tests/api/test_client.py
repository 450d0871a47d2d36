"""The client against an API that misbehaves, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.exceptions import (
    AnswerError,
    ApiUnreachableError,
    ConfigurationError,
    RequestError,
    UsageError,
)
from komos_source.testing import Emulator, FakeKomos
from tests.api.requests import ask, decode_ids, log_of


async def all_tasks(client: KomosClient) -> tuple[list[str], list[str]]:
    """Ids of all tasks, and what is wrong with the list."""
    pages = [page async for page in client.tasks()]
    return [t.id for page in pages for t in page.tasks], [o for page in pages for o in page.skipped]


# --- tasks ---


def test_tasks_with_several_pages_returns_all(world: FakeKomos, emulator: Emulator) -> None:
    wanted = {world.add_task(f"Task {number}") for number in range(230)}
    (found, skipped), metrics = ask(emulator, all_tasks)
    assert set(found) == wanted
    assert skipped == []
    assert metrics.requests == 3


def test_tasks_when_total_counts_only_the_page_returns_all(
    world: FakeKomos, emulator: Emulator
) -> None:
    wanted = {world.add_task(f"Task {number}") for number in range(150)}

    def count_page(_: str, body: bytes) -> bytes:
        answer = json.loads(body)
        return json.dumps(answer | {"total": len(answer["tasks"])}).encode()

    emulator.faults.add("/tasks?", "rewrite", rewrite=count_page)
    (found, skipped), _ = ask(emulator, all_tasks)
    assert set(found) == wanted
    assert skipped == []


def test_tasks_when_pages_are_smaller_than_the_limit_returns_all(
    world: FakeKomos, emulator: Emulator
) -> None:
    wanted = {world.add_task(f"Task {number}") for number in range(30)}

    def shorten(_: str, body: bytes) -> bytes:
        answer = json.loads(body)
        return json.dumps(answer | {"tasks": answer["tasks"][:20]}).encode()

    emulator.faults.add("/tasks?", "rewrite", rewrite=shorten)
    (found, _), _ = ask(emulator, all_tasks)
    assert set(found) == wanted


def test_tasks_when_total_is_too_high_reports_it(world: FakeKomos, emulator: Emulator) -> None:
    world.add_task("Orders")

    def claim_more(_: str, body: bytes) -> bytes:
        return json.dumps(json.loads(body) | {"total": 7}).encode()

    emulator.faults.add("/tasks?", "rewrite", rewrite=claim_more)
    (found, skipped), metrics = ask(emulator, all_tasks)
    assert len(found) == 1
    assert skipped == ["the API lists 1 tasks, but its total is 7"]
    assert metrics.requests == 2


def test_tasks_when_offset_is_ignored_ends(world: FakeKomos, emulator: Emulator) -> None:
    tasks = [{"id": world.new_id()} for _ in range(100)]
    emulator.faults.add("/tasks?", "body", body=json.dumps({"tasks": tasks, "total": 500}).encode())
    (found, _), metrics = ask(emulator, all_tasks)
    assert set(found) == {task["id"] for task in tasks}
    assert metrics.requests == 2


def test_tasks_when_the_list_never_ends_stops_and_reports_it(
    world: FakeKomos, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAX_TASK_PAGES", 4)

    def new_tasks(_: str, __: bytes) -> bytes:
        return json.dumps({"tasks": [{"id": world.new_id()} for _ in range(100)]}).encode()

    emulator.faults.add("/tasks?", "rewrite", rewrite=new_tasks)
    (found, skipped), metrics = ask(emulator, all_tasks)
    assert len(found) == 400
    assert skipped == ["only the first 4 pages of the list of tasks were read"]
    assert metrics.requests == 4


@pytest.mark.parametrize("bad", [None, 5, {"name": "no id"}, {"id": ""}, {"id": ".."}, {"id": 7}])
def test_tasks_with_an_odd_member_returns_the_others(emulator: Emulator, bad: Any) -> None:
    body = json.dumps({"tasks": [bad, {"id": "good"}]}).encode()
    emulator.faults.add("/tasks?", "body", body=body)
    (found, skipped), _ = ask(emulator, all_tasks)
    assert found == ["good"]
    assert len(skipped) == 1
    assert skipped[0].startswith("a task has been skipped: ")


# --- runs ---


def test_task_run_returns_the_servers_clock(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    answer, _ = ask(emulator, lambda client: client.task_run(run_id))
    assert answer.served_at == world.clock.now()
    assert answer.value.status == "RUNNING"


def test_task_run_from_a_cache_subtracts_its_age(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    emulator.faults.add(run_id, "headers", headers={"Age": "90"})
    answer, _ = ask(emulator, lambda client: client.task_run(run_id))
    assert answer.served_at == world.clock.now() - timedelta(seconds=90)


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999999 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0100", "now"]
)
def test_task_run_with_an_unusable_date_has_no_served_at(
    emulator: Emulator, run_id: str, date: str
) -> None:
    emulator.faults.add(run_id, "headers", headers={"Date": date})
    answer, _ = ask(emulator, lambda client: client.task_run(run_id))
    assert answer.served_at is None


def test_task_runs_with_an_odd_member_returns_the_others(
    world: FakeKomos, emulator: Emulator, run_id: str
) -> None:
    def add_odd_run(_: str, body: bytes) -> bytes:
        return json.dumps({"runs": [{"id": "no UUID"}, *json.loads(body)["runs"]]}).encode()

    emulator.faults.add("/runs", "rewrite", rewrite=add_odd_run)
    answer, _ = ask(emulator, lambda client: client.task_runs(world.tasks()[0]["id"]))
    assert [run.id for run in answer.value] == [run_id]
    assert len(answer.skipped) == 1
    assert "its id is not a UUID: 'no UUID'" in answer.skipped[0]


@pytest.mark.parametrize("identity", ["", ".", ".."])
def test_client_with_an_id_that_changes_the_path_raises_usage_error(
    emulator: Emulator, identity: str
) -> None:
    for use in (
        lambda client: client.task_runs(identity),
        lambda client: client.task_run(identity),
        log_of(identity),
    ):
        with pytest.raises(UsageError, match="is not an id"):
            ask(emulator, use)
    assert emulator.requests == []


def test_client_with_a_slash_in_an_id_escapes_it(emulator: Emulator) -> None:
    with pytest.raises(RequestError, match="400 invalid_task_id"):
        ask(emulator, lambda client: client.task_runs("a/../b"))
    assert [request.path for request in emulator.requests] == ["/public/v1/tasks/a%2F..%2Fb/runs"]


# --- answers ---


@pytest.mark.parametrize("where", ["tasks", "runs", "logs"])
@pytest.mark.parametrize("fault", ["204", "null", "byte order mark"])
def test_client_with_an_answer_that_is_empty_null_or_marked_reads_it(
    world: FakeKomos, emulator: Emulator, run_id: str, where: str, fault: str
) -> None:
    path = {"tasks": "/tasks?", "runs": "/runs", "logs": "/logs"}[where]
    if fault == "204":
        emulator.faults.add(path, "status", status=204)
    elif fault == "null" and where != "logs":  # for a log the decoder decides
        emulator.faults.add(path, "body", body=json.dumps({where: None}).encode())
    elif fault == "byte order mark":
        emulator.faults.add(path, "rewrite", rewrite=lambda _, body: b"\xef\xbb\xbf" + body)

    async def read(client: KomosClient) -> Any:
        if where == "tasks":
            return (await all_tasks(client))[0]
        if where == "runs":
            return (await client.task_runs(world.tasks()[0]["id"])).value
        return await log_of(run_id)(client)

    values, metrics = ask(emulator, read)
    full = fault == "byte order mark" or (fault, where) == ("null", "logs")
    assert bool(values) == full
    assert metrics.requests == 1


def test_task_run_log_of_another_run_is_not_retried(emulator: Emulator, run_id: str) -> None:
    def refuse(_: bytes | bytearray, __: datetime) -> None:
        raise AnswerError("the log of another run")

    async def read(client: KomosClient) -> None:
        async with client.task_run_log(run_id, refuse):
            pass

    with pytest.raises(AnswerError, match="another run") as caught:
        ask(emulator, read)
    assert caught.value.status == 200
    assert emulator.count("/logs") == 1


def test_task_run_with_a_deeply_nested_answer_raises_at_most_answer_error(
    emulator: Emulator, run_id: str
) -> None:
    nested = b"[" * 600 + b"]" * 600  # is read; Python 3.11 cannot walk through it
    body = b'{"run": {"id": "%s", "outputs": {"x": %s}}}' % (run_id.encode(), nested)
    emulator.faults.add(run_id, "body", body=body)
    with contextlib.suppress(AnswerError):
        ask(emulator, lambda client: client.task_run(run_id))


def test_client_sends_cache_control_no_cache(run_id: str) -> None:
    with http_server(b'{"runId": "x", "logEntries": []}') as (address, requests):
        asyncio.run(read_log(address, run_id))
    assert requests[0]["Cache-Control"] == "no-cache"


def test_client_limits_concurrent_requests(world: FakeKomos, emulator: Emulator) -> None:
    runs = [world.add_run(world.add_task("T")) for _ in range(12)]
    emulator.faults.latency = 0.05

    async def read(client: KomosClient) -> float:
        started = time.monotonic()
        await asyncio.gather(*(log_of(run)(client) for run in runs))
        return time.monotonic() - started

    seconds, _ = ask(emulator, read, max_concurrency=3)
    assert seconds >= 12 / 3 * 0.05


# --- answers that are too slow or too large ---


@pytest.mark.parametrize("kind", ["drip", "hints"])
def test_client_with_an_endless_answer_raises_and_reads_the_others(
    world: FakeKomos,
    emulator: Emulator,
    run_id: str,
    kind: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "TOTAL_TIMEOUT", 1.0)
    others = [world.add_run(world.add_task("Other")) for _ in range(20)]
    emulator.faults.add(run_id, kind, seconds=0.01)

    async def read(client: KomosClient) -> list[Any]:
        reads = (log_of(run)(client) for run in [run_id, *others])
        return await asyncio.gather(*reads, return_exceptions=True)

    results, metrics = ask(emulator, read)
    assert isinstance(results[0], RequestError)
    assert "did not arrive in the time allowed" in str(results[0])
    assert results[1:] == [[]] * 20
    assert metrics.requests == 21


def test_client_with_a_long_answer_that_is_fast_enough_reads_it(
    emulator: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "TOTAL_TIMEOUT", 0.5)
    monkeypatch.setattr(settings, "SLOWEST_RATE", 10)  # a blank earns 0.1 s
    emulator.faults.add("/logs", "drip", seconds=0.02, blanks=40)
    ids, metrics = ask(emulator, log_of(run_id))
    assert ids == ["a", "b"]
    assert metrics.requests == 1


def test_client_with_a_slow_answer_reads_the_others_meanwhile(
    world: FakeKomos, emulator: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "BUFFERED_BYTES", 1000)
    other = world.add_run(world.add_task("Other"))
    emulator.faults.add(run_id, "drip", seconds=0.01)

    async def read(client: KomosClient) -> bool:
        slow = asyncio.create_task(log_of(run_id)(client))
        while not emulator.count(run_id):
            await asyncio.sleep(0.01)
        for _ in range(5):
            await log_of(other)(client)
        unfinished = not slow.done()
        slow.cancel()
        return unfinished

    unfinished, _ = ask(emulator, read)
    assert unfinished


def test_task_run_log_in_use_delays_others_over_the_memory_limit(
    world: FakeKomos, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "BUFFERED_BYTES", 3_000_000)
    runs = [world.add_run(world.add_task("T")) for _ in range(2)]
    for run in runs:
        world.append(run, *({"message": "x" * 20_000} for _ in range(100)))

    async def read(client: KomosClient) -> tuple[bool, int]:
        async with client.task_run_log(runs[0], decode_ids):
            second = asyncio.create_task(log_of(runs[1])(client))
            done, _ = await asyncio.wait({second}, timeout=0.5)
        return bool(done), len(await second)

    (done_while_held, entries), _ = ask(emulator, read)
    assert not done_while_held
    assert entries == 100


def test_client_decodes_one_large_log_at_a_time(world: FakeKomos, emulator: Emulator) -> None:
    task = world.add_task("T")
    runs = [world.add_run(task) for _ in range(3)]
    for run in runs:
        world.append(run, {"message": "x" * settings.INLINE_BYTES})
    meeting, met = threading.Barrier(2), []

    def decode(body: bytes | bytearray, at: datetime) -> list[str]:
        with contextlib.suppress(threading.BrokenBarrierError):
            met.append(meeting.wait(timeout=0.2))
        return decode_ids(body, at)

    async def read(client: KomosClient) -> None:
        async def one(run: str) -> None:
            async with client.task_run_log(run, decode):
                pass

        await asyncio.gather(*map(one, runs))

    ask(emulator, read)
    assert not met


def test_client_with_a_body_beyond_the_limit_raises_and_names_the_setting(
    emulator: Emulator, run_id: str
) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    emulator.faults.add("/logs", "body", body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(RequestError, match=r"1,000,000 bytes.*SOURCES__KOMOS__MAX_BODY"):
        ask(emulator, log_of(run_id), max_body=1_000_000)
    assert emulator.count("/logs") == 1


def test_client_with_a_body_compressed_twice_raises_answer_error(
    emulator: Emulator, run_id: str
) -> None:
    bomb = gzip.compress(gzip.compress(b" " * 1_000_000))
    emulator.faults.add("/logs", "body", body=bomb, headers={"Content-Encoding": "gzip, gzip"})
    with pytest.raises(AnswerError, match="Content-Encoding 'gzip, gzip'"):
        ask(emulator, log_of(run_id))


def test_client_with_a_huge_content_length_reserves_no_memory(run_id: str) -> None:
    def answer(listener: socket.socket) -> None:
        for _ in range(settings.MAX_TRIES):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % 10**15)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,), daemon=True)
        server.start()
        with pytest.raises(RequestError, match="RemoteProtocolError"):
            asyncio.run(read_log(f"http://127.0.0.1:{listener.getsockname()[1]}", run_id))
        server.join(10)


def test_client_with_a_long_error_answer_reads_up_to_64_kb(run_id: str) -> None:
    sent: list[int] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000000\r\n\r\n")
            for _ in range(1_000):
                connection.sendall(b"x" * 1_000_000)
                sent.append(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,), daemon=True)
        server.start()
        with pytest.raises(RequestError, match="400 xxx"):
            asyncio.run(read_log(f"http://127.0.0.1:{listener.getsockname()[1]}", run_id))
        server.join(30)
    assert len(sent) < 100


# --- addresses and certificates ---


@contextlib.contextmanager
def http_server(
    body: bytes, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Answers everything with one body; yields host and port, and the headers of each request."""
    requests: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(dict(self.headers.items()))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a client that refuses the certificate is expected

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://localhost:{server.server_port}", requests
        server.shutdown()


async def read_log(base_url: str, run_id: str) -> None:
    async with KomosClient("sk_live_test_key", base_url, backoff=0.01) as client:
        await log_of(run_id)(client)


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    names += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_client_with_https_in_any_case_verifies_certificates(
    self_signed: ssl.SSLContext, run_id: str, scheme: str
) -> None:
    with http_server(b"{}", self_signed) as (address, requests):
        url = address.replace("https", scheme)
        with pytest.raises(ApiUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(read_log(url, run_id))
    assert requests == []


@pytest.mark.parametrize("accepted", [True, False])
def test_client_with_a_private_authority_is_accepted_only_if_its_certificate_is_configured(
    self_signed: ssl.SSLContext,
    run_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accepted: bool,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    if accepted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with http_server(b'{"logEntries": []}', self_signed) as (address, requests):
        if accepted:
            asyncio.run(read_log(address, run_id))
        else:
            expected = "set SSL_CERT_FILE .*REQUESTS_CA_BUNDLE is not used"
            with pytest.raises(ApiUnreachableError, match=expected):
                asyncio.run(read_log(address, run_id))
    assert len(requests) == accepted


def test_client_with_a_missing_certificate_file_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        KomosClient("sk_live_test")


def test_client_with_an_unusable_proxy_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://localhost:1")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        KomosClient("sk_live_test")
