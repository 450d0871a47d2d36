"""Writes descriptions of tables, views and columns into the database, as comments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMENT_DIALECTS = ("duckdb", "postgres")
"""Databases with ``COMMENT ON`` for tables, views and their columns."""


def write_comments(
    client: Any, kind: str, name: str, description: str, columns: Mapping[str, str]
) -> None:
    """Comments on a table or view, and on its columns.

    Args:
        client: A SQL client of dlt.
        kind: ``TABLE`` or ``VIEW``.
        name: Its name in the dataset.
        description: What a row is.
        columns: By column, what it holds; each of them exists.
    """
    qualified = client.make_qualified_table_name(name)
    statements = [f"COMMENT ON {kind} {qualified} IS {_literal(description)}"]
    for column, text in columns.items():
        escaped = client.escape_column_name(column)
        statements.append(f"COMMENT ON COLUMN {qualified}.{escaped} IS {_literal(text)}")
    client.execute_many(statements)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
