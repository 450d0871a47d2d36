"""The report in a real browser: its content, filters and links."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from komos_source.analytics import open_database
from komos_source.report import write_report
from tests.browser.accessibility import serious_findings
from tests.browser.conftest import CheckedPage, SampleDatabase

_RANKED = ".for-level:visible .ranking tbody tr:visible"


@pytest.fixture(scope="session")
def file(sample: SampleDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(open_database(database=sample.file), file)
    return file


@pytest.fixture
def page(checked: CheckedPage, file: Path) -> Page:
    checked.page.goto(file.as_uri())
    return checked.page


def test_report_shows_all_charts_without_network(checked: CheckedPage, page: Page) -> None:
    assert page.locator("svg.trend:visible").count() >= 6
    assert page.locator(".for-level:visible .ranking .ci:visible").count() == 15
    assert page.locator(".for-level:visible td.cell:visible").count() == 15 * 28
    assert page.locator(".coverage:not(.incidents):not(.tasks) tbody tr:visible").count() == 9
    assert page.locator(".trend:visible .change").count() >= 1
    checked.take_screenshots("report")
    assert checked.hosts == set()


def test_report_is_accessible_in_light_and_dark(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # a literal
        assert serious_findings(page) == []


def test_report_headline_names_the_regression_and_marks_its_day(
    sample: SampleDatabase, page: Page
) -> None:
    assert sample.world.stories is not None
    heading = page.locator("h1").inner_text()
    assert heading.startswith(f"{sample.world.stories.regressed[1]} fails in ")
    regressed = page.locator(".for-level:visible .changes tr", has_text="regressed").first
    assert "extract_orders" in regressed.inner_text()
    assert page.locator(".messages tbody tr", has_text="Consent layer").inner_text().count("new")


def test_report_names_silent_tasks(page: Page) -> None:
    tasks = page.locator(".tasks")
    assert tasks.locator("h2").inner_text() == "1\N{NO-BREAK SPACE}task is silent"
    assert "Legacy import" in tasks.locator("tbody").inner_text()


def test_report_filters_change_the_rows(page: Page) -> None:
    page.locator(".for-level:visible .ranking button.all").click()
    everything = page.locator(_RANKED).count()
    errors = page.locator(".for-level:visible .ranking h2").inner_text()
    page.get_by_text("▲ warnings").click()
    assert page.locator(".for-level:visible .ranking h2").inner_text() != errors
    page.locator("select[name=task]").select_option(label="Price check")
    of_task = page.locator(_RANKED)
    assert 0 < of_task.count() < everything
    assert all("Price check" in text for text in of_task.all_inner_texts())
    page.locator("input[name=find]").fill("wait_")
    assert page.locator(_RANKED).count() == 1
    assert "1 of" in page.locator("output").inner_text()
    page.locator("input[name=find]").fill("no such node")
    assert page.locator(_RANKED).count() == 0


def test_report_click_on_a_node_opens_its_entries(page: Page) -> None:
    page.locator(".for-level:visible .changes a.node", has_text="extract_orders").click()
    dialog = page.locator("dialog:visible")
    assert "Order sync" in dialog.inner_text()
    assert dialog.locator(".entries li").count() >= 4
    assert dialog.locator("svg.trend").count() == 2
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.locator(".for-level:visible .heat a.node").first.click()
    expect(dialog).to_have_count(1)
    page.go_back()
    expect(dialog).to_have_count(0)


def test_report_shows_html_in_data_as_text(page: Page) -> None:
    page.locator("input[name=find]").fill("evil")
    page.locator(".for-level:visible .ranking a.node:visible").click()
    assert "<script>document.title='broken'</script>" in page.locator("dialog:visible").inner_text()
    assert page.title().startswith("Node health")
    assert page.locator("img").count() == 0


def test_report_without_scripts_shows_all_rows(file: Path, checked: CheckedPage) -> None:
    context = checked.page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(_RANKED).count() > 15
    assert not page.locator(".filters").is_visible()
    context.close()


def test_report_in_print_shows_all_rows(page: Page) -> None:
    on_screen = page.locator(_RANKED).count()
    page.emulate_media(media="print")
    expect(page.locator(".filters")).to_be_hidden()
    assert page.locator(_RANKED).count() > on_screen
