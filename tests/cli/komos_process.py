"""Starts ``komos`` against an emulator, with pipes or on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

from tests import warm
from tests.conftest import LoadEnv

FAST = str(Path(__file__).with_name("fast_komos.py"))


def settings_of_emulator(home: LoadEnv) -> dict[str, str]:
    """Variables of the environment for a command that uses the emulator."""
    return {
        "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
        "SOURCES__KOMOS__BACKOFF": "0.01",
        "DLT_DATA_DIR": str(home.directory / "dlt"),
        "KOMOS_TRACEBACK": "1",
    }


def environment(home: LoadEnv, **variables: str) -> dict[str, str]:
    """The environment of a process that uses the emulator, and no setting of this machine."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KOMOS_", "SOURCES__"))
    }
    return inherited | settings_of_emulator(home) | variables


def start(home: LoadEnv, *arguments: str, **variables: str) -> warm.Started:
    """Starts ``komos`` with pipes."""
    return warm.start((FAST, *arguments), home.directory, environment(home, **variables))


def komos(home: LoadEnv, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``komos`` with pipes."""
    return warm.run((FAST, *arguments), home.directory, environment(home, **variables))


def komos_on_terminal(
    home: LoadEnv,
    *arguments: str,
    width: int = 200,
    on_output: Callable[[str, subprocess.Popen[bytes]], None] = lambda *_: None,
    **variables: str,
) -> tuple[int, str]:
    """Runs ``komos`` on a pseudoterminal.

    Args:
        home: The emulator and the directory.
        arguments: The command.
        width: Columns of the terminal.
        on_output: Called with all output so far, and the process, whenever there is more.
        variables: Variables of the environment.

    Returns:
        The exit code, and what the terminal received.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    terminal = {"TERM": "xterm-256color", "TZ": "UTC", "NO_COLOR": ""}
    process = subprocess.Popen(
        [sys.executable, FAST, *arguments],
        cwd=home.directory,
        env=environment(home, **terminal | variables),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    output = b""
    try:
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal so
            while select.select([leader], [], [], 60)[0] and (piece := os.read(leader, 65_536)):
                output += piece
                on_output(output.decode(errors="replace"), process)
        return process.wait(timeout=60), output.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def without_escapes(text: str) -> str:
    """The text without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
