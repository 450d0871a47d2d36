"""When a dataset that is loaded from another API than before is reported."""

from __future__ import annotations

import pytest

from komos_source.extract.api_change import mixed_data


@pytest.mark.parametrize(
    ("before", "now", "warns"),
    [
        ("http://127.0.0.1:8765", "https://api.komos.ai", True),
        ("https://api.komos.ai", "http://localhost:8765", True),
        ("http://[::1]:8765", "http://localhost:9000", False),
        ("https://api.komos.ai", "https://proxy.example", False),
        (None, "https://api.komos.ai", False),
    ],
)
def test_mixed_data_is_reported_between_an_api_on_this_machine_and_another(
    before: str | None, now: str, warns: bool
) -> None:
    assert bool(mixed_data(before, now)) is warns
