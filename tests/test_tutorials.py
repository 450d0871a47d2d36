"""Each tutorial, typed into a shell as a reader would: what it says that is printed is printed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_TIMEOUT = 240.0
"""Seconds for one command; machines may be busy."""


@dataclass
class Shell:
    """A bash that runs what is typed, with all output in a file."""

    process: subprocess.Popen[str]
    output: Path
    typed: int = 0

    def run(self, command: str, prints: list[str]) -> None:
        """Types a command; waits for its end and for the lines that it prints, in this order.

        An ellipsis in a line stands for any text.
        """
        assert self.process.stdin is not None
        start, self.typed = len(self.output.read_text()), self.typed + 1
        status = r"echo" if command.endswith("&") else f'echo "[{self.typed}: $?]"'
        self.process.stdin.write(f"{command}\n{status}\n")
        self.process.stdin.flush()
        wanted = [line for line in prints if line.strip() != "…"]
        if not command.endswith("&"):
            wanted.append(f"[{self.typed}: 0]")
        pattern = ".*?".join(".*?".join(map(re.escape, line.split("…"))) for line in wanted)
        deadline = time.monotonic() + _TIMEOUT
        while not re.search(pattern, shown := self.output.read_text()[start:], re.DOTALL):
            ended = re.search(rf"\[{self.typed}: \d+\]", shown)
            assert not ended, f"{command}\nprinted\n{shown}\nnot\n{prints}"
            assert time.monotonic() < deadline, f"{command}\nhas printed\n{shown}"
            time.sleep(0.1)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    output = tmp_path / "output.txt"
    directory = tmp_path / "empty"
    directory.mkdir()
    (directory / "komos_source").symlink_to(ROOT)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SOURCES__", "KOMOS_"))}
    with (
        output.open("w") as file,
        subprocess.Popen(
            ["bash", "-m"],
            cwd=directory,
            env=clean
            | {"PATH": path, "DLT_DATA_DIR": str(tmp_path / "dlt"), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        ) as bash,
    ):
        yield Shell(bash, output)
        started = psutil.Process(bash.pid).children(recursive=True)
        for process in (*started, bash):
            process.kill()


def free_ports(text: str) -> str:
    """The text with each port of a tutorial replaced by a free one."""
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
        socket.create_server(("127.0.0.1", 0)) as third,
    ):
        for port, free in zip(("8765", "8766", "8767"), (first, second, third), strict=True):
            text = text.replace(port, str(free.getsockname()[1]))
    return text


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorial_works_as_written(
    page: Path, shell: Shell, request: pytest.FixtureRequest
) -> None:
    text = free_ports(page.read_text("utf-8"))
    if "postgresql://" in text:
        url = request.getfixturevalue("postgres_url")
        text = text.replace("postgresql://user:password@localhost:5432/database", f"'{url}'")
    steps = 0
    for language, file, block in _BLOCK.findall(text):
        if file:
            (shell.output.parent / "empty" / file).write_text(block)
        elif language == "console":
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, *prints = step.splitlines()
                shell.run(command, prints)
                steps += 1
    assert steps > 5
