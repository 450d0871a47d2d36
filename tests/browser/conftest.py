"""A real browser, sample data to show in it, and pages that fail their test on any error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from komos_source.testing import make_sample_data
from komos_source.testing.sample_data import MadeWorld
from tests.warehouse import pipeline_over

_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # a foreign page, served by the test
]
_BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_WIDEST = "Math.max(...[...document.querySelectorAll('html, #App')].map(e => e.scrollWidth))"
_SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"

IMAGE = "https://evil.example/pixel.png?leak"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with its module: while it lives, an event loop runs in this thread, and no test beside
    could run one of its own.
    """
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = own if Path(own).exists() else next(filter(None, map(shutil.which, _BROWSERS)), "")
        if not found:
            reason = "no browser: apt-get install chromium, or playwright install chromium"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what went wrong in it.

    Attributes:
        page: Playwright's page.
        errors: What was written to the console as an error, raised, or could not be fetched.
        hosts: Where it fetched from.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(request.url))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location['url']}")

    def _asked(self, request: Request) -> None:
        scheme, _, rest = request.url.partition("://")
        if scheme in {"http", "https", "ws", "wss"}:
            self.hosts.add(rest.split("/")[0])

    def looks(self, name: str, height: int = 1000) -> None:
        """Takes its picture on a screen and a phone, light and dark; nothing may stick out.

        Args:
            name: What the files begin with.
            height: Of the window, for apps that scroll inside it.
        """
        _SCREENSHOTS.mkdir(exist_ok=True)
        for width in (1440, 390):
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.page.wait_for_timeout(300)  # charts follow the window's size
                assert self.page.evaluate(_WIDEST) <= width
                file = _SCREENSHOTS / f"{name}-{width}-{scheme}.png"
                self.page.screenshot(path=file, full_page=True)
        self.page.set_viewport_size({"width": 1440, "height": 1000})
        self.page.emulate_media(color_scheme="light")


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A new page; the test fails if anything went wrong in it."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    watched = Watched(context.new_page())
    yield watched
    context.close()
    assert watched.errors == []


@dataclass(frozen=True)
class Made:
    """A DuckDB file that holds a made history, and where somebody tried to inject something."""

    file: Path
    world: MadeWorld


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("made")
    world = make_sample_data()
    task_id = world.add_task(f"Evil {EVIL}")
    for number in range(6):
        run_id = world.add_run(task_id, created_at=world.clock.now())
        world.append(
            run_id,
            {"level": "warning", "message": f"{number} {EVIL}", "nodeId": f"evil {EVIL}"},
            {"level": "error", "message": EVIL, "nodeId": f"evil {EVIL}"},
            {"level": "error", "message": IMAGE, "nodeId": f"evil {EVIL}"},
        )
        world.finish(run_id, "FAILED")
    with pytest.MonkeyPatch.context() as patch:
        pipeline_over(world, directory, patch)
    file = directory / "komos_task_run_logs.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.executemany(
            "INSERT INTO komos.tasks (id, name) VALUES (?, ?)",
            [[task["id"], task["name"]] for task in world.tasks()],
        )
    return Made(file, world)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _SCREENSHOTS.exists():
        terminalreporter.write_line(f"screenshots to look at: {_SCREENSHOTS}")
