"""requirements.lock can be installed on any machine."""

from __future__ import annotations

from pathlib import Path


def test_requirements_lock_pins_versions_and_has_no_urls() -> None:
    lines = (Path(__file__).parents[1] / "requirements.lock").read_text().splitlines()
    pinned = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(pinned) > 50
    assert [line for line in pinned if "==" not in line or "://" in line] == []
