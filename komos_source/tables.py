"""The tables: columns, keys, types and descriptions, declared once for Arrow and for dlt."""

from __future__ import annotations

import logging
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
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        data_type: Its type, as dlt calls it. JSON travels as text.
        description: What it holds: unit, when it is null, where the value comes from.
        required: Whether it is never null.
    """

    name: str
    data_type: Literal["text", "json", "bigint", "double", "bool", "timestamp"]
    description: str
    required: bool = False

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


TASKS = Table(
    "tasks",
    "One row per task that the API lists. A task is a saved automation.",
    key=("id",),
    columns=(
        Column("id", "text", "Id of the task.", required=True),
        Column("name", "text", "Name of the task, as people gave it."),
        Column("status", "text", "DRAFT, PROCESSING, NEEDS_REVIEW, READY or ERROR."),
        Column("extra", "json", "All other fields of the task, as the API sent them."),
    ),
)

TASK_RUNS = Table(
    "task_runs",
    "One row per run: one execution of a task. Times are those of Komos.",
    key=("id",),
    references={"task_id": "tasks"},
    columns=(
        Column("id", "text", "Id of the run.", required=True),
        Column("task_id", "text", "The task that was run; null if the API does not say."),
        Column("status", "text", "PENDING, RUNNING, COMPLETED, FAILED or CANCELLED."),
        Column("trigger_type", "text", "What started the run: manual, schedule or api."),
        Column("created_at", "timestamp", "When the run was created, UTC."),
        Column("started_at", "timestamp", "When it started, UTC; null before."),
        Column("finished_at", "timestamp", "When it ended, UTC; null before."),
        Column("progress_current_step", "bigint", "Steps done so far; null if not reported."),
        Column("progress_steps_total", "bigint", "Steps in all; null if not reported."),
        Column("inputs", "json", "Inputs of the run."),
        Column("outputs", "json", "Outputs of the run; null before it has any."),
        Column("logs_url", "text", "Page of the run in Komos; null if the API gives none."),
        Column("error", "json", "Why the run failed; null if it did not."),
        Column("cancel_reason", "text", "Why the run was cancelled; null if it was not."),
        Column("extra", "json", "Fields that the API documentation does not name; else null."),
    ),
)

TASK_RUN_LOGS = Table(
    "task_run_logs",
    "One row per log entry. An id that two runs have is two entries.",
    key=("run_id", "id"),  # the API promises unique ids, but an id met in two runs is two entries
    references={"run_id": "task_runs"},
    # The first condition uses an index that begins with run_id. Run ids all have the same length,
    # so that two different keys never give the same text.
    merge_scope="run_id IN (SELECT run_id FROM {staging_table})"
    " AND CONCAT(run_id, id) IN (SELECT CONCAT(run_id, id) FROM {staging_table})",
    columns=(
        Column("id", "text", "Id of the entry within its run.", required=True),
        Column("run_id", "text", "The run that wrote it.", required=True),
        Column(
            "position",
            "bigint",
            "Place in the log of the run, from 0; null for an entry that came by webhook, until the"
            " run is read from the API.",
        ),
        Column("timestamp", "timestamp", "When it was written, UTC; null if the API gives none."),
        Column("level", "text", "info, warning or error; as sent if it is another word."),
        Column("message", "text", "The text of the entry."),
        Column("node_id", "text", "The node that wrote it; null for none."),
        Column("extra", "json", "Fields that the API documentation does not name; else null."),
    ),
)

TASK_RUN_LOG_LOADS = Table(
    "task_run_log_loads",
    "One row per run: how far its log has been loaded.",
    key=("run_id",),
    references={"run_id": "task_runs"},
    columns=(
        Column("run_id", "text", "The run.", required=True),
        Column("entries", "bigint", "Entries in the newest answer of the API."),
        Column("last_timestamp", "timestamp", "The latest timestamp in that answer, UTC."),
        Column("checked_at", "timestamp", "When the log was last requested, UTC."),
        Column("settled", "bool", "Whether no further request is needed.", required=True),
        Column(
            "outcome",
            "text",
            "How the last request ended: ok, not_visible (404), failed (another error) or lost "
            "(failed for good; not requested any more).",
            required=True,
        ),
        Column("http_status", "bigint", "Its HTTP status; null if there was no answer."),
        Column("detail", "text", "Why it failed, as a sentence; null if it did not."),
    ),
)

TASK_RUN_LOGS_REJECTED = Table(
    "task_run_logs_rejected",
    "One row per log entry that cannot be a row of task_run_logs.",
    key=("id",),
    references={"run_id": "task_runs"},
    columns=(
        Column("id", "text", "Hash of the run and the entry.", required=True),
        Column("run_id", "text", "The run whose log holds the entry.", required=True),
        Column("position", "bigint", "Place in that log, from 0; null if it came by webhook."),
        Column("reason", "text", "Why it cannot be a row.", required=True),
        Column("raw", "text", "The entry as the API sent it.", required=True),
        Column("seen_at", "timestamp", "When it was read, UTC."),
    ),
)

TASK_RUN_WINDOW_GAPS = Table(
    "task_run_window_gaps",
    "One row per time that runs of a task may have left the list of 50 runs unseen.",
    key=("task_id", "detected_at"),
    references={"task_id": "tasks"},
    columns=(
        Column("task_id", "text", "The task.", required=True),
        Column("detected_at", "timestamp", "When a load found the gap, UTC.", required=True),
        Column("oldest_visible_at", "timestamp", "Creation of the oldest listed run then, UTC."),
        Column("newest_known_at", "timestamp", "Creation of the newest run known before, UTC."),
        Column("runs_recovered", "bigint", "Runs created in between that came by webhook."),
    ),
)

# JSON in it is text: no database takes all of JSON's types from a plain INSERT.
KOMOS_LOADS = Table(
    "komos_loads",
    "One row per load by `komos load` or `komos_source.load()`, also of those that failed.",
    key=("id",),
    append=True,
    columns=(
        Column("id", "text", "Id of the load.", required=True),
        Column("pipeline_name", "text", "The dlt pipeline; each shard has its own."),
        Column("started_at", "timestamp", "When it started, UTC.", required=True),
        Column("ended_at", "timestamp", "When it ended, UTC."),
        Column("seconds", "double", "How long it took."),
        Column("exit_code", "bigint", "0 done, 1 failed, 3 partly done.", required=True),
        Column("runs_seen", "bigint", "Runs that the API listed, or that were named."),
        Column("runs_fetched", "bigint", "Runs whose logs were read."),
        Column("entries_loaded", "bigint", "Rows of task_run_logs that it wrote."),
        Column("entries_rejected", "bigint", "Rows of task_run_logs_rejected that it wrote."),
        Column("runs_failed", "bigint", "Runs whose logs could not be read."),
        Column("window_gaps", "bigint", "Rows of task_run_window_gaps that it wrote."),
        Column("requests", "bigint", "HTTP requests, repeated ones included."),
        Column("problems", "text", "JSON array of sentences; null if there was no problem."),
        Column("load_ids", "text", "JSON array of the ids of its dlt load packages."),
        Column("loading_path", "text", "How rows were merged, such as the direct merge."),
        Column("host", "text", "Name of the machine."),
        Column("pid", "bigint", "Id of the process."),
        Column("komos_source_version", "text", "Version of komos_source."),
        Column("dlt_version", "text", "Version of dlt."),
        Column("duckdb_version", "text", "Version of the DuckDB library."),
    ),
)

TASK_RUN_SHARDS = Table(
    "task_run_shards",
    "One row, only in a dataset that is loaded in shards: their number.",
    key=("buckets",),
    columns=(Column("buckets", "bigint", "Number of shards.", required=True),),
)

ARROW_TABLES = (
    TASKS,
    TASK_RUNS,
    TASK_RUN_LOGS,
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS_REJECTED,
    TASK_RUN_WINDOW_GAPS,
)
TABLES = (*ARROW_TABLES, KOMOS_LOADS, TASK_RUN_SHARDS)


def _is_not_about_hints(record: logging.LogRecord) -> bool:
    """Drops the warning of dlt that hints and Arrow's schema differ.

    They differ in JSON columns, which are text in Arrow (dlt 1.31 refuses ``pa.json_()``), and in
    a column of dlt, which Arrow does not have. Other warnings pass.
    """
    message = record.getMessage()
    return "when merging arrow schema with dlt schema" not in message or not any(
        f"In resource: {table.name}," in message for table in TABLES
    )


logging.getLogger("dlt").addFilter(_is_not_about_hints)
