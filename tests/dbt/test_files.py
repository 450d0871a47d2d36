"""The generated files of the dbt package in ``dbt/models``; `make golden` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dbt.files import files

_MODELS = Path(__file__).parents[2] / "dbt" / "models"
_WRITTEN_BY_HAND = {"exposures.yml"}


@pytest.mark.parametrize("path", files())
def test_file_of_the_dbt_package_is_generated(path: str, request: pytest.FixtureRequest) -> None:
    file, text = _MODELS / path, files()[path]
    if request.config.getoption("--rewrite-golden"):
        file.write_text(text, "utf-8")
    assert file.read_text("utf-8") == text, "run `make golden` and look at what has changed"


def test_dbt_package_has_no_other_models() -> None:
    found = {path.relative_to(_MODELS).as_posix() for path in _MODELS.rglob("*.*")}
    assert found == {*files()} | _WRITTEN_BY_HAND
