"""About the least that has to be done: fetch concurrently, let DuckDB's JSON reader parse.

Bodies go to memory-backed files, from there into the table in one statement. No state, no retry,
no recovery, no check of what the JSON holds. The second load reads everything again and adds
what is not there yet. (The memory of ``/dev/shm`` is not in the peak: add the bodies' size.)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb

from benchmarks.peers.fetching import arguments, fetch_logs

_TABLE = """
CREATE TABLE IF NOT EXISTS task_run_logs (id VARCHAR, run_id VARCHAR, "timestamp" TIMESTAMPTZ,
    level VARCHAR, message VARCHAR, node_id VARCHAR)
"""
_INSERT = """
INSERT INTO task_run_logs
SELECT entry.id, run_id, entry.timestamp, entry.level, entry.message, entry.nodeId
FROM (
    SELECT runId AS run_id, unnest(logEntries) AS entry
    FROM read_json(?, format = 'unstructured', maximum_object_size = ?, columns = {
        runId: 'VARCHAR',
        logEntries: 'STRUCT(id VARCHAR, "timestamp" TIMESTAMPTZ, level VARCHAR, message VARCHAR,
            nodeId VARCHAR)[]'})
)
"""
_NEW_ONLY = "ANTI JOIN (SELECT id FROM task_run_logs) AS known ON entry.id = known.id"


def main() -> None:
    address, run_ids, database = arguments()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - made unique below
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        sizes = []

        def keep(run_id: str, body: bytes) -> None:
            sizes.append(Path(directory, f"{run_id}.json").write_bytes(body))

        fetch_logs(address, run_ids, keep)
        with duckdb.connect(database) as connection:
            connection.execute(_TABLE)
            filled = connection.execute("SELECT 1 FROM task_run_logs LIMIT 1").fetchone()
            connection.execute(
                _INSERT + (_NEW_ONLY if filled else ""),
                [f"{directory}/*.json", max(sizes) + 1],
            )


if __name__ == "__main__":
    main()
