"""SQL of `komos redact`, in what DuckDB and Postgres have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komos_source.loading.prune_statements import Qualified, Statement
from komos_source.tables import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row.

    Attributes:
        key: Its values of the key.
        values: Its values of the columns that are redacted; JSON as text.
    """

    key: tuple[Any, ...]
    values: tuple[str | None, ...]


def select_rows(
    table: Table, after: tuple[Any, ...] | None, limit: int, qualified: Qualified
) -> Statement:
    """Reads rows in the order of their key: the key, then the columns that are redacted.

    Args:
        table: The table.
        after: The key behind which the rows are; None for the first ones.
        limit: Rows at most.
        qualified: Returns the qualified name of a table.
    """
    key = ", ".join(table.key)
    columns = ", ".join(
        f"CAST({column.name} AS text)" for column in table.columns if column.redacted
    )
    places = ", ".join(["%s"] * len(table.key))
    condition = f"WHERE ({key}) > ({places}) " if after else ""
    return Statement(
        f"SELECT {key}, {columns} FROM {qualified(table.name)} {condition}"  # noqa: S608 - constant names, values are parameters
        f"ORDER BY {key} LIMIT %s",
        (*(after or ()), limit),
    )


def update_rows(
    table: Table, changed: Sequence[tuple[Row, Row]], qualified: Qualified
) -> Statement:
    """Changes rows.

    Args:
        table: The table.
        changed: Each row as it was and as it is to be.
        qualified: Returns the qualified name of a table.
    """
    columns = [column for column in table.columns if column.redacted]
    types = {column.name: column.data_type for column in columns}
    # Else Postgres would write each row into each index of the key again.
    if any(before.key != after.key for before, after in changed):
        types |= dict.fromkeys(table.key, "text")
    values = [
        dict(
            zip(
                (*table.key, *(column.name for column in columns)),
                after.key + after.values,
                strict=True,
            )
        )
        for _, after in changed
    ]
    lists = {f"old_{n}": [b.key[i] for b, _ in changed] for i, n in enumerate(table.key)}
    lists |= {f"new_{name}": [each[name] for each in values] for name in types}
    unnested = ", ".join(f"unnest(CAST(%s AS text[])) AS {name}" for name in lists)
    assigned = ", ".join(
        f"{name} = CAST(changed.new_{name} AS {type_})" for name, type_ in types.items()
    )
    same = " AND ".join(f"stored.{name} = changed.old_{name}" for name in table.key)
    return Statement(
        f"UPDATE {qualified(table.name)} AS stored SET {assigned} "  # noqa: S608 - likewise
        f"FROM (SELECT {unnested}) AS changed WHERE {same}",
        list(lists.values()),
    )
