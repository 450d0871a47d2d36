"""The emulator's socket: HTTP/1.1 by h11 on asyncio, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Self

import h11

from komos_source.testing.api import Reply, reply
from komos_source.testing.faults import Fault, Faults
from komos_source.testing.world import FakeKomos


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was answered."""

    method: str
    path: str
    status: int


class Emulator:
    """A Komos API on a real socket, as a context manager.

        with Emulator(world) as emulator:
            ...  # emulator.base_url, emulator.api_key

    Args:
        world: What it serves.
        api_key: The one key it accepts.
        host: Where it listens: loopback, as everybody who knows `api_key` can read what it serves.
        port: 0 for any free one.
    """

    def __init__(
        self,
        world: FakeKomos,
        *,
        api_key: str = "sk_live_emulator",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.world = world
        self.api_key = api_key
        self.faults = Faults()
        self.requests: list[Request] = []
        self._socket = socket.create_server((host, port), backlog=512)
        self.base_url = "http://{}:{}".format(*self._socket.getsockname()[:2])
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="komos-emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends serving and closes all connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()

    def serve_forever(self) -> None:
        """Serves until interrupted."""
        with self, contextlib.suppress(KeyboardInterrupt):
            self._thread.join()

    def count(self, path_part: str) -> int:
        """How many requests so far had this in their path."""
        return sum(path_part in request.path for request in self.requests)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._socket, limit=2**20)
        )
        self._listening.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            while await self._answer_next(connection, reader, writer):
                connection.start_next_cycle()
        writer.close()

    async def _answer_next(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answers one request; returns whether the connection can take another."""
        request: h11.Request | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.Data):
                return False
        if request is None:
            return False
        method, target = request.method.decode(), request.target.decode()
        key = dict(request.headers).get(b"authorization", b"").decode(errors="replace")
        fault = self.faults.pick(target)
        waits = fault is not None and fault.kind not in {"drip", "hints"}
        await asyncio.sleep(self.faults.latency + (fault.seconds if fault and waits else 0.0))
        if fault and fault.kind == "reset":
            # Lingering for zero seconds makes the kernel send RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        answer = _distort(
            target,
            reply(self.world, method, target, authorised=key == f"Bearer {self.api_key}"),
            fault,
        )
        headers = dict(fault.headers) if fault else {}
        if self.faults.rate_limit:
            accepted, limits = self.faults.rate_limit.take()
            headers |= limits
            if not accepted:
                answer = Reply(429, b'{"detail": "rate_limited"}')
        self.requests.append(Request(method, target, answer.status))
        await self._send(connection, writer, answer, fault, headers)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _send(
        self,
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
        answer: Reply,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> None:
        kind = fault.kind if fault else None
        while kind == "hints":
            hint = h11.InformationalResponse(status_code=103, headers=[])
            writer.write(connection.send(hint) or b"")
            await writer.drain()
            await asyncio.sleep(fault.seconds if fault else 0.0)
        body = (
            answer.body[: len(answer.body) * 2 // 3] if kind == "truncate_quietly" else answer.body
        )
        names = {name.lower() for name in headers}
        defaults = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(body)),
            "Date": format_datetime(self.world.clock.now(), usegmt=True),
        }
        if kind == "no_date":
            del defaults["Date"]
        if kind == "drip":
            del defaults["Content-Length"]  # h11 then sends chunks
        sent = {name: text for name, text in defaults.items() if name.lower() not in names}
        head = connection.send(
            h11.Response(status_code=answer.status, headers=list((sent | headers).items()))
        )
        writer.write(head or b"")
        if fault and kind == "drip":
            count = 0
            while fault.blanks is None or count < fault.blanks:
                writer.write(connection.send(h11.Data(data=b" ")) or b"")
                await writer.drain()
                await asyncio.sleep(fault.seconds)
                count += 1
            writer.write(connection.send(h11.Data(data=body)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return
        if kind == "truncate":
            writer.write(body[: len(body) // 2])
            await writer.drain()
            raise ConnectionResetError
        writer.write(body)  # past h11, which would copy it; the length is the one announced
        connection.send_with_data_passthrough(h11.Data(data=body))
        connection.send(h11.EndOfMessage())
        await writer.drain()


def _distort(target: str, answer: Reply, fault: Fault | None) -> Reply:
    if fault is None:
        return answer
    match fault.kind:
        case "status" if fault.status == 204:  # noqa: PLR2004 - has no body
            return Reply(204, b"")
        case "status":
            return Reply(fault.status, json.dumps({"detail": fault.detail}).encode())
        case "html":
            return Reply(200, b"<!doctype html><title>Sign in</title>", "text/html")
        case "body":
            return Reply(200, fault.body)
        case "rewrite" if fault.rewrite:
            return Reply(answer.status, fault.rewrite(target, answer.body))
        case _:
            return answer
