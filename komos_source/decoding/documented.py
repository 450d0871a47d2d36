"""Reads logs that are exactly as documented, by Arrow's JSON reader.

It makes columns without a Python object per entry and without holding the interpreter's lock, so
that other work runs at the same time.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from komos_source.settings import MAX_ID_LENGTH
from komos_source.tables import MOMENT, TASK_RUN_LOGS

_TEXT, _TIME = pa.string(), pa.timestamp("us")
_ENTRY = pa.struct(
    {
        "id": _TEXT,
        "timestamp": _TIME,
        "level": _TEXT,
        "message": _TEXT,
        "nodeId": _TEXT,
    }
)
# Unknown fields are refused, not inferred: the inferring reader recurses, and crashes on a body
# that is nested 100,000 deep (tried with pyarrow 26).
_AS_DOCUMENTED = pa.json.ParseOptions(
    explicit_schema=pa.schema([("runId", _TEXT), ("logEntries", pa.list_(_ENTRY))]),
    unexpected_field_behavior="error",
)
_FIRST_YEAR = 3  # earlier times may be zero times, which count as no time


def read_documented(body: bytes | bytearray, run_id: str) -> pa.Table | None:
    """Rows of a body that is exactly as documented; None if anything about it is not."""
    if not body.startswith(b"{"):  # the reader crashes on a body that is just ``null`` (pyarrow 26)
        return None
    try:
        answers = pa.json.read_json(
            pa.BufferReader(body),
            # One block: the reader takes what fits into a block as whole objects, one a row.
            read_options=pa.json.ReadOptions(block_size=len(body) + 1, use_threads=False),
            parse_options=_AS_DOCUMENTED,
        )
        answers.validate(full=True)  # that texts are UTF-8: the reader does not check
        if answers.num_rows != 1 or answers["logEntries"].null_count:
            return None
        if str(answers["runId"][0]).lower() != run_id.lower():
            return None
        entries = answers["logEntries"].chunk(0).flatten()
        ids, timestamps, *texts = entries.flatten()
        earliest, _latest = pc.min_max(timestamps).as_py().values()
    except (pa.ArrowInvalid, OverflowError):  # a body beyond 2 GiB, a time beyond the calendar
        return None
    if earliest is not None and earliest.year < _FIRST_YEAR:
        return None
    # The reader accepts NUL, databases do not.
    if not _are_usable_ids(ids) or any(map(_holds_nul, (ids, *texts))):
        return None
    count, times = len(ids), timestamps.cast(MOMENT)
    columns = [ids, pa.repeat(run_id, count), pa.arange(0, count), times, *texts]
    return pa.Table.from_arrays([*columns, pa.nulls(count, _TEXT)], schema=TASK_RUN_LOGS.schema)


def _are_usable_ids(ids: pa.Array) -> bool:
    # In bytes; whether a longer id has few enough characters is decided by `lenient`.
    shortest, longest = pc.min_max(pc.binary_length(ids)).as_py().values()
    if pc.count_distinct(ids).as_py() != len(ids):  # counts no null
        return False
    return shortest is None or 0 < shortest <= longest <= MAX_ID_LENGTH


def _holds_nul(texts: pa.Array) -> bool:
    data = texts.buffers()[2]
    return data is not None and re.search(b"\0", data) is not None
