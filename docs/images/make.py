"""Takes the pictures of the documentation: `make screenshots`.

A browser shows the report and a notebook of sample data; commands run in a terminal of 100
columns. The sample data is the same each time, but for the times, which end now.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Literal

import pyte
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.style import Style
from rich.text import Text

from komos_source.cli.emulate import RUNS_PER_DAY
from komos_source.testing import Emulator, make_sample_data

IMAGES = Path(__file__).parent
COLUMNS, LINES = 100, 400
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_COLOURS = {"brown": "yellow"}
"""Names of colours that pyte and rich do not share."""


def main() -> None:
    """Takes all pictures."""
    with (
        tempfile.TemporaryDirectory() as name,
        _loaded(Path(name) / "four_days", RUNS_PER_DAY, timedelta(days=4)) as environment,
        _loaded(Path(name) / "some_hours", 10, timedelta(hours=20)) as in_incident,
    ):
        directory, recent = Path(name) / "four_days", Path(name) / "some_hours"
        in_terminal("demo", ["komos", "demo"], directory, environment, last=50)
        in_terminal("health", ["komos", "health"], directory, environment)
        run_id = environment["RUN_ID"]
        in_terminal("logs", ["komos", "logs", run_id, "--follow"], directory, environment)
        subprocess.run(["komos", "report"], cwd=recent, env=in_incident, check=True)
        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
            program = own if Path(own).exists() else next(filter(None, map(shutil.which, CHROMIUM)))
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            history = directory / "komos-demo" / "report.html"
            in_browser(browser, history.as_uri(), "report", height=1150)
            in_browser(browser, history.as_uri(), "report-dark", "dark", height=1150)
            in_browser(browser, (recent / "komos-report.html").as_uri(), "incident")
            with _notebook("run_explorer", directory, environment) as address:
                in_browser(browser, address, "run-explorer", wait_for="canvas")
            browser.close()


@contextmanager
def _notebook(name: str, directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """Serves a notebook; yields its address with the token."""
    command = ["komos", "notebook", name, "--no-browser"]
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        yield next(
            found[0] for line in serving.stdout if (found := re.findall(r"http://\S+", line))
        )
        serving.terminate()


@contextmanager
def _loaded(
    directory: Path, runs_per_day: float, regressed_for: timedelta
) -> Iterator[dict[str, str]]:
    """Yields the environment of a user who has loaded four weeks and watches a new run."""
    directory.mkdir()
    komos = make_sample_data(
        end=datetime.now(UTC), runs_per_day=runs_per_day, regressed_for=regressed_for
    )
    with Emulator(komos) as emulator:
        # Settings of one's own would load into, or send to, somewhere else.
        environment = {name: os.environ[name] for name in os.environ if "__" not in name} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DLT_DATA_DIR": str(directory / "dlt"),
            "SOURCES__KOMOS__API_KEY": emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": emulator.base_url,
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
        }
        load = [str(Path(sys.executable).with_name("komos")), "load"]
        subprocess.run(load, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
        komos.clock.run(10)
        yield environment | {"RUN_ID": komos.start_run()}


def in_terminal(
    name: str, command: list[str], directory: Path, environment: dict[str, str], last: int = LINES
) -> None:
    """Runs a command in a terminal, and writes what that shows in the end as an SVG image."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=directory, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([parent], [], [], 0.5)[0]:
            try:
                stream.feed(os.read(parent, 65536))
            except OSError:  # the terminal is closed once the command has ended
                break
    process.wait()
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    lines = [_line(screen, number) for number in range(LINES)]
    while not lines[-1].plain.strip():
        lines.pop()
    if len(lines) > last:
        console.print("…")
    for line in lines[-last:]:
        console.print(line)
    image = console.export_svg(title="komos_source")
    # Without the fonts of another server.
    image = re.sub(r"@font-face \{.*?\}", "", image, flags=re.DOTALL)
    (IMAGES / f"{name}.svg").write_text(image, "utf-8")


def _line(screen: pyte.Screen, number: int) -> Text:
    """A line of the screen with its colours."""
    text = Text(no_wrap=True)
    cells = [screen.buffer[number][column] for column in range(COLUMNS)]
    for (colour, bold), part in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        known = re.fullmatch(r"[0-9a-f]{6}", colour)
        name = f"#{colour}" if known else _COLOURS.get(colour, colour)
        text.append("".join(cell.data for cell in part), Style(color=name, bold=bold))
    text.rstrip()
    return text


def in_browser(
    browser: Browser,
    address: str,
    name: str,
    scheme: Literal["light", "dark"] = "light",
    height: int = 860,
    wait_for: str | None = None,
) -> None:
    """Takes a picture of the beginning of a page."""
    context = browser.new_context(viewport={"width": 1100, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    if wait_for:
        page.locator(wait_for).first.wait_for(timeout=120_000)
        page.wait_for_timeout(2_000)  # charts are drawn
    page.screenshot(path=IMAGES / f"{name}.png")
    context.close()


if __name__ == "__main__":
    main()
