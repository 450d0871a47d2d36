"""SQL of `komos redact`, in what DuckDB and Postgres have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komos_source.loading.statement import Qualified, Statement
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


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows of a table, which are read and changed at once.

    Attributes:
        condition: Condition on the table under the name ``stored``.
        parameters: Values of its ``%s``.
        tail: Order and limit.
    """

    condition: str
    parameters: tuple[Any, ...] = ()
    tail: str = ""


def rows_after(table: Table, key: tuple[Any, ...] | None, limit: int) -> Part:
    """The rows behind a key in the order of the keys; the first ones if it is None."""
    names = ", ".join(f"stored.{name}" for name in table.key)
    places = ", ".join(["%s"] * len(table.key))
    condition = f"({names}) > ({places})" if key else "TRUE"
    return Part(condition, key or (), f"ORDER BY {names} LIMIT {limit:d}")


def rows_between(start: int, stop: int) -> Part:
    """The rows of DuckDB with these numbers: an order by key would read the table for each part."""
    return Part("stored.rowid >= %s AND stored.rowid < %s", (start, stop))


def select_rows(table: Table, part: Part, qualified: Qualified) -> Statement:
    """Reads rows: the key, then the columns that are redacted."""
    names = [
        *(f"stored.{name}" for name in table.key),
        *(f"CAST(stored.{each.name} AS text)" for each in table.columns if each.redacted),
    ]
    return Statement(
        f"SELECT {', '.join(names)} FROM {qualified(table.name)} AS stored "  # noqa: S608 - constant names, values are parameters
        f"WHERE {part.condition} {part.tail}",
        part.parameters,
    )


def update_rows(
    table: Table, part: Part, changed: Sequence[tuple[Row, Row]], qualified: Qualified
) -> Statement:
    """Changes rows.

    Args:
        table: The table.
        part: What the rows are among.
        changed: Each row as it was and as it is to be.
        qualified: Returns the qualified name of a table.
    """
    columns = [column for column in table.columns if column.redacted]
    types = {column.name: column.data_type for column in columns}
    # Else Postgres would write each row into each index of the key again.
    if any(before.key != after.key for before, after in changed):
        types |= dict.fromkeys(table.key, "text")
    names = (*table.key, *(column.name for column in columns))
    rows = zip(*(after.key + after.values for _, after in changed), strict=True)
    new = dict(zip(names, rows, strict=True))
    lists = {f"old_{n}": [b.key[i] for b, _ in changed] for i, n in enumerate(table.key)}
    lists |= {f"new_{name}": [*new[name]] for name in types}
    unnested = ", ".join(f"unnest(CAST(%s AS text[])) AS {name}" for name in lists)
    assigned = ", ".join(
        f"{name} = CAST(changed.new_{name} AS {type_})" for name, type_ in types.items()
    )
    same = " AND ".join(f"stored.{name} = changed.old_{name}" for name in table.key)
    return Statement(
        f"UPDATE {qualified(table.name)} AS stored SET {assigned} "  # noqa: S608 - constant names, values are parameters
        f"FROM (SELECT {unnested}) AS changed WHERE {same} AND {part.condition}",
        [*lists.values(), *part.parameters],
    )
