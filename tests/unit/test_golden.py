"""Each query's text in each dialect, as kept in ``tests/golden``; `make golden` rewrites it."""

from __future__ import annotations

from pathlib import Path

import pytest

import komos_source.analytics
from komos_source.analytics.rendering import DIALECTS, Options, render

_GOLDEN = Path(__file__).parents[1] / "golden"
_QUERIES = sorted(
    file.stem
    for file in Path(komos_source.analytics.__file__).parent.glob("*.sql")
    if file.stem != "macros"
)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("query", _QUERIES)
def test_a_query_reads_as_kept(query: str, dialect: str, request: pytest.FixtureRequest) -> None:
    text = render(query, dialect, Options(), lambda table: f"komos.{table}") + "\n"
    file = _GOLDEN / dialect / f"{query}.sql"
    if request.config.getoption("--rewrite-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8"), "run `make golden` and look at what has changed"


def test_nothing_else_is_kept() -> None:
    kept = {path.relative_to(_GOLDEN).as_posix() for path in _GOLDEN.rglob("*.sql")}
    assert kept == {f"{dialect}/{query}.sql" for dialect in DIALECTS for query in _QUERIES}
