"""Logs that are not as documented, read by Python's JSON reader: what of them can be rows, is.

Still in columns, but for the few entries around an odd one. Those are looked at one by one (see
`entry`): an odd entry is repaired if that is harmless, else rejected with the reason, as is one
that repeats an earlier entry's id with other content.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import datetime
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.decoding.columns import are_distinct, are_in_range, hold_nul, rows_at
from komos_source.decoding.documented import ENTRY
from komos_source.decoding.entry import FIELDS, InvalidEntryError, row_of, timestamp_of
from komos_source.decoding.sanitize import json_texts
from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.tables import MOMENT, TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED

_TEXTS = pa.struct([(field.name, pa.string()) for field in ENTRY])
_TOGETHER = 512
"""Entries that become columns together, or are looked at one by one if any of them is odd."""


def parse_leniently(
    text: bytes | bytearray, run_id: str, seen_at: datetime
) -> tuple[int, pa.Table, pa.Table]:
    """Reads any body.

    Returns:
        How many entries it holds, and those that can be rows and those that cannot.

    Raises:
        NotJsonError: The body is not JSON.
        AnswerError: It is JSON of another shape, or the log of another run.
    """
    entries = _entries_of(text, run_id)
    tables = [TASK_RUN_LOGS.schema.empty_table()]
    unusable: dict[int, str] = {}
    for first in range(0, len(entries), _TOGETHER):
        some = entries[first : first + _TOGETHER]
        rows = _as_columns(some, run_id, first)
        tables.append(_one_by_one(some, run_id, first, unusable) if rows is None else rows)
    rows = _each_once(pa.concat_tables(tables), entries, unusable)
    return len(entries), rows, _rejected(unusable, entries, run_id, seen_at)


def _as_columns(entries: list[Any], run_id: str, first: int) -> pa.Table | None:
    """Rows of entries if each can be one as it is; None if any needs a closer look."""
    try:
        ids, moments, *texts = pa.array(entries, _TEXTS).flatten()  # leaves other fields out
        if ids.null_count or pc.any(pc.equal(ids, "")).as_py() or any(map(hold_nul, (ids, *texts))):
            return None
        others = [
            {name: value for name, value in entry.items() if name not in FIELDS}
            for entry in entries
        ]
        extra = [None if text == "{}" else text for text in json_texts(others)]
        places = [(run_id, first, len(ids))]
        return rows_at(places, ids, _moments(moments), *texts, pa.array(extra, pa.string()))
    except (pa.ArrowException, ValueError, OverflowError, RecursionError, InvalidEntryError):
        return None


def _moments(texts: pa.Array) -> pa.Array:
    try:
        moments = texts.cast(MOMENT)
    except pa.ArrowInvalid:  # a time without an offset, digits beyond microseconds
        moments = pa.array(map(timestamp_of, texts.to_pylist()), MOMENT)
    if not are_in_range(moments):
        raise ValueError("a time in a year that Python does not know")
    return moments


def _one_by_one(entries: list[Any], run_id: str, first: int, unusable: dict[int, str]) -> pa.Table:
    """Rows of entries; of the others, `unusable` is told their positions and reasons."""
    rows: list[dict[str, Any]] = []
    for position, entry in enumerate(entries, first):
        try:
            rows.append({**row_of(entry), "run_id": run_id, "position": position})
        except InvalidEntryError as error:
            unusable[position] = str(error)
    return TASK_RUN_LOGS.from_rows(rows)


def _each_once(rows: pa.Table, entries: list[Any], unusable: dict[int, str]) -> pa.Table:
    """The first row of each id; `unusable` is told where an id comes again with other content."""
    if are_distinct(rows["id"].combine_chunks()):
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
