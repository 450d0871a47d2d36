"""What has to be true of a log's columns, looked at in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from komos_source.tables import TASK_RUN_LOGS

UUID_WIDTH = 36
# A multiplier for each four bytes of a UUID: powers of an odd number, modulo 2 to the 64.
_FACTORS = [np.uint64(pow(0x9E3779B97F4A7C15, n, 2**64)) for n in range(1, UUID_WIDTH // 4 + 1)]
_YEAR_1 = -62_135_596_800_000_000  # microseconds from 1970 back to the year 1
_YEAR_10000 = 253_402_300_800_000_000


def rows_at(
    places: Sequence[tuple[str, int, int]], ids: pa.Array, moments: pa.Array, *texts: pa.Array
) -> pa.Table:
    """Rows of ``task_run_logs``, from their other columns.

    Args:
        places: Where the rows stand, in order: a run, the first position in its log, how many.
        ids: As in the table, like the next two.
        moments: See there.
        texts: Level, message, node and what is not documented.
    """
    run_ids = pa.chunked_array([pa.repeat(run_id, count) for run_id, _, count in places])
    positions = pa.chunked_array([pa.arange(first, first + count) for _, first, count in places])
    return pa.Table.from_arrays(
        [ids, run_ids, positions, moments, *texts], schema=TASK_RUN_LOGS.schema
    )


def hold_nul(texts: pa.Array) -> bool:
    """Whether NUL is in any of some texts."""
    data = texts.buffers()[2]
    return data is not None and not np.frombuffer(data, np.uint8).all()


def are_distinct(ids: pa.Array) -> bool:
    """Whether each id is there once, and none is empty."""
    shortest, longest = _widths(ids)
    if shortest == 0:
        return False
    if shortest == longest == UUID_WIDTH and _differ(ids):
        return True
    return bool(pc.count_distinct(ids).as_py() == len(ids))


def are_as_wide_as_uuids(ids: pa.Array) -> bool:
    """Whether there are ids, all of a UUID's length."""
    return _widths(ids) == (UUID_WIDTH, UUID_WIDTH)


def _widths(ids: pa.Array) -> tuple[int | None, int | None]:
    found = pc.min_max(pc.binary_length(ids))
    return found["min"].as_py(), found["max"].as_py()


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


def are_in_range(moments: pa.Array) -> bool:
    """Whether all, in UTC, are of years that Python and databases know."""
    found = pc.min_max(moments.view(pa.int64()))
    earliest, latest = found["min"].as_py(), found["max"].as_py()
    return earliest is None or _YEAR_1 <= earliest <= latest < _YEAR_10000
