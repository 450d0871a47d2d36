"""The SQL of the direct merge, on DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komos_source.destinations.direct_merge import merge_statements

KEYS = "run_id, id"
SCOPE = (
    "run_id IN (SELECT run_id FROM {staging_table})"
    " AND (run_id, id) IN (SELECT run_id, id FROM {staging_table})"
)


@pytest.mark.parametrize("scope", [None, SCOPE])
def test_merge_statements_keep_each_key_once(tmp_path: Path, scope: str | None) -> None:
    path = tmp_path / "it's.parquet"
    new = [("r1", "a", "new"), ("r2", "a", "new"), ("r2", "b", "new"), ("r2", "b", "new")]
    columns = dict(zip(("run_id", "id", "message"), zip(*new, strict=True), strict=True))
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    file = "read_parquet('" + str(path).replace("'", "''") + "')"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE logs (message VARCHAR, run_id VARCHAR, id VARCHAR)")
        old = [("old", "r1", "a"), ("old", "r1", "b"), ("old", "r3", "a")]
        connection.executemany("INSERT INTO logs VALUES (?, ?, ?)", old)
        for statement in merge_statements("logs", file, KEYS, scope):
            connection.execute(statement)
        rows = connection.execute("SELECT run_id, id, message FROM logs ORDER BY ALL").fetchall()
    assert rows == [
        ("r1", "a", "new"),
        ("r1", "b", "old"),
        ("r2", "a", "new"),
        ("r2", "b", "new"),
        ("r3", "a", "old"),
    ]
