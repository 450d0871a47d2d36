"""Links to the pages of runs."""

from __future__ import annotations

import pytest

from komos_source.analytics.links import run_link
from komos_source.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("logs_url", "link"),
    [
        ("https://app.komos.ai/runs/1", "https://app.komos.ai/runs/1"),
        ("https://api.komos.ai/public/v1/task-runs/1/logs", None),
        ("/public/v1/task-runs/1/logs", None),
        ("/runs/1", None),
        ("javascript:alert(1)", None),
        ("https:///runs/1", None),
        ("https://[", None),
        ("", None),
        (None, None),
    ],
)
def test_link_without_a_setting_is_only_a_page_of_the_web(
    logs_url: str | None, link: str | None
) -> None:
    assert run_link("1", logs_url) == link


def test_link_with_a_setting_is_that_address_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__RUN_URL", "https://komos.example/runs/{run_id}?tab=log")
    assert run_link("a/b", "https://app.komos.ai/x") == "https://komos.example/runs/a%2Fb?tab=log"


@pytest.mark.parametrize("url", ["https://komos.example", "ftp://x/{run_id}", "/runs/{run_id}"])
def test_link_with_an_unusable_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__RUN_URL", url)
    with pytest.raises(ConfigurationError, match="RUN_URL must be an http or https URL"):
        run_link("1", None)
