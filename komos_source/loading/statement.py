"""A SQL statement of `komos prune` and `komos redact`, with its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Qualified = Callable[[str], str]
"""Returns the qualified, quoted name of a table."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the values of its ``%s``."""

    sql: str
    parameters: Sequence[Any] = ()

    def run(self, client: Any) -> Any:
        """Runs it with a SQL client of dlt; returns the rows, if it has any."""
        return client.execute_sql(self.sql, *self.parameters)
