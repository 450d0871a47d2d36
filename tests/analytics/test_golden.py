"""Each query's text in each dialect, as kept; `make golden` rewrites it.

In ``tests/golden``, but for the views' texts for DuckDB: those are shipped, with bare names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from komos_source import analytics
from komos_source.analytics.render import DIALECTS, QUERIES, Options, render
from komos_source.analytics.views import VIEWS
from komos_source.exceptions import UsageError

_GOLDEN = Path(__file__).parents[1] / "golden"
_SHIPPED = Path(analytics.__file__).parent / "duckdb_views"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_as_kept(query: str, dialect: str, request: pytest.FixtureRequest) -> None:
    file = _kept(query, dialect)
    names = "{}" if file.parent == _SHIPPED else "komos.{}"
    text = render(query, dialect, Options(), names.format) + "\n"
    if request.config.getoption("--rewrite-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8"), "run `make golden` and look at what has changed"


def test_nothing_else_is_kept() -> None:
    assert {*_GOLDEN.rglob("*.sql"), *_SHIPPED.iterdir()} == {
        _kept(query, dialect) for dialect in DIALECTS for query in QUERIES
    }


def test_a_query_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="no query 'node_wealth'"):
        render("node_wealth", "duckdb", Options())


def _kept(query: str, dialect: str) -> Path:
    shipped = dialect == "duckdb" and query in VIEWS
    return (_SHIPPED if shipped else _GOLDEN / dialect) / f"{query}.sql"
