"""The notebooks as apps in a real browser."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from komos_source.testing import FakeKomos
from tests.browser.conftest import EVIL, CheckedPage, SampleDatabase
from tests.conftest import THOROUGH, LoadEnv
from tests.notebooks import app

_TIMEOUT = 200_000
"""Milliseconds; long enough for a busy machine."""


@pytest.fixture(scope="module")
def node_health(sample: SampleDatabase) -> Iterator[str]:
    with app("node_health", sample.file) as address:
        yield address


def _open(checked: CheckedPage, address: str, until: str) -> Page:
    page = checked.page
    page.set_default_timeout(_TIMEOUT)
    expect.set_options(timeout=_TIMEOUT)
    page.goto(address)
    page.get_by_text(until).first.wait_for()
    return page


@contextlib.contextmanager
def _app(checked: CheckedPage, name: str, database: Path) -> Iterator[str]:
    """Serves a notebook; its page is closed before the server, from which it may still fetch."""
    with app(name, database) as address:
        try:
            yield address
        finally:
            checked.page.close()


def _heading(page: Page, text: str) -> Locator:
    return page.get_by_role("heading", level=2).filter(has_text=text)


def test_node_health_filters_change_charts_and_clicks_show_entries(
    checked: CheckedPage, node_health: str
) -> None:
    page = _open(checked, node_health, "more often than chance explains")
    expect(page.locator("canvas")).to_have_count(8)  # six trends, the ranking, the heatmap
    expect(_heading(page, "of the runs that visited it")).to_be_visible()

    # The heatmap's top right square: the first node on the last day, below the legend.
    heatmap = page.locator("marimo-vega canvas").nth(1)
    width = heatmap.evaluate("canvas => canvas.getBoundingClientRect().width")
    heatmap.click(position={"x": width - 20, "y": 72})
    expect(_heading(page, "the newest 200")).to_be_visible()

    page.get_by_label("warnings", exact=True).click()
    expect(_heading(page, "leads: warnings in")).to_be_visible()
    page.get_by_label("task").select_option(label="Price check")
    expect(_heading(page, "wait_prices leads")).to_be_visible()
    assert checked.hosts == {urlsplit(node_health).netloc}
    checked.take_screenshots("node_health", height=4500)


def test_run_explorer_shows_two_runs_side_by_side(
    checked: CheckedPage, sample: SampleDatabase
) -> None:
    with _app(checked, "run_explorer", sample.file) as address:
        page = _open(checked, address, "Tick one run")
        expect(_heading(page, ": failed after")).to_be_visible()
        page.get_by_label("task").select_option(label="Price check")
        expect(_heading(page, "Price check: failed after")).to_be_visible()
        expect(_heading(page, "Price check: completed after")).to_be_visible()
        expect(page.locator("canvas")).to_have_count(2)
        checked.take_screenshots("run_explorer", height=1600)


_CONNECT = """
address => new Promise(resolve => {
  const socket = new WebSocket(address);
  socket.onmessage = event => resolve("read " + event.data);
  socket.onclose = () => resolve("refused");
})
"""


class _OtherSite(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_notebook_refuses_requests_of_another_site(browser: Browser, node_health: str) -> None:
    host = urlsplit(node_health).netloc
    with HTTPServer(("127.0.0.1", 0), _OtherSite) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://evil.example:{server.server_port}/")
        answer = page.evaluate(_CONNECT, f"ws://{host}/ws?session_id=s_evil01")
        context.close()
        server.shutdown()
    assert answer == "refused"
    other_name = httpx.get(f"http://{host}/", headers={"Host": "evil.example"})
    assert (other_name.status_code, other_name.text) == (303, "")


def test_run_explorer_fetches_no_image_that_a_message_names(
    checked: CheckedPage, sample: SampleDatabase
) -> None:
    with _app(checked, "run_explorer", sample.file) as address:
        page = _open(checked, address, "Tick one run")
        page.get_by_label("task").select_option(label=f"Evil {EVIL[:35]}…")
        expect(page.get_by_text("evil.example/pixel.png").first).to_be_visible()
        page.wait_for_load_state("networkidle")  # it has fetched all that it shows
        assert checked.hosts == {urlsplit(address).netloc}


def test_app_of_a_missing_database_names_the_command_to_run(
    checked: CheckedPage, tmp_path: Path
) -> None:
    with _app(checked, "node_health", tmp_path / "missing.duckdb") as address:
        page = _open(checked, address, "there is no database")
        expect(page.get_by_text("komos demo").first).to_be_visible()
    assert not (tmp_path / "missing.duckdb").exists()


@pytest.mark.slow
def test_open_notebook_blocks_no_load_and_shows_them(
    checked: CheckedPage, home: LoadEnv, world: FakeKomos
) -> None:
    task_id = world.add_task("Orders")
    rounds = 10 if THOROUGH else 3

    def load_another_run() -> None:
        run_id = world.add_run(task_id)
        world.append(run_id, {"nodeId": "click"}, {"nodeId": "click", "level": "error"})
        world.finish(run_id, "FAILED")
        assert home.load(lock_timeout=60.0).exit_code == 0

    def read_again() -> None:
        page.locator("marimo-refresh button").first.click()

    load_another_run()
    with _app(checked, "node_health", home.file) as address:
        page = _open(checked, address, "click leads")
        runs = page.locator("marimo-stat").first
        for loads in range(5, 5 * rounds + 1, 5):
            read_again()
            for _ in range(5):  # while the notebook reads
                load_another_run()
            read_again()
            expect(runs).to_have_attribute("data-value", f'"{1 + loads}"')
        # One says that the data is old, and none that the file could not be read.
        expect(page.get_by_text("The data ends").first).to_be_visible()
        assert page.locator("marimo-callout-output").count() == 1
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 10 * rounds + 2
