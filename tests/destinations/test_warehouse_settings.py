"""Warehouses that are not available in tests: what dlt supports of them. No load runs here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dlt
import pytest
import sqlglot
from dlt.common.configuration.specs import BaseConfiguration
from sqlglot import exp

from komos_source import tables
from komos_source.destinations.pipeline import make_pipeline

NOT_RUN_HERE = ["bigquery", "snowflake", "databricks", "redshift", "motherduck", "clickhouse"]


@pytest.fixture(params=NOT_RUN_HERE)
def capabilities(request: pytest.FixtureRequest) -> Any:
    return getattr(dlt.destinations, request.param)().capabilities()


def test_warehouse_supports_the_merge_strategy(
    capabilities: Any,
) -> None:
    wanted = {table.hints()["write_disposition"]["strategy"] for table in tables.ARROW_TABLES}
    assert wanted <= set(capabilities.supported_merge_strategies)


@pytest.mark.parametrize("table", tables.ARROW_TABLES, ids=lambda table: table.name)
def test_warehouse_has_a_type_for_every_column(capabilities: Any, table: tables.Table) -> None:
    mapper = capabilities.get_type_mapper()
    for name, hint in table.hints()["columns"].items():
        found = mapper.to_destination_type({"name": name, **hint}, {"name": table.name})
        parsed = sqlglot.parse_one(found, into=exp.DataType, dialect=capabilities.sqlglot_dialect)
        assert parsed.this != exp.DataType.Type.UNKNOWN, found


def test_warehouse_parses_the_merge_scope(capabilities: Any) -> None:
    scope = tables.TASK_RUN_LOGS.hints()["write_disposition"]["destination_scope"]
    statement = f"DELETE FROM logs WHERE {scope.format(staging_table='staged')}"
    parsed = sqlglot.parse_one(statement, dialect=capabilities.sqlglot_dialect)
    assert isinstance(parsed, exp.Delete)
    assert {table.name for table in parsed.find_all(exp.Table)} == {"logs", "staged"}


DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "destinations.md").read_text("utf-8")
SETTINGS = (DOCS / "destinations" / "configuration.md").read_text("utf-8")
GROUPS = re.findall(
    r"^# (\w+)(.*)\n((?:\w+=.*\n)+)",
    SETTINGS,
    re.MULTILINE,
)


def test_docs_show_the_settings_of_every_destination_in_the_table() -> None:
    promised = PAGE.split("## Why databases and files differ")[0]
    rows = re.findall(r"^\| (`\w+`[^|]*) \|", promised, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert names == {name for name, _, _ in GROUPS}
    assert set(NOT_RUN_HERE) < names


@pytest.mark.parametrize(
    ("name", "lines"),
    [(name, lines) for name, _, lines in GROUPS],
    ids=[each[0] for each in GROUPS],
)
def test_settings_in_the_docs_are_complete_and_accepted_by_dlt(
    name: str, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(line.split("=", 1) for line in lines.splitlines())
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    destination = make_pipeline(name, pipelines_dir=str(tmp_path)).destination
    resolved = destination.configuration(destination.spec()._bind_dataset_name("komos"))
    arrived = set(_values(resolved))
    for variable, value in settings.items():
        if variable.startswith("DESTINATION__"):
            assert set(_parts(value)) <= arrived, variable


def _parts(value: str) -> Iterator[str]:
    """A setting's value; of a URL with credentials, what it is made of."""
    url = urlsplit(value)
    if not (url.username or url.query):
        file = value.removeprefix("duckdb:///")
        yield value if file == value else str(Path(file).resolve())
        return
    yield from filter(None, (url.username, url.password, url.hostname, url.path.lstrip("/")))
    yield from (text for _, text in parse_qsl(url.query))
    if url.port:
        yield str(url.port)


def _values(configuration: BaseConfiguration) -> Iterator[str]:
    """All values of a configuration's fields, but for what of a URL no field has taken."""
    for name, value in configuration.items():
        if isinstance(value, BaseConfiguration):
            yield from _values(value)
        elif name != "query":
            yield str(value).strip()  # dlt ends a key with a line break


def test_extras_in_the_docs_exist() -> None:
    named = re.findall(r"'(dlt|komos-source)\[(\w+)\]'|`(dlt)\[(\w+)\]`", PAGE + SETTINGS)
    assert named
    for package, extra in ((a or c, b or d) for a, b, c, d in named):
        assert extra in (metadata(package).get_all("Provides-Extra") or ()), f"{package}[{extra}]"


@pytest.mark.parametrize("name", ["duckdb", "postgres", "motherduck", "snowflake", "redshift"])
def test_merge_is_one_transaction_where_the_database_supports_it(name: str, tmp_path: Path) -> None:
    pipeline = make_pipeline(name, pipelines_dir=str(tmp_path))
    assert pipeline.destination.capabilities().supports_transactions
