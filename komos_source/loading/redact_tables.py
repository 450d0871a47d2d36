"""``komos redact``: redacts what was stored before there were rules, or with other rules.

Table by table, and within a table in batches, each of which is one transaction. What has been
redacted does not change when it is redacted again: a process that is killed leaves nothing half
done, and the next call finds what is left.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from komos_source import settings
from komos_source.analytics.file_copy import write_copy
from komos_source.decoding.lenient import rejected_id
from komos_source.destinations.pipeline import duckdb_file
from komos_source.exceptions import ConfigurationError, DestinationError
from komos_source.extract.redact_rows import redact_values
from komos_source.load_result import LoadResult
from komos_source.loading import history
from komos_source.loading.maintenance import PipelineOptions, pipeline_without_loads
from komos_source.loading.redact_statements import (
    Part,
    Row,
    rows_after,
    rows_between,
    select_rows,
    update_rows,
)
from komos_source.metrics import LoadMetrics
from komos_source.redaction.config import configured_redactor
from komos_source.redaction.redactor import Redactor
from komos_source.tables import KOMOS_LOADS, TABLES, TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED, Table

_FIRST_ROWS = 100
"""Rows that are read at first, as long as it is not known how long they are."""
_ANYWHERE = Part("TRUE")

Values = Counter[tuple[str, str]]
"""Numbers of values by table and column."""


@dataclass(frozen=True, slots=True)
class RedactResult:
    """What `redact` changed, or would change.

    Attributes:
        values: How many values, by table and column.
        version: The version of the rules.
        dry_run: Whether nothing was changed.
        seconds: How long it took.
        note: What has become of the old bytes; None if nothing was changed.
    """

    values: Mapping[tuple[str, str], int]
    version: str
    dry_run: bool
    seconds: float
    note: str | None = None

    def sentence(self) -> str:
        """The result in one sentence."""
        verb = "would redact" if self.dry_run else "redacted"
        columns = ", ".join(
            f"{number:,} of {table}.{column}" for (table, column), number in self.values.items()
        )
        return (
            f"{verb} {sum(self.values.values()):,} values with the rules of version {self.version}"
            + (f": {columns}" if columns else "")
        )


def redact(
    *,
    dry_run: bool = False,
    **options: Unpack[PipelineOptions],
) -> RedactResult:
    """Redacts loaded data with the configured rules.

    Args:
        dry_run: Count only; nothing is changed.
        options: Where the data is: the arguments of `komos_source.load` of these names, that is
            destination (duckdb or postgres), dataset_name, pipeline_name, pipelines_dir and
            lock_timeout.

    Raises:
        UsageError: An argument cannot be used, or the destination is not supported.
        ConfigurationError: There are no rules, or one cannot be used.
        NotLoadedError: Nothing has been loaded.
        KomosError: The destination cannot be used. Batches that are done stay done.
    """
    metrics = LoadMetrics()
    unsupported = (
        "komos redact changes DuckDB and Postgres, not {destination}: load into a new dataset "
        "there, with the rules, and delete the old one"
    )
    with pipeline_without_loads(unsupported, **options) as (pipeline, locked_database):
        redactor = configured_redactor()
        if redactor.version is None:
            raise ConfigurationError(
                "there are no rules of redaction: set SOURCES__KOMOS__REDACT__RULES, such as to "
                "email,credit_card"
            )
        file = duckdb_file(pipeline)
        with locked_database():
            values = _redact_tables(pipeline, redactor, dry_run=dry_run)
            result = RedactResult(values, redactor.version, dry_run, metrics.seconds)
            if dry_run:
                return result
            with pipeline.sql_client() as client:
                name = client.make_qualified_table_name(KOMOS_LOADS.name)
                # An older version has made the table without it.
                column = "ADD COLUMN IF NOT EXISTS redaction text"
                client.execute_sql(f"ALTER TABLE IF EXISTS {name} {column}")
            load = LoadResult(seconds=result.seconds, notes=(result.sentence(),))
            history.write(pipeline, metrics, load, "redact", redactor.version)
            if file:
                with pipeline.sql_client() as client:
                    client.execute_sql("CHECKPOINT")
        note = _remove_old_bytes(file)
    return RedactResult(values, redactor.version, dry_run, metrics.seconds, note)


def _redact_tables(pipeline: dlt.Pipeline, redactor: Redactor, *, dry_run: bool) -> Values:
    values: Values = Counter()
    by_number = pipeline.destination.destination_name == "duckdb"
    with pipeline.sql_client() as client:
        for table in TABLES:
            if not any(column.redacted for column in table.columns):
                continue
            try:
                # A checkpoint of DuckDB may give rows other numbers: until nothing is found.
                while found := _redact_table(client, table, redactor, by_number, dry_run):
                    values.update(found)
                    if dry_run or not by_number:
                        break
            except DatabaseUndefinedRelation:
                if table is TASK_RUN_LOGS:
                    raise
    return values


def _redact_table(
    client: Any, table: Table, redactor: Redactor, by_number: bool, dry_run: bool
) -> Values:
    """Redacts a table once; returns how many values it found."""
    values: Values = Counter()
    batches = _batches_by_number if by_number else _batches_by_key
    for part, rows in batches(client, table):
        changed = _changed(client, table, rows, redactor, values)
        if changed and not dry_run:
            statement = update_rows(table, part, changed, client.make_qualified_table_name)
            with client.begin_transaction():
                statement.run(client)
    return values


def _batches_by_key(client: Any, table: Table) -> Iterator[tuple[Part, list[Row]]]:
    """The rows of a table in the order of its key, some at a time."""
    limit, last = _FIRST_ROWS, None
    while rows := _read(client, table, rows_after(table, last, limit)):
        yield _ANYWHERE, rows
        last = rows[-1].key
        limit = _next_limit(limit, rows)


def _batches_by_number(client: Any, table: Table) -> Iterator[tuple[Part, list[Row]]]:
    """The rows of a table of DuckDB in the order in which they are stored, some at a time."""
    name = client.make_qualified_table_name(table.name)
    ((last,),) = client.execute_sql(f"SELECT COALESCE(MAX(rowid), -1) FROM {name}")  # noqa: S608 - a constant name
    start, limit = 0, _FIRST_ROWS
    while start <= last:
        part = rows_between(start, start + limit)
        rows = _read(client, table, part)
        yield part, rows
        start += limit
        limit = _next_limit(limit, rows)


def _read(client: Any, table: Table, part: Part) -> list[Row]:
    found = select_rows(table, part, client.make_qualified_table_name).run(client)
    width = len(table.key)
    return [Row(tuple(each[:width]), tuple(each[width:])) for each in found]


def _next_limit(limit: int, rows: Sequence[Row]) -> int:
    """How many rows to read next, if they are as long as the last ones."""
    size = sum(len(value or "") for row in rows for value in row.values)
    fitting = settings.REDACTED_BYTES_AT_ONCE * len(rows) // size if size else limit * 4
    return max(1, min(4 * limit, fitting, settings.REDACTED_ROWS_AT_ONCE))


def _changed(
    client: Any, table: Table, rows: Sequence[Row], redactor: Redactor, values: Values
) -> list[tuple[Row, Row]]:
    """The rows that change, as they are and as they will be; counts their values."""
    columns = [column for column in table.columns if column.redacted]
    redacted = [
        redact_values(table, column, [row.values[place] for row in rows], redactor)
        for place, column in enumerate(columns)
    ]
    changed = []
    for row, new in zip(rows, zip(*redacted, strict=True), strict=True):
        if new != row.values:
            changed.append((row, Row(row.key, new)))
            pairs = zip(columns, row.values, new, strict=True)
            values.update((table.name, column.name) for column, old, is_ in pairs if old != is_)
    if changed and table is TASK_RUN_LOGS_REJECTED:
        return _with_new_ids(client, changed)
    return changed


def _with_new_ids(client: Any, changed: Sequence[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """Rejected entries with the ids that a load would give them now: hashes of what is left."""
    name = client.make_qualified_table_name(TASK_RUN_LOGS_REJECTED.name)
    places = ", ".join(["%s"] * len(changed))
    run_ids = dict(
        client.execute_sql(
            f"SELECT id, run_id FROM {name} WHERE run_id IN "  # noqa: S608 - a constant name
            f"(SELECT run_id FROM {name} WHERE id IN ({places}))",
            *(old.key[0] for old, _ in changed),
        )
    )
    columns = [column.name for column in TASK_RUN_LOGS_REJECTED.columns if column.redacted]
    raw, taken, result = columns.index("raw"), {*run_ids}, []
    for old, new in changed:
        (id_,), before, after = old.key, str(old.values[raw]), str(new.values[raw])
        if before != after:
            taken.discard(id_)
            possible = _possible_ids(id_, run_ids[id_], before, after)
            id_ = next(each for each in possible if each not in taken)
            taken.add(id_)
        result.append((old, Row((id_,), new.values)))
    return result


def _possible_ids(id_: str, run_id: str, before: str, after: str) -> Iterator[str]:
    if id_ == hashlib.sha256(before.encode()).hexdigest():  # of a delivery of another kind
        yield hashlib.sha256(after.encode()).hexdigest()
    for occurrence in itertools.count(1):
        yield rejected_id(run_id, occurrence, after)


def _remove_old_bytes(file: str | None) -> str:
    """Writes a DuckDB file anew, without what its free blocks hold; returns what has become of it.

    Raises:
        DestinationError: It cannot be written.
    """
    if file is None:
        return (
            "Postgres keeps the rows as they were until it has vacuumed the tables, and in its "
            "write-ahead log and backups; `VACUUM FULL` writes the tables anew"
        )
    path = Path(file).resolve()
    try:
        write_copy(path, path, keep_access=True)
    except DestinationError as error:
        raise DestinationError(
            "the texts are redacted, but the DuckDB file may still hold the bytes of what was "
            f"redacted, until `komos redact --apply` can write it anew: {error}"
        ) from error
    return "the DuckDB file has been written anew, without the bytes of what was redacted"
