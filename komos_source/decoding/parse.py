"""A run's log: the answer's bytes in, an Arrow table and the entries that cannot be rows out.

Pure: no I/O, no clock. A body is first tried as what it nearly always is: one that goes on from
where it was known to be (`heads`) and is clean (`clean`). Whatever is not is read again as a whole,
and with care (`careful`). All ways give the same rows of what they accept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from komos_source.decoding.documented import rows_of
from komos_source.decoding.heads import Head, are_new, body_of
from komos_source.decoding.lenient import parse_leniently
from komos_source.exceptions import AnswerError
from komos_source.tables import TASK_RUN_LOGS_REJECTED

_NONE_REJECTED = TASK_RUN_LOGS_REJECTED.schema.empty_table()


@dataclass(frozen=True, slots=True)
class RunLog:
    """One answer of the logs endpoint, decoded.

    Attributes:
        run_id: The run asked for.
        entries: How many entries the answer held, usable or not; without those of a known head.
        rows: The usable ones, in the log's order, as `schemas.TASK_RUN_LOGS`.
        rejected: The others, as `schemas.TASK_RUN_LOGS_REJECTED`.
        head: What to know the body by when it has grown; None if it is not as documented.
        continues: The body began with the known head, and its entries have been left out.
    """

    run_id: str
    entries: int
    rows: pa.Table
    rejected: pa.Table
    head: Head | None = None
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The answer to ``GET /task-runs/{run_id}/logs``.

    Attributes:
        text: The answer's body.
        run_id: The run that was asked for.
        seen_at: When the answer was given; noted beside rejected entries.
        known: The head of an earlier answer. If the text begins with it, only what follows is
            decoded.
    """

    text: bytes | bytearray
    run_id: str
    seen_at: datetime
    known: Head | None = None


def parse_logs(bodies: Sequence[Body]) -> list[RunLog | AnswerError]:
    """Decodes bodies, together if all are clean: where they are small, that takes half the time.

    Returns:
        For each body its log, or what `parse_log` would raise.
    """
    if len(bodies) > 1 and (logs := _decode_quickly(bodies)):
        return [*logs]
    return [_outcome(body) for body in bodies]


def _outcome(body: Body) -> RunLog | AnswerError:
    try:
        return parse_body(body)
    except AnswerError as error:
        return error


def parse_log(body: bytes | bytearray, run_id: str, seen_at: datetime) -> RunLog:
    """Decodes a body; raises as `parse_body`."""
    return parse_body(Body(body, run_id, seen_at))


def parse_body(body: Body) -> RunLog:
    """Decodes a body.

    Raises:
        NotJsonError: The body is not JSON.
        AnswerError: It is JSON of another shape, or the log of another run.
    """
    whole = replace(body, known=None)
    try:
        for each in (body, whole) if body.known else (whole,):
            if logs := _decode_quickly([each]):
                return logs[0]
        entries, rows, rejected = parse_leniently(body.text, body.run_id, body.seen_at)
        return RunLog(body.run_id, entries, rows, rejected)
    except RecursionError as error:
        raise AnswerError("the answer is nested too deeply to be a log") from error


def _decode_quickly(bodies: Sequence[Body]) -> list[RunLog] | None:
    """Decodes bodies that are clean, or go on clean where they are known; None if any does not."""
    parts = [_Part.of(body) for body in bodies]
    tables = rows_of(
        [part.text for part in parts],
        [part.body.run_id for part in parts],
        [part.head.entries if part.head else 0 for part in parts],
    )
    if tables is None:
        return None
    new, heads = [], []
    for part, rows in zip(parts, tables, strict=True):
        if part.head and part.body.known and len(rows):
            new.append(rows["id"].combine_chunks())
            heads.append((part.body.known, part.body.text))
    if new and not are_new(pa.concat_arrays(new), heads):
        return None
    return [part.log(rows) for part, rows in zip(parts, tables, strict=True)]


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a body has to be parsed.

    Attributes:
        body: All of it.
        text: That part, as the body of a log of its own.
        head: The body's own, if it begins with the known one, but for the number of entries, which
            is that of the known one; None if the part is the whole.
    """

    body: Body
    text: bytes | bytearray
    head: Head | None = None

    @classmethod
    def of(cls, body: Body) -> _Part:
        grown = body.known.grown(body.text) if body.known else None
        if grown is None:
            return cls(body, body.text)
        rest, head = grown
        return cls(body, body_of(body.run_id, rest), head)

    def log(self, rows: pa.Table) -> RunLog:
        """The log that this part is, read as these rows."""
        continues = self.head is not None
        if self.head:
            head: Head | None = replace(self.head, entries=self.head.entries + len(rows))
        else:
            head = Head.of(self.body.text, len(rows))
        return RunLog(self.body.run_id, len(rows), rows, _NONE_REJECTED, head, continues)
