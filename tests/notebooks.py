"""Starts a notebook as an app with ``komos notebook``."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
_START = 60.0
_ADDRESS = re.compile(r"http://\S+\?access_token=[\w-]+")


def environment(directory: Path) -> dict[str, str]:
    """The environment of a process without settings of other databases."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DESTINATION__")}
    return inherited | {"DLT_DATA_DIR": str(directory / "dlt"), "MARIMO_SKIP_UPDATE_CHECK": "1"}


@contextlib.contextmanager
def app(name: str, database: Path) -> Iterator[str]:
    """Serves a notebook; yields the address that it prints, with its token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = database.with_name(f"{name}-{port}.log")
    with (
        log.open("w") as output,
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "komos_source",
                "notebook",
                name,
                "--no-browser",
                "--port",
                str(port),
                "--database",
                str(database),
            ],
            env=environment(database.parent) | {"PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + _START
            while not (printed := _ADDRESS.search(log.read_text())) or not _answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield printed[0]
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/health").is_success
    return False
