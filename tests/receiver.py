"""The receiver as its users run it: a process with a spool, which tests stop, kill and start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from komos_source.testing.webhooks import signed_headers
from komos_source.webhooks.spool import Spool

SECRET = "wh_test_2f6b8a"


@dataclass
class Receiver:
    """``komos webhooks serve`` in a process of its own; starts again on the same port.

    An `environment` takes the place of the variables that name secret and spool.
    """

    directory: Path
    spool_url: str
    environment: dict[str, str] | None = None
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "komos_source", "webhooks", "serve", "--port", str(self.port)],
            cwd=self.directory,
            env=os.environ
            | {"PYTHONUNBUFFERED": "1"}
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

    def post(self, body: bytes, event: str = "task-run.log", **headers: Any) -> httpx.Response:
        """Sends one signed delivery; headers are put in place of the usual ones."""
        signed = signed_headers(SECRET, event, body)
        return httpx.post(
            f"{self.url}/webhooks/komos",
            content=body,
            headers=signed | {name.replace("_", "-"): value for name, value in headers.items()},
            timeout=60,
        )
