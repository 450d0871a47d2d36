"""Databases that the SQL tests run on: DuckDB, a real Postgres, and ClickHouse's engine (chdb)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

import duckdb
import psycopg
import pyarrow as pa
import pytest

from komos_source import tables
from komos_source.analytics.render import Options, render

Row = dict[str, Any]

_COUNTS = ("runs", "runs_with_warning", "runs_with_error", "entries", "warnings", "errors")
TABLES = (*tables.ARROW_TABLES, tables.NODE_HEALTH_HISTORY)
_DEFAULTS = {tables.NODE_HEALTH_HISTORY.name: dict.fromkeys(_COUNTS, 0) | {"all_read": 1}}


class Engine(Protocol):
    """A database with the tables of this package."""

    dialect: str

    def fill(self, table: tables.Table, rows: pa.Table) -> None:
        """Replaces the rows of a table."""

    def rows(self, sql: str) -> list[Row]:
        """Creates a view of this text and reads it."""


class DuckDb:
    """DuckDB in memory."""

    dialect = "duckdb"

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})

    def fill(self, table: tables.Table, rows: pa.Table) -> None:
        self.connection.register("given", rows)
        self.connection.execute(f"CREATE OR REPLACE TABLE {table.name} AS FROM given")

    def rows(self, sql: str) -> list[Row]:
        self.connection.execute(f"CREATE OR REPLACE VIEW tested AS {sql}")
        found: list[Row] = self.connection.sql("FROM tested").to_arrow_table().to_pylist()
        return found


class Postgres:
    """A Postgres server; the session's time zone is one that days must not depend on."""

    dialect = "postgres"

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self.connection.execute("SET TIME ZONE 'America/New_York'")
        for table in TABLES:
            columns = ", ".join(postgres_columns(table))
            self.connection.execute(f"CREATE TABLE {table.name} ({columns})")

    def fill(self, table: tables.Table, rows: pa.Table) -> None:
        self.connection.execute(f"TRUNCATE {table.name}")
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {table.name} FROM STDIN") as to:
            for row in rows.to_pylist():
                to.write_row(list(row.values()))

    def rows(self, sql: str) -> list[Row]:
        self.connection.execute("DROP VIEW IF EXISTS tested")
        self.connection.execute(f"CREATE VIEW tested AS {sql}")
        with self.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute("SELECT * FROM tested").fetchall()


def postgres_columns(table: tables.Table) -> list[str]:
    """Names and types of the columns of a table."""
    types = {
        "string": "text",
        "int64": "bigint",
        "double": "double precision",
        "bool": "boolean",
        "date32[day]": "date",
        "timestamp[us, tz=UTC]": "timestamptz",
    }
    return [f"{column.name} {types[str(column.type)]}" for column in table.schema]


class ClickHouse:
    """ClickHouse's engine, with the column types that dlt gives its tables."""

    dialect = "clickhouse"
    _types: Mapping[str, str] = {
        "string": "String",
        "int64": "Int64",
        "bool": "Bool",
        "date32[day]": "Date",
        "timestamp[us, tz=UTC]": "DateTime64(6, 'UTC')",
    }

    def __init__(self) -> None:
        from chdb.session import Session

        self.session = Session()
        self.session.query("CREATE DATABASE komos")
        self.session.query("USE komos")
        for table in TABLES:
            columns = ", ".join(
                f"{c.name} Nullable({kind})" if c.nullable else f"{c.name} {kind}"
                for c in table.schema
                for kind in [self._types[str(c.type)]]
            )
            self.session.query(f"CREATE TABLE {table.name} ({columns}) ENGINE = Memory")

    def fill(self, table: tables.Table, rows: pa.Table) -> None:
        self.session.query(f"TRUNCATE TABLE {table.name}")
        lines = "\n".join(json.dumps(row, default=_clickhouse_time) for row in rows.to_pylist())
        if lines:
            self.session.query(f"INSERT INTO {table.name} FORMAT JSONEachRow {lines}")

    def rows(self, sql: str) -> list[Row]:
        self.session.query(f"CREATE OR REPLACE VIEW tested AS {sql}")
        found: list[Row] = self.session.query("SELECT * FROM tested", "ArrowTable").to_pylist()
        return found


def _clickhouse_time(moment: date) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if isinstance(moment, datetime) else str(moment)


@pytest.fixture(scope="session")
def all_engines(postgres_server: str) -> Iterator[dict[str, Engine]]:
    """Each database once a session."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE sql_tests")
    postgres = Postgres(postgres_server.replace("/postgres?", "/sql_tests?"))
    clickhouse = ClickHouse()
    yield {"duckdb": DuckDb(), "postgres": postgres, "clickhouse": clickhouse}
    postgres.connection.close()
    clickhouse.session.close()


@pytest.fixture(params=["duckdb", "postgres", "clickhouse"])
def engine(request: pytest.FixtureRequest, all_engines: dict[str, Engine]) -> Engine:
    """One after the other, with nothing in its tables."""
    engine = all_engines[request.param]
    fill(engine, {})
    return engine


def fill(engine: Engine, rows: Mapping[str, Sequence[Row]]) -> None:
    """Puts rows into all tables; columns that a row leaves out are null."""
    for table in TABLES:
        defaults = _DEFAULTS.get(table.name, {})
        given = [defaults | dict(row) for row in rows.get(table.name, ())]
        engine.fill(table, table.from_rows(given))


def ask(engine: Engine, name: str, **options: Any) -> list[Row]:
    """What a query answers there."""
    return engine.rows(render(name, engine.dialect, Options(**options)))
