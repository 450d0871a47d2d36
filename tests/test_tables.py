"""Descriptions of tables and views: in dlt's schema, in the database and in `docs/tables`."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from komos_source import komos_source
from komos_source.analytics.descriptions import column_descriptions, view_description
from komos_source.analytics.views import VIEWS
from komos_source.tables import ARROW_TABLES, TABLES, Table
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

_PAGES = Path(__file__).parents[1] / "docs"
_INTRODUCTION = """# Tables and views

What `komos load` creates, in one dataset. The same descriptions are comments in DuckDB and
Postgres (`SELECT comment FROM duckdb_columns()`, `\\d+` in psql) and in the schema of dlt. They
are declared in `komos_source/tables/__init__.py` and above each query in
`komos_source/analytics`; these pages are generated from them by `make golden`.

Times are UTC. A column may be null unless it is marked as required. dlt adds `_dlt_load_id`, the
id of the load package that wrote the row last, and the tables `_dlt_loads`, `_dlt_pipeline_state`
and `_dlt_version`.

"""


def diagram() -> str:
    relations = [
        f"    {parent} ||--o{{ {table.name} : {column}"
        for table in TABLES
        for column, parent in table.references.items()
    ]
    return "\n".join(["```mermaid", "erDiagram", *relations, "```"])


def table_page(table: Table) -> str:
    rows = [
        f"| `{each.name}` | {each.data_type}{', required' if each.required else ''} | "
        f"{each.description} |"
        for each in table.columns
    ]
    lines = [f"# {table.name}", "", f"{table.description} Key: `{'`, `'.join(table.key)}`.", ""]
    return "\n".join([*lines, "| column | type | contents |", "|---|---|---|", *rows]) + "\n"


def view_page(view: str) -> str:
    rows = [f"| `{name}` | {text} |" for name, text in column_descriptions(view).items()]
    lines = [f"# {view}", "", f"View. {view_description(view)}", ""]
    return "\n".join([*lines, "| column | contents |", "|---|---|", *rows]) + "\n"


def pages() -> dict[Path, str]:
    """The page of all tables and views, and the page of each."""
    described = {table.name: table.description for table in TABLES}
    described |= {view: view_description(view) for view in VIEWS}
    rows = [f"| [`{name}`](tables/{name}.md) | {text} |" for name, text in described.items()]
    index = "\n".join(["| table or view | contents |", "|---|---|", *rows])
    return (
        {_PAGES / "tables.md": f"{_INTRODUCTION}{index}\n\n{diagram()}\n"}
        | {_PAGES / "tables" / f"{table.name}.md": table_page(table) for table in TABLES}
        | {_PAGES / "tables" / f"{view}.md": view_page(view) for view in VIEWS}
    )


def test_pages_of_tables_are_generated_from_the_descriptions(
    request: pytest.FixtureRequest,
) -> None:
    (_PAGES / "tables").mkdir(exist_ok=True)
    if request.config.getoption("--rewrite-golden"):
        for path, text in pages().items():
            path.write_text(text, "utf-8")
    for path, text in pages().items():
        assert path.read_text("utf-8") == text, "run make golden"
    assert {*(_PAGES / "tables").iterdir()} == pages().keys() - {_PAGES / "tables.md"}


@pytest.mark.parametrize("table", ARROW_TABLES, ids=lambda table: table.name)
def test_schema_of_the_source_describes_each_column_and_relation(table: Table) -> None:
    schema = komos_source(api_key="k").discover_schema().tables[table.name]
    assert all(column["description"] for column in schema["columns"].values())
    assert [each["referenced_table"] for each in schema.get("references", [])] == [
        *table.references.values()
    ]


def described() -> dict[str, dict[str, str]]:
    """Descriptions of columns by table and view."""
    return {
        table.name: {c.name: c.description for c in table.columns} for table in ARROW_TABLES
    } | {view: column_descriptions(view) for view in VIEWS}


def test_load_writes_the_descriptions_into_duckdb_as_comments(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    assert home.load().problems == ()
    for name, columns in described().items():
        found = home.rows(
            f"SELECT column_name, comment FROM duckdb_columns() WHERE table_name = '{name}' "
            "AND column_name NOT LIKE '_dlt%'"
        )
        assert dict(found) == columns


def test_load_writes_the_descriptions_into_postgres_as_comments(
    home: LoadEnv, world: FakeKomos, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    world.append(world.add_run(world.add_task("Orders")), {})
    assert home.load(destination="postgres").problems == ()
    with psycopg.connect(postgres_url) as connection:
        for name, columns in described().items():
            found = connection.execute(
                "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND attname NOT LIKE '\\_dlt%%'",
                [f"komos.{name}"],
            ).fetchall()
            assert dict(found) == columns
