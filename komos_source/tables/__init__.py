"""The tables: columns, keys, types and descriptions, declared once."""

from __future__ import annotations

import logging

from komos_source.tables.table import MOMENT as MOMENT
from komos_source.tables.table import Column as Column
from komos_source.tables.table import Table as Table

_EXTRA = Column(
    "extra", "json", "Fields that the API documentation does not name; else null.", redacted="json"
)

TASKS = Table(
    "tasks",
    "One row per task that the API lists. A task is a saved automation.",
    key=("id",),
    columns=(
        Column("id", "text", "Id of the task.", required=True),
        Column("name", "text", "Name of the task, as people gave it.", redacted="text"),
        Column("status", "text", "DRAFT, PROCESSING, NEEDS_REVIEW, READY or ERROR."),
        Column(
            "extra", "json", "All other fields of the task, as the API sent them.", redacted="json"
        ),
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
        Column("inputs", "json", "Inputs of the run.", redacted="json"),
        Column("outputs", "json", "Outputs of the run; null before it has any.", redacted="json"),
        Column(
            "logs_url",
            "text",
            "Page of the run in Komos; null if the API gives none.",
            redacted="text",
        ),
        Column("error", "json", "Why the run failed; null if it did not.", redacted="json"),
        Column(
            "cancel_reason",
            "text",
            "Why the run was cancelled; null if it was not.",
            redacted="text",
        ),
        _EXTRA,
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
        Column("message", "text", "The text of the entry.", redacted="text"),
        Column("node_id", "text", "The node that wrote it; null for none."),
        _EXTRA,
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
        Column(
            "detail", "text", "Why it failed, as a sentence; null if it did not.", redacted="text"
        ),
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
        Column("reason", "text", "Why it cannot be a row.", required=True, redacted="text"),
        Column("raw", "text", "The entry as the API sent it.", required=True, redacted="json"),
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
        Column(
            "problems",
            "text",
            "JSON array of sentences; null if there was no problem.",
            redacted="json",
        ),
        Column("load_ids", "text", "JSON array of the ids of its dlt load packages."),
        Column("redaction", "text", "Version of the redaction rules; null if there were none."),
        Column("loading_path", "text", "How rows were merged, such as the direct merge."),
        Column("host", "text", "Name of the machine."),
        Column("pid", "bigint", "Id of the process."),
        Column("komos_source_version", "text", "Version of komos_source."),
        Column("dlt_version", "text", "Version of dlt."),
        Column("duckdb_version", "text", "Version of the DuckDB library."),
    ),
)

# Its rows are not merged: `alerts.store` updates them.
KOMOS_ALERTS = Table(
    "komos_alerts",
    "One row per finding of `komos health --notify` and target that it is sent to.",
    key=("fingerprint",),
    columns=(
        Column("fingerprint", "text", "Hash of kind, subject and target.", required=True),
        Column("kind", "text", "The check that found it.", required=True),
        Column("subject", "text", "What it is about, such as a task and a node.", required=True),
        Column("target", "text", "Scheme, host and a digest of the target.", required=True),
        Column("title", "text", "The finding in a sentence.", required=True, redacted="text"),
        Column("first_seen", "timestamp", "When it was found first, UTC.", required=True),
        Column("last_seen", "timestamp", "When it was found last, UTC.", required=True),
        Column("notified", "timestamp", "When it was last sent, UTC; null before."),
        Column("resolved", "timestamp", "When it was no longer found, UTC; null before."),
    ),
)

TASK_RUN_SHARDS = Table(
    "task_run_shards",
    "One row, only in a dataset that is loaded in shards: their number.",
    key=("buckets",),
    columns=(Column("buckets", "bigint", "Number of shards.", required=True),),
)

PRUNED_RUNS = Table(
    "pruned_runs",
    "One row per run that `komos prune` has deleted: no load brings it back.",
    key=("run_id",),
    columns=(
        Column("run_id", "text", "The run.", required=True),
        Column("task_id", "text", "Its task."),
        Column("created_at", "timestamp", "When it was created, UTC."),
        Column("ended_at", "timestamp", "When it ended, UTC."),
        Column(
            "may_be_listed",
            "bool",
            "Whether it was among the 50 newest runs of its task, so that the API may list it.",
            required=True,
        ),
        Column("pruned_at", "timestamp", "When it was deleted, UTC.", required=True),
    ),
)

NODE_HEALTH_HISTORY = Table(
    "node_health_history",
    "Daily counts of the nodes of runs that `komos prune` has deleted. A day may have several"
    " rows; a row without a node counts the runs of the task.",
    key=(),
    columns=(
        Column("task_id", "text", "The task."),
        Column("day", "date", "The day that the runs started on, in the configured time zone."),
        Column("node_id", "text", "The node; null for the task as a whole."),
        Column("runs", "bigint", "Runs that visited the node.", required=True),
        Column("runs_with_warning", "bigint", "Of them, runs with a warning.", required=True),
        Column("runs_with_error", "bigint", "Of them, runs with an error.", required=True),
        Column("entries", "bigint", "Entries.", required=True),
        Column("warnings", "bigint", "Of them, warnings.", required=True),
        Column("errors", "bigint", "Of them, errors.", required=True),
        Column("first_seen", "timestamp", "Earliest timestamp of an entry, UTC."),
        Column("last_seen", "timestamp", "Latest timestamp of an entry, UTC."),
        Column("first_started_at", "timestamp", "Start of the first of the runs, UTC."),
        Column("last_started_at", "timestamp", "Start of the last of the runs, UTC."),
        Column("all_read", "bigint", "1 if the logs of all these runs were read.", required=True),
        Column("pruned_at", "timestamp", "When the runs were deleted, UTC.", required=True),
    ),
)

ARROW_TABLES = (
    TASKS,
    TASK_RUNS,
    TASK_RUN_LOGS,
    TASK_RUN_LOG_LOADS,
    TASK_RUN_LOGS_REJECTED,
    TASK_RUN_WINDOW_GAPS,
)
_OF_DLT = (*ARROW_TABLES, KOMOS_LOADS, TASK_RUN_SHARDS)
"""Tables that dlt creates and merges."""
TABLES = (*_OF_DLT, KOMOS_ALERTS, PRUNED_RUNS, NODE_HEALTH_HISTORY)


def _is_not_about_hints(record: logging.LogRecord) -> bool:
    """Drops the warning of dlt that hints and Arrow's schema differ.

    They differ in JSON columns, which are text in Arrow (dlt 1.31 refuses ``pa.json_()``), and in
    a column of dlt, which Arrow does not have. Other warnings pass.
    """
    message = record.getMessage()
    return "when merging arrow schema with dlt schema" not in message or not any(
        f"In resource: {table.name}," in message for table in _OF_DLT
    )


logging.getLogger("dlt").addFilter(_is_not_about_hints)
