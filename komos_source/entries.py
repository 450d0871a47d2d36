"""A run's log: the answer's bytes in, an Arrow table and the entries that cannot be rows out.

Pure: no I/O, no clock. A body is first tried as what it nearly always is, clean: Arrow's own JSON
reader then makes columns of it without a Python object per entry and without holding the
interpreter's lock, so bodies decode beside each other. Whatever is not clean is read again entry by
entry, so that one odd entry costs nothing but time: it is repaired if that is harmless, else
rejected with the reason. Both ways give the same result for a clean body.

Repaired: characters that no database stores as text (NUL, halves of surrogate pairs, bytes that are
not UTF-8) become U+FFFD. Rejected: an entry that is no object, has no usable id, holds another type
than documented, or repeats an earlier entry's id with other content.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.schemas import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED
from komos_source.text import json_text, storable
from komos_source.timestamps import parse_timestamp

_MOMENT = TASK_RUN_LOGS.schema.field("timestamp").type
_UUID_WIDTH = 36
# A multiplier for each four bytes of a UUID: powers of an odd number, modulo 2 to the 64.
_FACTORS = [np.uint64(pow(0x9E3779B97F4A7C15, n, 2**64)) for n in range(1, _UUID_WIDTH // 4 + 1)]
_YEAR_1 = -62_135_596_800_000_000  # microseconds from 1970 back to the year 1
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


def decode_log(body: bytes | bytearray, run_id: str, seen_at: datetime) -> RunLog:
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


_ENTRY = pa.struct(
    [
        ("id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("level", pa.string()),
        ("message", pa.string()),
        ("nodeId", pa.string()),
    ]
)
# Unknown fields are refused, not inferred: the inferring reader recurses, and dies of a body that
# is nested 100,000 deep (tried with pyarrow 26).
_AS_DOCUMENTED = pa.json.ParseOptions(
    explicit_schema=pa.schema([("runId", pa.string()), ("logEntries", pa.list_(_ENTRY))]),
    unexpected_field_behavior="error",
)


def _decode_clean(body: bytes | bytearray, run_id: str) -> RunLog | None:
    """Decodes a body that is exactly as documented; None if anything about it is not."""
    # The reader accepts NUL in a text, and dies of a body that is just ``null`` (pyarrow 26).
    if not body.startswith(b"{") or b"\\u0000" in body:
        return None
    try:
        answer = pa.json.read_json(
            pa.BufferReader(body),
            # One block: the reader takes what fits into a block as whole objects, one a row.
            read_options=pa.json.ReadOptions(block_size=len(body) + 1, use_threads=False),
            parse_options=_AS_DOCUMENTED,
        )
        answer.validate(full=True)  # that texts are UTF-8: the reader does not look
    except (pa.ArrowInvalid, OverflowError):
        return None
    if answer.num_rows != 1 or answer["logEntries"].null_count:
        return None
    if str(answer["runId"][0]).lower() != run_id.lower():
        return None
    entries = answer["logEntries"].chunk(0).flatten()
    ids, moments, levels, messages, nodes = entries.flatten()
    if entries.null_count or ids.null_count or not _are_distinct(ids) or not _are_in_range(moments):
        return None
    columns = {
        "id": ids,
        "run_id": pa.repeat(run_id, len(ids)),
        "position": pa.arange(0, len(ids)),
        "timestamp": moments.cast(_MOMENT),
        "level": levels,
        "message": messages,
        "node_id": nodes,
        "extra": pa.nulls(len(ids), pa.string()),
    }
    rows = pa.Table.from_arrays(list(columns.values()), schema=TASK_RUN_LOGS.schema)
    return RunLog(run_id, len(ids), rows, TASK_RUN_LOGS_REJECTED.schema.empty_table())


def _are_distinct(ids: pa.Array) -> bool:
    """Whether each id is there once, and none is empty."""
    width = pc.min_max(pc.binary_length(ids))
    if width["min"].as_py() == 0:
        return False
    if width["min"] == width["max"] == pa.scalar(_UUID_WIDTH, pa.int32()) and _differ(ids):
        return True
    return bool(pc.count_distinct(ids).as_py() == len(ids))


def _differ(ids: pa.Array) -> bool:
    """Whether UUIDs differ for certain: whether even their 64-bit hashes do.

    In half the time and a tenth of the memory of counting the texts themselves.
    """
    _, offsets, text = ids.buffers()
    start = np.frombuffer(offsets, np.int32)[ids.offset]
    words = np.frombuffer(text, np.uint32, count=len(ids) * len(_FACTORS), offset=start)
    hashes = np.zeros(len(ids), np.uint64)
    for column, factor in zip(words.reshape(len(ids), -1).T, _FACTORS, strict=True):
        hashes += column * factor
    hashes.sort()
    return bool((hashes[1:] != hashes[:-1]).all())


def _are_in_range(moments: pa.Array) -> bool:
    """Whether all are of years that Python and databases know; the reader itself stops at 9999."""
    earliest = pc.min(moments).cast(pa.int64()).as_py()
    return earliest is None or earliest >= _YEAR_1


def _decode_carefully(body: bytes | bytearray, run_id: str, seen_at: datetime) -> RunLog:
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


def _entries_of(body: bytes | bytearray, run_id: str) -> list[object]:
    try:
        answer = json.loads(body.decode(errors="replace"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise AnswerError("the answer is nested too deeply to be a log") from error
    except ValueError as error:
        raise NotJsonError(
            f"the answer is not JSON ({error}); it begins {bytes(body[:60])!r}"
        ) from error
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
