"""Redacts what was read from the API or came by webhook, before anything of it is stored. Pure.

Cursors are not affected: they count entries and compare times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa

from komos_source.api.models import Run, Task
from komos_source.decoding.lenient import rejected_ids
from komos_source.decoding.parse import RunLog
from komos_source.extract.discovery import Discovery
from komos_source.extract.log_reader import Batch
from komos_source.redaction.redactor import Redactor
from komos_source.tables import (
    TABLES,
    TASK_RUN_LOGS,
    TASK_RUN_LOGS_REJECTED,
    TASK_RUNS,
    TASKS,
    Column,
    Table,
)
from komos_source.text import json_text

Record = TypeVar("Record", Task, Run)

_BY_NAME = {table.name: table for table in TABLES}


def redact_values(table: Table, column: Column, values: Sequence[Any], redactor: Redactor) -> Any:
    """Values of a column that is redacted: texts, texts of JSON, or None."""
    if column.redacted == "text":
        return redactor.texts(values)
    # An entry that is rejected is spelled alike, whether it was redacted before or is now.
    return redactor.json_texts(values, json.dumps if table is TASK_RUN_LOGS_REJECTED else json_text)


def redact_rows(table: Table, rows: pa.Table, redactor: Redactor) -> pa.Table:
    """Rows of a table, redacted; ids of rejected entries are hashes of what is left of them."""
    if not redactor.rules or not len(rows):
        return rows
    for column in table.columns:
        if column.redacted is None:
            continue
        texts = rows[column.name]
        if column.redacted == "text":
            redacted = redactor.column(texts)
        elif texts.null_count == len(texts):
            continue
        else:
            values = redact_values(table, column, texts.to_pylist(), redactor)
            redacted = pa.array(values, texts.type)
        rows = _with_column(rows, column.name, redacted)
    if table is TASK_RUN_LOGS_REJECTED:
        ids = rejected_ids(rows["run_id"].to_pylist(), rows["raw"].to_pylist())
        rows = _with_column(rows, "id", pa.array(ids, pa.string()))
    return rows


def _with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), values)


def redact_log(log: RunLog, redactor: Redactor) -> RunLog:
    """A log, redacted."""
    return replace(
        log,
        rows=redact_rows(TASK_RUN_LOGS, log.rows, redactor),
        rejected=redact_rows(TASK_RUN_LOGS_REJECTED, log.rejected, redactor),
    )


def redact_batch(batch: Batch, redactor: Redactor) -> Batch:
    """A batch of logs, each read once, redacted."""
    redacted = {
        name: redact_rows(_BY_NAME[name], rows, redactor) for name, rows in batch.tables.items()
    }
    return replace(batch, tables=redacted)


def redact_discovery(found: Discovery, redactor: Redactor) -> Discovery:
    """Tasks and runs, redacted."""
    if not redactor.rules:
        return found
    listed = [run for runs in found.listed.values() for run in runs]
    runs = iter(_redact_records(TASK_RUNS, [*listed, *found.looked_up], redactor))
    return replace(
        found,
        tasks=_redact_records(TASKS, found.tasks, redactor),
        listed={id_: [next(runs) for _ in runs_] for id_, runs_ in found.listed.items()},
        looked_up=[*runs],
        problems=redactor.texts(found.problems),
    )


def _redact_records(table: Table, records: Sequence[Record], redactor: Redactor) -> list[Record]:
    redacted = list(records)
    for column in table.columns:
        if column.redacted:
            old: list[Any] = [getattr(record, column.name) for record in redacted]
            new = redact_values(table, column, old, redactor)
            redacted = [
                replace(record, **{column.name: after}) if after is not before else record
                for record, before, after in zip(redacted, old, new, strict=True)
            ]
    return redacted
