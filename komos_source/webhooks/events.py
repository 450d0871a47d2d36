"""What deliveries bring: entries as rows without a position, and runs to be read. Pure.

A delivery is not trusted to be the newest word about a run, nor to come in order or once. So of its
entries those are loaded that the table does not hold yet, and the run it is about is tracked: the
next look at the API reads its status, and its log, which gives each entry its position. A run's
cursor stays as it is: it tells how much of the log has been read, so what was only pushed is new
to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.decoding.parse import parse_log
from komos_source.exceptions import AnswerError
from komos_source.extract.log_reader import Batch
from komos_source.extract.state import Changes, State, TrackedRun
from komos_source.tables import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED, Table

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spooled

_LOG_EVENT = "task-run.log"
_RUN_EVENTS = "task-run."


Known = Callable[[Table, pa.Table], Set[tuple[str, str]]]
"""Returns run and id of the rows that a table of the destination holds already."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What some deliveries hold.

    Attributes:
        events: Runs that something happened to, other than new entries.
        rows: Entries, each id of a run once, as `schemas.TASK_RUN_LOGS`.
        rejected: What cannot be a row, as `schemas.TASK_RUN_LOGS_REJECTED`.
    """

    events: frozenset[str]
    rows: pa.Table
    rejected: pa.Table

    def new(self, known: Known) -> Pushed:
        """Without what the tables hold already: the rows there may have a position."""
        return Pushed(
            self.events,
            _without(self.rows, known(TASK_RUN_LOGS, self.rows)),
            _without(self.rejected, known(TASK_RUN_LOGS_REJECTED, self.rejected)),
        )


def decode(deliveries: Iterable[Spooled]) -> Pushed:
    """Reads deliveries; of an entry that came more than once the last delivery counts."""
    events: set[str] = set()
    rows = [TASK_RUN_LOGS.schema.empty_table()]
    rejected = [TASK_RUN_LOGS_REJECTED.schema.empty_table()]
    for delivery in deliveries:
        try:
            log = parse_log(delivery.body, delivery.run_id, delivery.received_at)
        except AnswerError:
            if delivery.run_id and _is_run_event(delivery.event):
                events.add(delivery.run_id)
            else:  # kept for whoever knows what it is
                rejected.append(TASK_RUN_LOGS_REJECTED.from_rows([_unknown(delivery)]))
        else:
            rows.append(log.rows)
            rejected.append(log.rejected)
    return Pushed(frozenset(events), _each_once(rows), _each_once(rejected))


def batch(pushed: Pushed, state: State) -> Batch:
    """What is new as rows to load, and the runs to track once they have arrived."""
    to_read = pushed.events.union(
        *(pc.unique(table["run_id"]).to_pylist() for table in (pushed.rows, pushed.rejected))
    )
    changes = Changes(
        tracked={
            run_id: TrackedRun(task_id=None)
            for run_id in to_read
            if run_id and run_id not in state.tracked
        }
    )
    tables = {TASK_RUN_LOGS.name: pushed.rows, TASK_RUN_LOGS_REJECTED.name: pushed.rejected}
    return Batch({name: rows for name, rows in tables.items() if len(rows)}, changes)


def _is_run_event(event: str) -> bool:
    return event.startswith(_RUN_EVENTS) and event != _LOG_EVENT


def _unknown(delivery: Spooled) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(delivery.event.encode() + b"\n" + delivery.body).hexdigest(),
        "run_id": delivery.run_id,
        "reason": f"a webhook {delivery.event!r} that is neither entries nor an event of a run",
        "raw": delivery.body.decode(),
        "seen_at": delivery.received_at,
    }


def _each_once(tables: list[pa.Table]) -> pa.Table:
    """The last row of each id of a run, without positions, which only the whole log gives."""
    table = pa.concat_tables(tables)
    table = table.append_column("place", pa.array(range(len(table)), pa.int64()))
    last = table.group_by(["run_id", "id"]).aggregate([("place", "max")])["place_max"]
    chosen = table.take(last.sort()).drop_columns("place")
    position = chosen.schema.get_field_index("position")
    nothing = pa.nulls(len(chosen), pa.int64())
    return chosen.set_column(position, chosen.schema.field(position), nothing)


def _without(rows: pa.Table, known: Set[tuple[str, str]]) -> pa.Table:
    keys = zip(rows["run_id"].to_pylist(), rows["id"].to_pylist(), strict=True)
    return rows.filter(pa.array([key not in known for key in keys], pa.bool_()))
