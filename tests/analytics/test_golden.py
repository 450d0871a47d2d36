"""Each query's text in each dialect, as kept in ``tests/golden``; `make golden` rewrites it."""

from __future__ import annotations

from pathlib import Path

import pytest

from komos_source.analytics.render import DIALECTS, QUERIES, Options, render
from komos_source.exceptions import UsageError

_GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("query", QUERIES)
def test_render_of_each_query_and_dialect_matches_the_golden_file(
    query: str, dialect: str, request: pytest.FixtureRequest
) -> None:
    file = _kept(query, dialect)
    text = render(query, dialect, Options(), "komos.{}".format) + "\n"
    if request.config.getoption("--rewrite-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8"), "run `make golden` and look at what has changed"


def test_golden_files_exist_for_known_queries_only() -> None:
    assert {*_GOLDEN.rglob("*.sql")} == {
        _kept(query, dialect) for dialect in DIALECTS for query in QUERIES
    }


def test_render_of_an_unknown_query_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no query 'node_wealth'"):
        render("node_wealth", "duckdb", Options())


def _kept(query: str, dialect: str) -> Path:
    return _GOLDEN / dialect / f"{query}.sql"
