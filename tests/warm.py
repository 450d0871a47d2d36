"""Python processes that have imported beforehand what a load needs: forks of one that has.

The imports take a second, and the suite starts hundreds of processes. A process starts as usual on
macOS, where a fork is not safe, if it has a PYTHONPATH of its own, with ``-c``, and where there are
settings files, which are read with the imports.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

_INHERITED = ("PATH", "HOME", "PYTHONPATH", "LANG", "TZ")
_REQUEST = 1 << 20
"""Bytes; more than arguments and environment ever are."""


def start(command: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> Started:
    """Starts Python with these arguments, and pipes for what it writes."""
    alike = env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    settings = (cwd / ".dlt").exists()
    if sys.platform == "linux" and alike and command[0] != "-c" and not settings:
        return Process(command, cwd, env)
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    command: tuple[str, ...], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Waits for the end of such a process."""
    process = start(command, cwd, env)
    output, error = process.communicate(timeout=120)
    assert process.returncode is not None
    return subprocess.CompletedProcess(command, process.returncode, output, error)


class Process:
    """What tests use of `subprocess.Popen`."""

    def __init__(self, command: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        request = {"command": command, "cwd": str(cwd), "env": dict(env)}
        reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
        self.stdout, self.stderr, self._ended = map(os.fdopen, reads)
        socket.send_fds(_parent(), [json.dumps(request).encode()], writes)
        for descriptor in writes:
            os.close(descriptor)
        self.pid = int(self._ended.readline())

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._ended.read()))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Reads both pipes to their ends."""
        read = {self.stdout: "", self.stderr: ""}
        readers = [
            threading.Thread(target=lambda file: read.update({file: file.read()}), args=(file,))
            for file in read
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                self.kill()
                raise subprocess.TimeoutExpired("python", timeout or 0)
        select.select([self._ended], [], [])
        self.poll()
        for file in (self.stdout, self.stderr, self._ended):
            file.close()
        return read[self.stdout], read[self.stderr]


Started = subprocess.Popen[str] | Process


@functools.cache
def _parent() -> socket.socket:
    """The process that forks; ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
    )
    theirs.close()
    return ours


def _serve(requests: socket.socket) -> None:
    """Forks for each request, until there is nobody to make one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, _REQUEST, 3)
        if not request:
            os._exit(0)
        if not os.fork():
            requests.close()
            _run(*descriptors, **json.loads(request))
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _run(
    output: int, error: int, ended: int, command: list[str], cwd: str, env: dict[str, str]
) -> None:
    """Forks once more: the child does the work, and this process tells its id and its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        for descriptor in (output, error):
            os.close(descriptor)
        os.write(ended, f"{child}\n".encode())
        os.write(ended, str(os.waitpid(child, 0)[1]).encode())
        os._exit(0)
    os.close(ended)
    os.dup2(output, 1)
    os.dup2(error, 2)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    module = command[0] == "-m"
    sys.argv = command[module:]
    sys.path[0] = cwd if module else str(Path(command[0]).parent)
    if module:
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    from komos_source.cli import startup

    startup.import_loading()
    sys.path.insert(0, "")
    _serve(socket.socket(fileno=int(sys.argv[1])))
