"""Real targets of alerts: an HTTP endpoint and an SMTP server, which keep what they accept."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler


@dataclass
class HttpEndpoint:
    """A webhook: POST is a message, which it accepts with a status; GET counts who is there.

    Attributes:
        port: Its port on the loopback interface.
        status: What it answers.
        messages: Titles and bodies, with those that it refused.
        wait_for: How many GETs there must have been before it answers a POST.
    """

    port: int = 0
    status: int = 200
    messages: list[tuple[str, str]] = field(default_factory=list)
    wait_for: int = 0
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        return f"json://user:hunter2@127.0.0.1:{self.port}/alerts"

    @property
    def barrier(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextlib.contextmanager
def http_endpoint() -> Iterator[HttpEndpoint]:
    endpoint = HttpEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            endpoint.arrived.release()
            self._answer(200)

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            endpoint.messages.append((message["title"], message["message"]))
            for _ in range(endpoint.wait_for):
                assert endpoint.arrived.acquire(timeout=60)
            self._answer(endpoint.status)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield endpoint
    server.shutdown()
    thread.join()
    server.server_close()


class _Mailbox(MessageHandler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


class _OnAnyPort(Controller):
    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def smtp_server() -> Iterator[tuple[str, list[Message]]]:
    """Yields the URL of a target, and the mails that it gets."""
    mailbox = _Mailbox()
    controller = _OnAnyPort(mailbox, hostname="127.0.0.1", port=0)
    controller.start()
    yield (
        f"mailto://127.0.0.1:{controller.port}?from=komos@example.com&to=data@example.com&mode=insecure",
        mailbox.messages,
    )
    controller.stop()
