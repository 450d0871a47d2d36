"""Links to runs."""

from __future__ import annotations

from komos_source.analytics.links import absolute_link


def test_link_is_of_the_web_and_a_relative_one_is_of_the_api() -> None:
    assert absolute_link("https://app.komos.ai/runs/1") == "https://app.komos.ai/runs/1"
    assert absolute_link("/public/v1/x") == "https://api.komos.ai/public/v1/x"
    assert absolute_link("javascript:alert(1)") is None
    assert absolute_link(None) is None
