"""The tables: columns, keys and types, declared once for Arrow and for dlt."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from dlt.common.schema.typing import C_DLT_LOAD_ID

MOMENT = pa.timestamp("us", tz="UTC")
_DATA_TYPES = {"string": "text", "int64": "bigint", "double": "double", "bool": "bool"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the dataset.

    Attributes:
        name: Table and resource name.
        key: Primary key; rows merge on it.
        schema: Arrow schema of what is yielded. JSON columns travel as text.
        json: Names of the columns that hold JSON.
        merge_scope: Condition on the rows that a merge replaces, where that of dlt (an EXISTS over
            the key) is slow or, for a key of two columns, not available (ClickHouse, Athena).
            dlt puts the name of the staged rows in place of ``{staging_table}``.
        append: Whether rows are only ever added, not merged.
    """

    name: str
    key: tuple[str, ...]
    schema: pa.Schema
    json: frozenset[str] = frozenset()
    merge_scope: str | None = None
    append: bool = False

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

        dlt's column with the id of the load is declared, too: pipelines of one's own leave it null,
        and `komos_source.load` can fill tables that such a pipeline has made.
        """
        columns = {field.name: self._hint(field) for field in self.schema}
        return {
            "name": self.name,
            "primary_key": list(self.key),
            "write_disposition": self._disposition(),
            "columns": columns | {C_DLT_LOAD_ID: {"data_type": "text", "nullable": True}},
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

    def _hint(self, field: pa.Field) -> dict[str, Any]:
        hint: dict[str, Any] = {"nullable": field.nullable}
        if field.name in self.json:
            return hint | {"data_type": "json"}
        if pa.types.is_timestamp(field.type):
            return hint | {"data_type": "timestamp", "precision": 6}
        return hint | {"data_type": _DATA_TYPES[str(field.type)]}


_Columns = dict[str, pa.DataType]


def _text(*names: str) -> _Columns:
    return dict.fromkeys(names, pa.string())


def _time(*names: str) -> _Columns:
    return dict.fromkeys(names, MOMENT)


def _integer(*names: str) -> _Columns:
    return dict.fromkeys(names, pa.int64())


def _schema(required: str, columns: _Columns) -> pa.Schema:
    needed = required.split()
    return pa.schema([pa.field(n, kind, nullable=n not in needed) for n, kind in columns.items()])


TASKS = Table(
    "tasks",
    key=("id",),
    json=frozenset({"extra"}),
    schema=_schema("id", _text("id", "name", "status", "extra")),
)

TASK_RUNS = Table(
    "task_runs",
    key=("id",),
    json=frozenset({"inputs", "outputs", "error", "extra"}),
    schema=_schema(
        "id",
        _text("id", "task_id", "status", "trigger_type")
        | _time("created_at", "started_at", "finished_at")
        | _integer("progress_current_step", "progress_steps_total")
        | _text("inputs", "outputs", "logs_url", "error", "cancel_reason", "extra"),
    ),
)

TASK_RUN_LOGS = Table(
    "task_run_logs",
    key=("run_id", "id"),  # the API promises unique ids, but an id met in two runs is two entries
    # The first condition uses an index that begins with run_id. Run ids all have the same length,
    # so that two different keys never give the same text.
    merge_scope="run_id IN (SELECT run_id FROM {staging_table})"
    " AND CONCAT(run_id, id) IN (SELECT CONCAT(run_id, id) FROM {staging_table})",
    json=frozenset({"extra"}),
    schema=_schema(
        "id run_id",
        _text("id", "run_id")
        | _integer("position")
        | _time("timestamp")
        | _text("level", "message", "node_id", "extra"),
    ),
)

TASK_RUN_LOG_LOADS = Table(
    "task_run_log_loads",
    key=("run_id",),
    schema=_schema(
        "run_id settled outcome",
        _text("run_id")
        | _integer("entries")
        | _time("last_timestamp", "checked_at")
        | {"settled": pa.bool_()}
        | _text("outcome")
        | _integer("http_status")
        | _text("detail"),
    ),
)

TASK_RUN_LOGS_REJECTED = Table(
    "task_run_logs_rejected",
    key=("id",),
    schema=_schema(
        "id run_id reason raw",
        _text("id", "run_id") | _integer("position") | _text("reason", "raw") | _time("seen_at"),
    ),
)

TASK_RUN_WINDOW_GAPS = Table(
    "task_run_window_gaps",
    key=("task_id", "detected_at"),
    schema=_schema(
        "task_id detected_at",
        _text("task_id")
        | _time("detected_at", "oldest_visible_at", "newest_known_at")
        | _integer("runs_recovered"),
    ),
)

KOMOS_LOADS = Table(
    "komos_loads",
    key=("id",),
    append=True,
    schema=_schema(
        "id started_at exit_code",
        _text("id", "pipeline_name")
        | _time("started_at", "ended_at")
        | {"seconds": pa.float64()}
        | _integer("exit_code", "runs_seen", "runs_fetched", "entries_loaded", "entries_rejected")
        | _integer("runs_failed", "window_gaps", "requests")
        | _text("problems", "load_ids", "loading_path", "host")
        | _integer("pid")
        | _text("komos_source_version", "dlt_version", "duckdb_version"),
    ),
)
"""One row a load, written by `loading.history`. JSON in it is text: no database takes all of JSON's
types from a plain INSERT."""

TASK_RUN_SHARDS = Table(
    "task_run_shards", key=("buckets",), schema=_schema("buckets", _integer("buckets"))
)
"""One row: how many shards the dataset is loaded in. Only in a dataset that is."""

ARROW_TABLES = (
    TASKS,
    TASK_RUNS,
    TASK_RUN_LOGS,
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS_REJECTED,
    TASK_RUN_WINDOW_GAPS,
)


def _is_not_about_hints(record: logging.LogRecord) -> bool:
    """Drops the warning of dlt that hints and Arrow's schema differ.

    They differ in JSON columns, which are text in Arrow (dlt 1.31 refuses ``pa.json_()``), and in
    a column of dlt, which Arrow does not have. Other warnings pass.
    """
    message = record.getMessage()
    return "when merging arrow schema with dlt schema" not in message or not any(
        f"In resource: {table.name}," in message
        for table in (*ARROW_TABLES, KOMOS_LOADS, TASK_RUN_SHARDS)
    )


logging.getLogger("dlt").addFilter(_is_not_about_hints)
