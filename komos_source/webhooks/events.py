"""Decodes deliveries: entries as rows without a position, and runs to read from the API. Pure.

A delivery may be late, repeated or out of order. So only those of its entries are loaded that the
table does not hold yet, and its run is tracked: the next load that polls the API reads the run's
status and its log, which gives each entry its position. The cursor of the run stays as it is: it
counts what was read from the API, so pushed entries are new to it.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.decoding.parse import parse_log
from komos_source.exceptions import AnswerError
from komos_source.extract.log_reader import Batch
from komos_source.extract.redact_rows import redact_log
from komos_source.extract.state import State, StateChanges, TrackedRun
from komos_source.redaction.redactor import NO_RULES, Redactor
from komos_source.tables import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED, Table
from komos_source.webhooks.redact_deliveries import redact_bodies

if TYPE_CHECKING:
    from komos_source.webhooks.spool_tables import Spooled

_LOG_EVENT = "task-run.log"
_RUN_EVENTS = "task-run."


KnownIds = Callable[[Table, pa.Table], Set[tuple[str, str]]]
"""Returns run id and id of those rows that a table of the destination holds already."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The content of some deliveries.

    Attributes:
        run_ids: Runs with an event other than new entries.
        log_run_ids: Runs with entries, new or not.
        rows: Entries, each id of a run once, as `tables.TASK_RUN_LOGS`.
        rejected: What cannot be a row, as `tables.TASK_RUN_LOGS_REJECTED`.
    """

    run_ids: frozenset[str]
    log_run_ids: frozenset[str]
    rows: pa.Table
    rejected: pa.Table

    def new(self, known: KnownIds) -> Decoded:
        """The same without rows that the tables hold already: those may have a position."""
        return Decoded(
            self.run_ids,
            self.log_run_ids,
            _without(self.rows, known(TASK_RUN_LOGS, self.rows)),
            _without(self.rejected, known(TASK_RUN_LOGS_REJECTED, self.rejected)),
        )


def decode(deliveries: Iterable[Spooled], redactor: Redactor = NO_RULES) -> Decoded:
    """Decodes deliveries, and redacts them as what was read from the API is.

    Of an entry in several deliveries, the last one counts. The receiver may have redacted them
    already, or had other rules.
    """
    run_ids: set[str] = set()
    log_run_ids: set[str] = set()
    rows = [TASK_RUN_LOGS.empty()]
    rejected = [TASK_RUN_LOGS_REJECTED.empty()]
    for delivery in deliveries:
        body = delivery.body.removeprefix(codecs.BOM_UTF8)
        try:
            log = parse_log(body, delivery.run_id, delivery.received_at)
        except AnswerError:
            if delivery.run_id and _is_run_event(delivery.event):
                run_ids.add(delivery.run_id)
            else:
                (body,) = redact_bodies([body], redactor)
                rejected.append(TASK_RUN_LOGS_REJECTED.from_rows([_unknown(delivery, body)]))
        else:
            log = redact_log(log, redactor)
            log_run_ids.add(delivery.run_id)
            rows.append(log.rows)
            rejected.append(log.rejected)
    ids = frozenset(run_ids), frozenset(log_run_ids)
    return Decoded(*ids, _deduplicate(rows), _deduplicate(rejected))


def batch(decoded: Decoded, state: State) -> Batch:
    """The rows to load, and the runs to track once the rows have been loaded."""
    # A load that was killed, or refused in part, left rows of runs that nothing tracks.
    seen = state.lost.keys() | {id_ for each in state.windows.values() for id_ in each.runs}
    to_read = decoded.run_ids.union(
        decoded.log_run_ids - seen,
        *(pc.unique(table["run_id"]).to_pylist() for table in (decoded.rows, decoded.rejected)),
    )
    changes = StateChanges(
        tracked={
            run_id: TrackedRun(task_id=None)
            for run_id in to_read
            if run_id and run_id not in state.tracked
        }
    )
    tables = {TASK_RUN_LOGS.name: decoded.rows, TASK_RUN_LOGS_REJECTED.name: decoded.rejected}
    return Batch({name: rows for name, rows in tables.items() if len(rows)}, changes=changes)


def _is_run_event(event: str) -> bool:
    return event.startswith(_RUN_EVENTS) and event != _LOG_EVENT


def _unknown(delivery: Spooled, body: bytes) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(body).hexdigest(),
        "run_id": delivery.run_id,
        "reason": f"a webhook {delivery.event!r} that is neither entries nor an event of a run",
        "raw": body.decode(),
        "seen_at": delivery.received_at,
    }


def _deduplicate(tables: list[pa.Table]) -> pa.Table:
    """The last row of each id of a run, without positions, which only the whole log gives."""
    table = pa.concat_tables(tables)
    table = table.append_column("index", pa.array(range(len(table)), pa.int64()))
    last = table.group_by(["run_id", "id"]).aggregate([("index", "max")])["index_max"]
    chosen = table.take(last.sort()).drop_columns("index")
    position = chosen.schema.get_field_index("position")
    nulls = pa.nulls(len(chosen), pa.int64())
    return chosen.set_column(position, chosen.schema.field(position), nulls)


def _without(rows: pa.Table, known: Set[tuple[str, str]]) -> pa.Table:
    keys = zip(rows["run_id"].to_pylist(), rows["id"].to_pylist(), strict=True)
    return rows.filter(pa.array([key not in known for key in keys], pa.bool_()))
