"""A run's log: the answer's bytes in, an Arrow table and the entries that cannot be rows out.

Pure: no I/O, no clock. A body is first tried as what it nearly always is, clean, and then costs no
Python per entry beyond msgspec's decoder. Whatever is not clean is read again entry by entry, so
that one odd entry costs nothing but time: it is repaired if that is harmless, else rejected with
the reason. Both ways give the same result for a clean body.

Repaired: characters that no database stores as text (NUL, halves of surrogate pairs, bytes that are
not UTF-8) become U+FFFD. Rejected: an entry that is no object, has no usable id, holds another type
than documented, or repeats an earlier entry's id with other content.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.schemas import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED
from komos_source.text import json_text, storable
from komos_source.timestamps import parse_timestamp

_MOMENT = TASK_RUN_LOGS.schema.field("timestamp").type
_YEAR_1 = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), _MOMENT)
_END_OF_YEAR_9999 = pa.scalar(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), _MOMENT)
_FIELDS = frozenset({"id", "timestamp", "level", "message", "nodeId"})


@dataclass(frozen=True, slots=True)
class RunLog:
    """One answer of the logs endpoint, decoded.

    Attributes:
        run_id: The run asked for.
        entries: How many entries the answer held, usable or not.
        rows: The usable ones, in the log's order, as `schemas.TASK_RUN_LOGS`.
        rejected: The others, as `schemas.TASK_RUN_LOGS_REJECTED`.
    """

    run_id: str
    entries: int
    rows: pa.Table
    rejected: pa.Table


def decode_log(body: bytes, run_id: str, seen_at: datetime) -> RunLog:
    """Decodes the answer to ``GET /task-runs/{run_id}/logs``.

    Args:
        body: The answer's body.
        run_id: The run that was asked for.
        seen_at: When the answer was given; noted beside rejected entries.

    Raises:
        NotJsonError: The body is not JSON.
        AnswerError: It is JSON of another shape, or the log of another run.
    """
    return _decode_clean(body, run_id) or _decode_carefully(body, run_id, seen_at)


class _Entry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    timestamp: str | None = None
    level: str | None = None
    message: str | None = None
    nodeId: str | None = None  # noqa: N815 - the API's spelling


class _Answer(msgspec.Struct):
    runId: str  # noqa: N815 - the API's spelling
    logEntries: list[_Entry]  # noqa: N815 - the API's spelling


_decoder = msgspec.json.Decoder(_Answer)


def _decode_clean(body: bytes, run_id: str) -> RunLog | None:
    """Decodes a body that is exactly as documented; None if anything about it is not."""
    if b"\\u0000" in body:
        return None
    try:
        answer = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if answer.runId.lower() != run_id.lower():
        return None
    entries = answer.logEntries
    ids = pa.array([entry.id for entry in entries], pa.string())
    if "" in (entry.id for entry in entries) or pc.count_distinct(ids).as_py() != len(ids):
        return None
    timestamps = _cast_timestamps(pa.array([entry.timestamp for entry in entries], pa.string()))
    if timestamps is None:
        return None
    columns = {
        "id": ids,
        "run_id": pa.repeat(pa.scalar(run_id), len(ids)),
        "position": pa.array(range(len(ids)), pa.int64()),
        "timestamp": timestamps,
        "level": pa.array([entry.level for entry in entries], pa.string()),
        "message": pa.array([entry.message for entry in entries], pa.string()),
        "node_id": pa.array([entry.nodeId for entry in entries], pa.string()),
        "extra": pa.nulls(len(ids), pa.string()),
    }
    rows = pa.Table.from_arrays(list(columns.values()), schema=TASK_RUN_LOGS.schema)
    return RunLog(run_id, len(ids), rows, TASK_RUN_LOGS_REJECTED.schema.empty_table())


def _cast_timestamps(texts: pa.Array) -> pa.Array | None:
    """All of them at once; None if one needs a closer look (no offset, more digits, nonsense)."""
    try:
        moments = pc.cast(texts, _MOMENT)
    except pa.ArrowInvalid:
        return None
    bounds = pc.min_max(moments)
    if bounds["min"].is_valid and not (
        pc.greater_equal(bounds["min"], _YEAR_1).as_py()
        and pc.less_equal(bounds["max"], _END_OF_YEAR_9999).as_py()
    ):
        return None
    return moments


def _decode_carefully(body: bytes, run_id: str, seen_at: datetime) -> RunLog:
    """Decodes any body, entry by entry."""
    entries = _entries_of(body, run_id)
    rows: dict[str, dict[str, Any]] = {}
    accepted: dict[str, object] = {}
    rejected: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for position, entry in enumerate(entries):
        try:
            row = _row(entry)
            if row["id"] in rows:
                if accepted[row["id"]] == entry:
                    continue
                raise _UnusableError("its id is that of an earlier entry with other content")
        except _UnusableError as error:
            raw = json.dumps(entry)
            seen[raw] += 1
            rejected.append(
                {
                    "id": hashlib.sha256(f"{run_id} {seen[raw]} {raw}".encode()).hexdigest(),
                    "run_id": run_id,
                    "position": position,
                    "reason": str(error),
                    "raw": raw,
                    "seen_at": seen_at,
                }
            )
        else:
            rows[row["id"]] = {**row, "run_id": run_id, "position": position}
            accepted[row["id"]] = entry
    return RunLog(
        run_id,
        len(entries),
        TASK_RUN_LOGS.from_rows(list(rows.values())),
        TASK_RUN_LOGS_REJECTED.from_rows(rejected),
    )


def _entries_of(body: bytes, run_id: str) -> list[object]:
    try:
        answer = json.loads(body.decode(errors="replace"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise AnswerError("the answer is nested too deeply to be a log") from error
    except ValueError as error:
        raise NotJsonError(f"the answer is not JSON ({error}); it begins {body[:60]!r}") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("logEntries"), list):
        raise AnswerError("the answer has no list 'logEntries'")
    if str(answer.get("runId")).lower() != run_id.lower():
        raise AnswerError(f"the answer is the log of another run: runId is {answer.get('runId')!r}")
    entries: list[object] = answer["logEntries"]
    return entries


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _UnusableError(Exception):
    """This entry cannot be a row; the message says why."""


def _row(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _UnusableError("the entry is not an object")
    identity = _text(entry, "id")
    if not identity:
        raise _UnusableError("'id' is empty" if identity == "" else "'id' is missing")
    extra = {name: value for name, value in entry.items() if name not in _FIELDS}
    return {
        "id": identity,
        "timestamp": _timestamp(_text(entry, "timestamp")),
        "level": _text(entry, "level"),
        "message": _text(entry, "message"),
        "node_id": _text(entry, "nodeId"),
        "extra": json_text(extra) if extra else None,
    }


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise _UnusableError(f"{field!r} is not a string")
    return None if value is None else str(storable(value))


def _timestamp(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise _UnusableError(f"'timestamp' is not ISO 8601: {error}") from error
