"""Runs ``komos`` in the process of the tests: a process of its own takes a second of imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from komos_source import settings
from komos_source.cli import main, startup
from tests.cli.fast_komos import FAST_SETTINGS
from tests.cli.komos_process import settings_of_emulator
from tests.conftest import LoadEnv

Komos = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def komos_here(
    home: LoadEnv, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Komos:
    """Runs ``komos`` with these arguments; returns its exit code and what it wrote."""
    monkeypatch.setattr(startup, "configure_process", lambda: None)
    monkeypatch.chdir(home.directory)
    for name, value in settings_of_emulator(home).items():
        monkeypatch.setenv(name, value)
    for name, seconds in FAST_SETTINGS.items():
        monkeypatch.setattr(settings, name, seconds)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["komos", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        return subprocess.CompletedProcess(
            arguments, int(ended.value.code or 0), *capfd.readouterr()
        )

    return run
