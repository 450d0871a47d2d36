"""Fixtures: a real browser, sample data, and pages whose errors fail the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from komos_source.testing import make_sample_data
from komos_source.testing.sample_data import MadeWorld
from tests.warehouse import pipeline_over

_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # another site, served by the test
]
_BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_CONTENT_WIDTH = "Math.max(...[...document.querySelectorAll('html, #App')].map(e => e.scrollWidth))"
_SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"

IMAGE = "https://evil.example/pixel.png?leak"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed after each module: its event loop runs in this thread, in which no other test could
    run one meanwhile.
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
class CheckedPage:
    """A page and its errors.

    Attributes:
        page: Playwright's page.
        errors: Errors on the console, exceptions, and addresses that could not be fetched.
        hosts: Hosts that it sent requests to.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._add_console_error)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(request.url))
        self.page.on("request", self._add_host)

    def _add_console_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location['url']}")

    def _add_host(self, request: Request) -> None:
        scheme, _, rest = request.url.partition("://")
        if scheme in {"http", "https", "ws", "wss"}:
            self.hosts.add(rest.split("/")[0])

    def take_screenshots(self, name: str, height: int = 1000) -> None:
        """Takes screenshots, wide and narrow, light and dark; fails if content overflows the width.

        Args:
            name: Beginning of the names of the files.
            height: Height of the window, for apps that scroll inside it.
        """
        _SCREENSHOTS.mkdir(exist_ok=True)
        for width in (1440, 390):
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.page.wait_for_timeout(300)  # charts follow the window's size
                assert self.page.evaluate(_CONTENT_WIDTH) <= width
                file = _SCREENSHOTS / f"{name}-{width}-{scheme}.png"
                self.page.screenshot(path=file, full_page=True)
        self.page.set_viewport_size({"width": 1440, "height": 1000})
        self.page.emulate_media(color_scheme="light")


@pytest.fixture
def checked(browser: Browser) -> Iterator[CheckedPage]:
    """A new page; the test fails if it has any error."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    checked = CheckedPage(context.new_page())
    yield checked
    context.close()
    assert checked.errors == []


@dataclass(frozen=True)
class SampleDatabase:
    """A DuckDB file with sample data, some of which contains HTML and the URL of an image."""

    file: Path
    world: MadeWorld


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleDatabase:
    directory = tmp_path_factory.mktemp("sample")
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
    return SampleDatabase(directory / "komos_task_run_logs.duckdb", world)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _SCREENSHOTS.exists():
        terminalreporter.write_line(f"screenshots to check: {_SCREENSHOTS}")
