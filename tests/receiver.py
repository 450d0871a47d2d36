"""The receiver as a process with a spool, which tests stop, kill and start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from komos_source.testing.webhooks import signed_headers
from komos_source.webhooks import Spool

SECRET = "wh_test_2f6b8a"
WAIT = 60.0
_SERVE = """
import resource
from komos_source.webhooks import settings
if {descriptors!r}:
    resource.setrlimit(resource.RLIMIT_NOFILE, {descriptors!r})
for name, value in {settings!r}.items():
    assert hasattr(settings, name)
    setattr(settings, name, value)
from komos_source.cli.main import main
main()
"""


@dataclass
class Receiver:
    """``komos webhooks serve`` in a process of its own; starts again on the same port.

    An `environment` takes the place of the variables that name secret and spool; `settings` are
    put in place of those of `komos_source.webhooks.settings`; `descriptors` are the soft and the
    hard limit of open files.
    """

    directory: Path
    spool_url: str
    environment: dict[str, str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    descriptors: tuple[int, int] | None = None
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _SERVE.format(settings=self.settings, descriptors=self.descriptors),
                *("webhooks", "serve", "--port", str(self.port)),
            ],
            cwd=self.directory,
            env=os.environ
            | {
                "PYTHONUNBUFFERED": "1",
                "SOURCES__KOMOS__SPOOL_RESERVE": "1000000",  # tests also run on small disks
            }
            | (
                {
                    "SOURCES__KOMOS__WEBHOOK_SECRET": SECRET,
                    "SOURCES__KOMOS__SPOOL": self.spool_url,
                }
                if self.environment is None
                else self.environment
            ),
            stdout=subprocess.PIPE,
            stderr=(self.directory / "receiver.log").open("a"),
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://"), self.log
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "receiver.log").read_text()

    @property
    def spool(self) -> Spool:
        return Spool(self.spool_url)

    def bodies(self) -> list[bytes]:
        return [each.body for each in self.spool.take()]

    def connect(self, data: bytes = b"") -> socket.socket:
        """Opens a connection and sends some bytes."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        connection.sendall(data)
        return connection

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=WAIT)

    def post(
        self,
        body: bytes,
        event: str = "task-run.log",
        path: str = "/webhooks/komos",
        **headers: Any,
    ) -> httpx.Response:
        """Sends one signed delivery; headers are put in place of the usual ones."""
        signed = signed_headers(SECRET, event, body)
        return httpx.post(
            f"{self.url}{path}",
            content=body,
            headers=signed | {name.replace("_", "-"): value for name, value in headers.items()},
            timeout=60,
        )


def wait_until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    """Returns once a condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
