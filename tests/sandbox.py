"""The steps of the Dockerfile without a container engine: bubblewrap, as an ordinary user.

The root of a sandbox is read-only and holds the system's libraries, Python and what the steps have
made; only the directories of the volume and `/tmp` can be written to.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
_USER = "10001"


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its argument, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        name, _, argument = line.partition(" ")
        yield name, argument.strip()


@dataclass(frozen=True)
class Image:
    """What the Dockerfile makes: `/opt` and `/data` below a directory, and its settings."""

    directory: Path
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        sockets: Path | None = None,
        build: bool = False,
    ) -> subprocess.Popen[str]:
        """Starts a program in a sandbox.

        Args:
            arguments: The program and its arguments.
            environment: Added to the environment of the image.
            sockets: A directory with sockets of a server, which is visible under its own name.
            build: Whether `/opt` can be written to, and the environment is that of the test.
        """
        python = str(Path(sys.base_prefix))
        # A Python of the system has its programs in /usr/bin; this is where others have theirs.
        path = f"{python}/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        binds = [(each, each) for each in (*_SYSTEM, python) if Path(each).exists()]
        binds += [(str(sockets), str(sockets))] if sockets else []
        writable = ["data", "src", "opt"] if build else ["data"]
        binds += [] if build else [(str(self.directory / "opt"), "/opt")]
        command = ["bwrap", "--die-with-parent", "--unshare-user", "--unshare-pid"]
        command += ["--uid", _USER, "--gid", _USER, "--dev", "/dev", "--proc", "/proc"]
        command += ["--tmpfs", "/tmp"]
        for source, target in binds:
            command += ["--ro-bind", source, target]
        for name in writable:
            command += ["--bind", str(self.directory / name), f"/{name}"]
        command += ["--remount-ro", "/", "--chdir", "/src" if build else "/data"]
        settings = {key: value.replace("$PATH", path) for key, value in self.environment.items()}
        inherited = dict(os.environ) if build else {}
        return subprocess.Popen(
            [*command, *arguments],
            env=inherited | {"PATH": path, "HOME": "/tmp"} | settings | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, arguments: Sequence[str], *args: object, **options: object) -> tuple[int, str]:
        """Like `start`; returns the exit code and all that was printed."""
        process = self.start(arguments, *args, **options)  # type: ignore[arg-type] # passed on
        output, _ = process.communicate(timeout=250)
        return process.returncode, output


def build(directory: Path) -> Image:
    """Runs each step of the Dockerfile; skips the test where bubblewrap is missing."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: run .ci/install")
    for name in ("opt", "data", "src"):
        (directory / name).mkdir()
    image = Image(directory, {}, (), ())
    for name, argument in instructions((ROOT / "Dockerfile").read_text()):
        if name == "ENV":
            pairs = dict(each.split("=", 1) for each in shlex.split(argument))
            image = Image(directory, pairs, image.entrypoint, image.command)
        elif name in {"ENTRYPOINT", "CMD"}:
            words = tuple(shlex.split(argument.translate(str.maketrans("[],", "   "))))
            entrypoint, command = (words, ()) if name == "ENTRYPOINT" else (image.entrypoint, words)
            image = Image(directory, image.environment, entrypoint, command)
        elif (name, argument) == ("COPY", ". ."):
            _copy_context(directory / "src")
        elif name == "RUN":
            code, output = image.run(["sh", "-ec", argument], build=True)
            assert code == 0, f"{argument}: {output}"
        elif name == "USER":
            assert argument == f"{_USER}:{_USER}"
        else:
            assert name in {"FROM", "COPY", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK"}
    return image


def _copy_context(target: Path) -> None:
    """Copies what `.dockerignore` lets through: it excludes all and names what is not excluded."""
    excluded, *rest = (ROOT / ".dockerignore").read_text().split()
    assert excluded == "**"
    for name in [each.removeprefix("!") for each in rest if each.startswith("!")]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
