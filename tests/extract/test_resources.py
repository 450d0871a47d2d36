"""Splitting rows into tables of bounded size."""

from __future__ import annotations

import pyarrow as pa
import pytest

from komos_source.extract.resources import split_by_bytes


@pytest.mark.parametrize(
    "lengths",
    [[], [10], [10] * 1_000, [5_000], [10] * 500 + [5_000] * 3 + [10] * 500, [5_000] * 8],
)
def test_split_by_bytes_bounds_every_table_but_single_rows(lengths: list[int]) -> None:
    rows = pa.table({"message": pa.array(["x" * length for length in lengths], pa.string())})
    parts = list(split_by_bytes(rows, limit=1_000))
    assert all(part.nbytes <= 1_000 or len(part) == 1 for part in parts)
    assert pa.concat_tables(parts) == rows
