"""The notebooks as apps in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from komos_source.testing import FakeKomos
from tests.browser.conftest import Made, Watched
from tests.conftest import LoadEnv
from tests.notebooks import app

_PATIENCE = 60_000
"""Milliseconds; the machine may have other things to do."""


@pytest.fixture(scope="module")
def node_health(made: Made) -> Iterator[str]:
    with app("node_health", made.file) as address:
        yield address


def _open(watched: Watched, address: str, until: str) -> Page:
    page = watched.page
    page.set_default_timeout(_PATIENCE)
    expect.set_options(timeout=_PATIENCE)
    page.goto(address)
    page.get_by_text(until).first.wait_for()
    return page


def _heading(page: Page, says: str) -> Locator:
    return page.get_by_role("heading", level=2).filter(has_text=says)


def test_node_health_shows_charts_that_filters_change_and_clicks_lead_to_entries(
    watched: Watched, node_health: str
) -> None:
    page = _open(watched, node_health, "beyond what chance explains")
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
    assert watched.hosts == {node_health.split("/")[2]}
    watched.looks("node_health", height=4500)


def test_the_run_explorer_shows_two_runs_side_by_side(watched: Watched, made: Made) -> None:
    with app("run_explorer", made.file) as address:
        page = _open(watched, address, "Tick one run")
        expect(_heading(page, ": failed after")).to_be_visible()
        page.get_by_label("task").select_option(label="Price check")
        expect(_heading(page, "Price check: failed after")).to_be_visible()
        expect(_heading(page, "Price check: completed after")).to_be_visible()
        expect(page.locator("canvas")).to_have_count(2)
        watched.looks("run_explorer", height=1600)


def test_on_a_missing_database_the_app_says_what_to_run(watched: Watched, tmp_path: Path) -> None:
    with app("node_health", tmp_path / "missing.duckdb") as address:
        page = _open(watched, address, "there is no database")
        expect(page.get_by_text("komos demo").first).to_be_visible()
    assert not (tmp_path / "missing.duckdb").exists()


@pytest.mark.slow
def test_a_notebook_left_open_during_fifty_loads_hinders_none_and_sees_them(
    watched: Watched, home: LoadEnv, world: FakeKomos
) -> None:
    task_id = world.add_task("Orders")

    def load_another_run() -> None:
        run_id = world.add_run(task_id)
        world.append(run_id, {"nodeId": "click"}, {"nodeId": "click", "level": "error"})
        world.finish(run_id, "FAILED")
        assert home.load(lock_timeout=60.0).exit_code == 0

    def ask_again() -> None:
        page.locator("marimo-refresh button").first.click()

    load_another_run()
    with app("node_health", home.file) as address:
        page = _open(watched, address, "click leads")
        runs = page.locator("marimo-stat").first
        for loads in range(5, 55, 5):
            ask_again()
            for _ in range(5):  # while the notebook reads
                load_another_run()
            ask_again()
            expect(runs).to_have_attribute("data-value", f'"{1 + loads}"')
        assert page.locator("marimo-callout-output").count() == 0
        page.close()  # before its server
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 102
