"""What a table is: its columns, key, types and descriptions, for Arrow and for dlt."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
from dlt.common.schema.typing import C_DLT_LOAD_ID

MOMENT = pa.timestamp("us", tz="UTC")
_ARROW_TYPES = {
    "text": pa.string(),
    "json": pa.string(),  # dlt 1.31 refuses ``pa.json_()``
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": MOMENT,
    "date": pa.date32(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        data_type: Its type, as dlt calls it. JSON travels as text.
        description: What it holds: unit, when it is null, where the value comes from.
        required: Whether it is never null.
        redacted: Whether rules of redaction apply to its text, or to each text in its JSON; None
            for what identifies, counts or orders rows.
    """

    name: str
    data_type: Literal["text", "json", "bigint", "double", "bool", "timestamp", "date"]
    description: str
    required: bool = False
    redacted: Literal["text", "json"] | None = None

    def hint(self) -> dict[str, Any]:
        """The column as dlt declares it."""
        precision = {"precision": 6} if self.data_type == "timestamp" else {}
        return {
            "data_type": self.data_type,
            "nullable": not self.required,
            "description": self.description,
            **precision,
        }


LOAD_ID = Column(C_DLT_LOAD_ID, "text", "Id of the dlt load package that wrote the row last.")
"""dlt adds this column to each table. It is declared, too: pipelines of one's own leave it null,
and `komos_source.load` can fill tables that such a pipeline has made."""


@dataclass(frozen=True)
class Table:
    """One table of the dataset.

    Attributes:
        name: Table and resource name.
        description: What a row is.
        key: Primary key; rows merge on it.
        columns: The columns, in order.
        references: By column, the table whose ``id`` it holds. There may be no such row.
        merge_scope: Condition on the rows that a merge replaces, where that of dlt (an EXISTS over
            the key) is slow or, for a key of two columns, not available (ClickHouse, Athena).
            dlt puts the name of the staged rows in place of ``{staging_table}``.
        append: Whether rows are only ever added, not merged.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    references: dict[str, str] = field(default_factory=dict)
    merge_scope: str | None = None
    append: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of what is yielded."""
        return pa.schema(
            [
                pa.field(each.name, _ARROW_TYPES[each.data_type], nullable=not each.required)
                for each in self.columns
            ]
        )

    def empty(self) -> pa.Table:
        """The table without rows; made without arrays, whose first use imports pandas (0.15 s)."""
        return pa.Table.from_batches([], schema=self.schema)

    def from_rows(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Arrow table of rows given as dicts; a missing column is null."""
        return pa.Table.from_pylist(rows, schema=self.schema) if rows else self.empty()

    def hints(self) -> dict[str, Any]:
        """Arguments of `dlt.resource` for this table.

        Every column is declared: one that holds only nulls would not be created otherwise. The
        hints repeat what dlt infers from Arrow, except for JSON, which Arrow has as text.
        """
        return {
            "name": self.name,
            "primary_key": list(self.key),
            "write_disposition": self._disposition(),
            "columns": {each.name: each.hint() for each in (*self.columns, LOAD_ID)},
            "references": [
                {"columns": [name], "referenced_table": table, "referenced_columns": ["id"]}
                for name, table in self.references.items()
            ],
        }

    def _disposition(self) -> str | dict[str, Any]:
        if self.append:
            return "append"
        # delete-insert (dlt's default merge) also removes duplicates inside what is staged;
        # upsert and insert-only do not, and would keep them after a crash.
        disposition = {"disposition": "merge", "strategy": "delete-insert"}
        if self.merge_scope is None:
            return disposition
        return disposition | {"destination_scope": self.merge_scope}
