"""Logs that are exactly as documented, read by Arrow's own JSON reader.

It makes columns of them without a Python object per entry and without holding the interpreter's
lock, so that other work goes on beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.json

from komos_source.decoding.columns import are_distinct, are_in_range, hold_nul, rows_at
from komos_source.tables import MOMENT

ENTRY = pa.struct(
    [
        ("id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("level", pa.string()),
        ("message", pa.string()),
        ("nodeId", pa.string()),
    ]
)
"""An entry as documented."""
# Unknown fields are refused, not inferred: the inferring reader recurses, and dies of a body that
# is nested 100,000 deep (tried with pyarrow 26).
_AS_DOCUMENTED = pa.json.ParseOptions(
    explicit_schema=pa.schema([("runId", pa.string()), ("logEntries", pa.list_(ENTRY))]),
    unexpected_field_behavior="error",
)


def rows_of(
    texts: Sequence[bytes | bytearray], run_ids: Sequence[str], firsts: Sequence[int]
) -> list[pa.Table] | None:
    """Rows of texts that are exactly as documented; None if anything about any is not.

    Args:
        texts: Bodies, each of a log.
        run_ids: The runs they are of.
        firsts: The positions of their first entries.
    """
    # The reader dies of a body that is just ``null`` (pyarrow 26). With the brackets at both ends
    # texts cannot run into each other.
    if not all(text.startswith(b"{") for text in texts):
        return None
    if len(texts) > 1 and not all(text.endswith(b"}") for text in texts):
        return None
    text = texts[0] if len(texts) == 1 else b"\n".join(texts)
    try:
        answers = pa.json.read_json(
            pa.BufferReader(text),
            # One block: the reader takes what fits into a block as whole objects, one a row.
            read_options=pa.json.ReadOptions(block_size=len(text) + 1, use_threads=False),
            parse_options=_AS_DOCUMENTED,
        )
        answers.validate(full=True)  # that texts are UTF-8: the reader does not look
    except (pa.ArrowInvalid, OverflowError):
        return None
    if answers.num_rows != len(texts) or answers["logEntries"].null_count:
        return None
    said = answers["runId"].to_pylist()
    if [str(run_id).lower() for run_id in said] != [run_id.lower() for run_id in run_ids]:
        return None
    logs = answers["logEntries"].chunk(0)
    entries = logs.flatten()
    ids, moments, *messages = entries.flatten()
    if entries.null_count or ids.null_count or not are_distinct(ids) or not are_in_range(moments):
        return None
    if any(map(hold_nul, (ids, *messages))):  # the reader accepts it, databases do not
        return None
    counts = logs.value_lengths().to_pylist()
    places = list(zip(run_ids, firsts, counts, strict=True))
    extra = pa.nulls(len(ids), pa.string())
    rows = rows_at(places, ids, moments.cast(MOMENT), *messages, extra)
    starts = accumulate(counts, initial=0)
    return [rows.slice(start, count) for start, count in zip(starts, counts, strict=False)]
