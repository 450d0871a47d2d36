"""A run's log: the answer's bytes in, an Arrow table and the entries that cannot be rows out.

Pure: no I/O, no clock. A body is first tried as what it nearly always is, clean: Arrow's own JSON
reader then makes columns of it without a Python object per entry and without holding the
interpreter's lock, so bodies decode beside each other. Whatever is not clean is read again, with
Python's reader: still in columns, but for the few entries around an odd one. Those are looked at
one by one (see `entry`): an odd entry is repaired if that is harmless, else rejected with the
reason, as is one that repeats an earlier entry's id with other content. All ways give the same rows
of what they accept.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from komos_source.entry import FIELDS, UnusableError, row_of, timestamp_of
from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.heads import Head, body_of
from komos_source.schemas import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED
from komos_source.text import json_texts

_MOMENT = TASK_RUN_LOGS.schema.field("timestamp").type
_UUID_WIDTH = 36
# A multiplier for each four bytes of a UUID: powers of an odd number, modulo 2 to the 64.
_FACTORS = [np.uint64(pow(0x9E3779B97F4A7C15, n, 2**64)) for n in range(1, _UUID_WIDTH // 4 + 1)]
_YEAR_1 = -62_135_596_800_000_000  # microseconds from 1970 back to the year 1
_YEAR_10000 = 253_402_300_800_000_000
_NONE_REJECTED = TASK_RUN_LOGS_REJECTED.schema.empty_table()
_TOGETHER = 512
"""Entries that become columns together, or are looked at one by one if any of them is odd."""


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


def decode_log(
    body: bytes | bytearray, run_id: str, seen_at: datetime, known: Head | None = None
) -> RunLog:
    """Decodes the answer to ``GET /task-runs/{run_id}/logs``.

    Args:
        body: The answer's body.
        run_id: The run that was asked for.
        seen_at: When the answer was given; noted beside rejected entries.
        known: The head of an earlier answer. If the body begins with it, only what follows is
            decoded.

    Raises:
        NotJsonError: The body is not JSON.
        AnswerError: It is JSON of another shape, or the log of another run.
    """
    try:
        if known and (log := _decode_rest(body, run_id, known)):
            return log
        if log := _decode_clean(body, run_id):
            return replace(log, head=Head.of(body, log.entries))
        return _decode_carefully(body, run_id, seen_at)
    except RecursionError as error:
        raise AnswerError("the answer is nested too deeply to be a log") from error


_ENTRY = pa.struct(
    [
        ("id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("level", pa.string()),
        ("message", pa.string()),
        ("nodeId", pa.string()),
    ]
)
_TEXTS = pa.struct([(field.name, pa.string()) for field in _ENTRY])
# Unknown fields are refused, not inferred: the inferring reader recurses, and dies of a body that
# is nested 100,000 deep (tried with pyarrow 26).
_AS_DOCUMENTED = pa.json.ParseOptions(
    explicit_schema=pa.schema([("runId", pa.string()), ("logEntries", pa.list_(_ENTRY))]),
    unexpected_field_behavior="error",
)


def _decode_rest(body: bytes | bytearray, run_id: str, known: Head) -> RunLog | None:
    """Decodes what a body holds beyond a known head; None if it has to be read as a whole."""
    grown = known.grown(body)
    if grown is None:
        return None
    rest, head = grown
    if known.entries and rest:
        if not rest.startswith(b","):
            return None
        rest = rest[1:]
    log = _decode_clean(body_of(run_id, rest), run_id, known.entries)
    if log is None or (rest and not log.entries):
        return None
    if log.entries and not known.lacks(log.rows["id"].combine_chunks(), body):
        return None
    return replace(log, head=replace(head, entries=known.entries + log.entries), continues=True)


def _decode_clean(body: bytes | bytearray, run_id: str, first: int = 0) -> RunLog | None:
    """Decodes a body that is exactly as documented; None if anything about it is not.

    Its first entry is at position `first`.
    """
    if not body.startswith(b"{"):  # the reader dies of a body that is just ``null`` (pyarrow 26)
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
    ids, moments, *texts = entries.flatten()
    if entries.null_count or ids.null_count or not _are_distinct(ids) or not _are_in_range(moments):
        return None
    if any(map(_hold_nul, (ids, *texts))):  # the reader accepts it, databases do not
        return None
    extra = pa.nulls(len(ids), pa.string())
    rows = _rows(run_id, first, ids, moments.cast(_MOMENT), *texts, extra)
    return RunLog(run_id, len(ids), rows, _NONE_REJECTED)


def _rows(run_id: str, first: int, ids: pa.Array, *others: pa.Array) -> pa.Table:
    """Rows of entries that follow each other in a log, the first of them at position `first`."""
    positions = pa.arange(first, first + len(ids))
    return pa.Table.from_arrays(
        [ids, pa.repeat(run_id, len(ids)), positions, *others], schema=TASK_RUN_LOGS.schema
    )


def _hold_nul(texts: pa.Array) -> bool:
    data = texts.buffers()[2]
    return data is not None and not np.frombuffer(data, np.uint8).all()


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
    """Whether all, in UTC, are of years that Python and databases know."""
    found = pc.min_max(moments.cast(pa.int64()))
    earliest, latest = found["min"].as_py(), found["max"].as_py()
    return earliest is None or _YEAR_1 <= earliest <= latest < _YEAR_10000


def _decode_carefully(body: bytes | bytearray, run_id: str, seen_at: datetime) -> RunLog:
    """Decodes any body."""
    entries = _entries_of(body, run_id)
    tables = [TASK_RUN_LOGS.schema.empty_table()]
    unusable: dict[int, str] = {}
    for first in range(0, len(entries), _TOGETHER):
        some = entries[first : first + _TOGETHER]
        rows = _as_columns(some, run_id, first)
        tables.append(_one_by_one(some, run_id, first, unusable) if rows is None else rows)
    rows = _each_once(pa.concat_tables(tables), entries, unusable)
    return RunLog(run_id, len(entries), rows, _rejected(unusable, entries, run_id, seen_at))


def _as_columns(entries: list[Any], run_id: str, first: int) -> pa.Table | None:
    """Rows of entries if each can be one as it is; None if any needs a closer look."""
    try:
        ids, moments, *texts = pa.array(entries, _TEXTS).flatten()  # leaves other fields out
        if (
            ids.null_count
            or pc.any(pc.equal(ids, "")).as_py()
            or any(map(_hold_nul, (ids, *texts)))
        ):
            return None
        others = [
            {name: value for name, value in entry.items() if name not in FIELDS}
            for entry in entries
        ]
        extra = [None if text == "{}" else text for text in json_texts(others)]
        return _rows(run_id, first, ids, _moments(moments), *texts, pa.array(extra, pa.string()))
    except (pa.ArrowException, ValueError, OverflowError, RecursionError, UnusableError):
        return None


def _moments(texts: pa.Array) -> pa.Array:
    try:
        moments = texts.cast(_MOMENT)
    except pa.ArrowInvalid:  # a time without an offset, digits beyond microseconds
        moments = pa.array(map(timestamp_of, texts.to_pylist()), _MOMENT)
    if not _are_in_range(moments):
        raise ValueError("a time in a year that Python does not know")
    return moments


def _one_by_one(entries: list[Any], run_id: str, first: int, unusable: dict[int, str]) -> pa.Table:
    """Rows of entries; of the others, `unusable` is told their positions and reasons."""
    rows: list[dict[str, Any]] = []
    for position, entry in enumerate(entries, first):
        try:
            rows.append({**row_of(entry), "run_id": run_id, "position": position})
        except UnusableError as error:
            unusable[position] = str(error)
    return TASK_RUN_LOGS.from_rows(rows)


def _each_once(rows: pa.Table, entries: list[Any], unusable: dict[int, str]) -> pa.Table:
    """The first row of each id; `unusable` is told where an id comes again with other content."""
    if _are_distinct(rows["id"].combine_chunks()):
        return rows
    firsts: dict[str, int] = {}
    kept = []
    for identity, position in zip(
        *(rows[name].to_pylist() for name in ("id", "position")), strict=True
    ):
        earlier = firsts.setdefault(identity, position)
        kept.append(earlier == position)
        if entries[earlier] != entries[position]:
            unusable[position] = "its id is that of an earlier entry with other content"
    return rows.filter(pa.array(kept))


def _rejected(
    unusable: dict[int, str], entries: list[Any], run_id: str, seen_at: datetime
) -> pa.Table:
    rejected: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for position, reason in sorted(unusable.items()):
        raw = json.dumps(entries[position])
        seen[raw] += 1
        rejected.append(
            {
                "id": hashlib.sha256(f"{run_id} {seen[raw]} {raw}".encode()).hexdigest(),
                "run_id": run_id,
                "position": position,
                "reason": reason,
                "raw": raw,
                "seen_at": seen_at,
            }
        )
    return TASK_RUN_LOGS_REJECTED.from_rows(rejected)


def _entries_of(body: bytes | bytearray, run_id: str) -> list[Any]:
    try:
        answer = json.loads(body.decode(errors="replace"), parse_constant=_refuse_constant)
    except ValueError as error:
        raise NotJsonError(
            f"the answer is not JSON ({error}); it begins {bytes(body[:60])!r}"
        ) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("logEntries"), list):
        raise AnswerError("the answer has no list 'logEntries'")
    if str(answer.get("runId")).lower() != run_id.lower():
        raise AnswerError(f"the answer is the log of another run: runId is {answer.get('runId')!r}")
    entries: list[Any] = answer["logEntries"]
    return entries


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
