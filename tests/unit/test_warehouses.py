"""Warehouses that cannot be had for tests: what dlt says of them. No load is run here."""

from __future__ import annotations

from typing import Any

import dlt
import pytest
import sqlglot
from sqlglot import exp

from komos_source import schemas

NOT_RUN_HERE = ["bigquery", "snowflake", "databricks", "redshift", "motherduck", "clickhouse"]


@pytest.fixture(params=NOT_RUN_HERE)
def capabilities(request: pytest.FixtureRequest) -> Any:
    return getattr(dlt.destinations, request.param)().capabilities()


def test_not_run_here_but_dlt_merges_there_by_the_strategy_that_heals_a_crash(
    capabilities: Any,
) -> None:
    wanted = {table.hints()["write_disposition"]["strategy"] for table in schemas.ARROW_TABLES}
    assert wanted <= set(capabilities.supported_merge_strategies)


@pytest.mark.parametrize("table", schemas.ARROW_TABLES, ids=lambda table: table.name)
def test_not_run_here_but_every_column_has_a_type_there(
    capabilities: Any, table: schemas.Table
) -> None:
    mapper = capabilities.get_type_mapper()
    for name, hint in table.hints()["columns"].items():
        found = mapper.to_destination_type({"name": name, **hint}, {"name": table.name})
        parsed = sqlglot.parse_one(found, into=exp.DataType, dialect=capabilities.sqlglot_dialect)
        assert parsed.this != exp.DataType.Type.UNKNOWN, found


def test_not_run_here_but_what_limits_a_merge_is_sql_there(capabilities: Any) -> None:
    scope = schemas.TASK_RUN_LOGS.hints()["write_disposition"]["destination_scope"]
    statement = f"DELETE FROM logs WHERE {scope.format(staging_table='staged')}"
    parsed = sqlglot.parse_one(statement, dialect=capabilities.sqlglot_dialect)
    assert isinstance(parsed, exp.Delete)
    assert {table.name for table in parsed.find_all(exp.Table)} == {"logs", "staged"}
