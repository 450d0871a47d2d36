"""The documentation as a site: built strictly, complete, accessible, without requests to others."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.accessibility import serious_findings
from tests.browser.conftest import CheckedPage

ROOT = Path(__file__).parents[2]
_PAGES = [path.relative_to(ROOT / "docs") for path in sorted((ROOT / "docs").rglob("*.md"))]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Logs nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site."""
    directory = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", directory)
    shutil.copytree(ROOT / "docs", directory / "docs")
    zensical = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [zensical, "build", "--strict"], cwd=directory, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    handler = partial(_Quiet, directory=str(directory / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _open(page: Page, site: str, path: Path) -> None:
    address = path.with_suffix("").as_posix().removesuffix("index")
    page.goto(f"{site}{address}/" if address else site, wait_until="networkidle")


def test_first_page_fits_each_width_and_is_accessible(checked: CheckedPage, site: str) -> None:
    checked.page.goto(site, wait_until="networkidle")
    checked.take_screenshots("site")
    assert serious_findings(checked.page) == []


def test_each_page_is_short_in_the_navigation_and_without_requests_to_others(
    checked: CheckedPage, site: str
) -> None:
    checked.page.goto(site, wait_until="networkidle")
    links = checked.page.locator("nav a").evaluate_all("links => links.map(link => link.href)")
    for path in _PAGES:
        _open(checked.page, site, path)
        assert checked.page.url in links
        assert checked.page.locator("h1").count() == 1
        height = checked.page.locator("article").evaluate("article => article.scrollHeight")
        assert height <= 4 * 1000, f"{path} is longer than four screens"
    assert checked.hosts == {site.removeprefix("http://").removesuffix("/")}


def test_llms_txt_names_each_page() -> None:
    text = (ROOT / "docs" / "llms.txt").read_text("utf-8")
    assert [str(path) for path in _PAGES if f"]({path.as_posix()})" not in text] == []
