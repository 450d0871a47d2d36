"""Reads logs that are not exactly as documented, entry by entry.

An entry with an unusual value is repaired where that is harmless: characters that no database
stores become U+FFFD, an undocumented field goes into ``extra``, a zero time becomes null. Otherwise
that entry is rejected with the reason, and so is one that repeats an earlier entry's id with other
content. The other entries of the log are not affected.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.settings import MAX_ID_LENGTH
from komos_source.tables import TASK_RUN_LOGS, TASK_RUN_LOGS_REJECTED
from komos_source.text import json_text, parse_integer, storable_text
from komos_source.timestamps import parse_optional_timestamp

_DOCUMENTED = frozenset({"id", "timestamp", "level", "message", "nodeId"})


class InvalidEntryError(Exception):
    """An entry cannot be a row; the message says why."""


def read_leniently(
    body: bytes | bytearray, run_id: str, seen_at: datetime
) -> tuple[int, pa.Table, pa.Table]:
    """How many entries a body holds, those that can be rows, and those that cannot."""
    entries = _entries(body, run_id)
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[int, str]] = []
    first_positions: dict[str, int] = {}
    for position, entry in enumerate(entries):
        try:
            row = _row(entry, run_id, position)
            first = first_positions.setdefault(row["id"], position)
            if first == position:
                rows.append(row)
            # As JSON, because 1 and true are equal in Python.
            elif _canonical_json(entries[first]) != _canonical_json(entry):
                raise InvalidEntryError("its id is that of an earlier entry with other content")
        except InvalidEntryError as error:
            rejected.append((position, str(error)))
        except RecursionError:
            rejected.append((position, "it is nested too deeply"))
    rejected_table = _rejected_table(rejected, entries, run_id, seen_at)
    return len(entries), TASK_RUN_LOGS.from_rows(rows), rejected_table


def _entries(body: bytes | bytearray, run_id: str) -> list[Any]:
    try:
        text = body.decode("utf-8-sig", errors="replace")  # skips a byte order mark
        answer = json.loads(text, parse_int=parse_integer)
    except ValueError as error:
        begin = bytes(body[:60])
        raise NotJsonError(f"the answer is not JSON ({error}); it begins {begin!r}") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("logEntries", ""), list | None):
        raise AnswerError("the answer has no list 'logEntries'")
    answered_id = str(answer.get("runId"))
    if answered_id.lower() != run_id.lower():
        raise AnswerError(f"the answer is the log of another run: runId is {answered_id[:60]!r}")
    return answer["logEntries"] or []  # some serializers write null for an empty list


def _row(entry: object, run_id: str, position: int) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidEntryError("the entry is not an object")
    entry_id = _text(entry, "id")
    if not entry_id:
        raise InvalidEntryError("'id' is missing" if entry_id is None else "'id' is empty")
    if len(entry_id) > MAX_ID_LENGTH:
        raise InvalidEntryError(f"'id' is longer than {MAX_ID_LENGTH} characters")
    extra = {name: value for name, value in entry.items() if name not in _DOCUMENTED}
    return {
        "id": entry_id,
        "run_id": run_id,
        "position": position,
        "timestamp": _timestamp(_text(entry, "timestamp")),
        "level": _text(entry, "level"),
        "message": _text(entry, "message"),
        "node_id": _text(entry, "nodeId"),
        "extra": json_text(extra) if extra else None,
    }


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEntryError(f"{field!r} is not a string")
    return storable_text(value)


def _timestamp(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_optional_timestamp(text)
    except ValueError as error:
        raise InvalidEntryError(f"'timestamp' is not ISO 8601: {error}") from error


def _canonical_json(entry: object) -> str:
    return json.dumps(entry, sort_keys=True)


def _rejected_table(
    rejected: list[tuple[int, str]], entries: list[Any], run_id: str, seen_at: datetime
) -> pa.Table:
    raws = [json.dumps(entries[position]) for position, _ in rejected]
    ids = rejected_ids([run_id] * len(raws), raws)
    return TASK_RUN_LOGS_REJECTED.from_rows(
        [
            {
                "id": id_,
                "run_id": run_id,
                "position": position,
                "reason": reason,
                "raw": raw,
                "seen_at": seen_at,
            }
            for (position, reason), id_, raw in zip(rejected, ids, raws, strict=True)
        ]
    )


def rejected_ids(run_ids: Sequence[str], raws: Sequence[str]) -> list[str]:
    """The ids of rejected entries: hashes, as these entries have no ids that can be relied on.

    Args:
        run_ids: The run of each entry.
        raws: Its JSON; of entries of a run that are equal, each has an id of its own.
    """
    ids: list[str] = []
    occurrences: Counter[tuple[str, str]] = Counter()
    for run_id, raw in zip(run_ids, raws, strict=True):
        occurrences[run_id, raw] += 1
        ids.append(rejected_id(run_id, occurrences[run_id, raw], raw))
    return ids


def rejected_id(run_id: str, occurrence: int, raw: str) -> str:
    """The id of the first, second … of the equal rejected entries of a run."""
    return hashlib.sha256(f"{run_id} {occurrence} {raw}".encode()).hexdigest()
