"""About the least that has to be done: fetch concurrently, let DuckDB's JSON reader parse.

Bodies go to memory-backed files, from there into the table in one statement. No state, no retry,
no recovery, no check of what the JSON holds. A fourth argument says what the second load does:
``whole`` parses everything again and adds what is not there yet; ``tail`` remembers how long the
bodies were, parses what came after and adds it, trusting that nothing else changed.
(The memory of ``/dev/shm`` is not in the peak: add the bodies' size.)
"""

from __future__ import annotations

import json
import sys
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
_HEAD, _END = b'{"runId":"%s","logEntries":[', b"]}"


def main() -> None:
    address, run_ids, database = arguments()
    seen, lengths = Path("lengths.json"), dict[str, int]()
    if sys.argv[4] == "tail" and seen.exists():
        lengths = json.loads(seen.read_text())
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - made unique below
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        sizes = []

        def keep(run_id: str, body: bytes) -> None:
            known, lengths[run_id] = lengths.get(run_id), len(body) - len(_END)
            if known:
                body = _HEAD % run_id.encode() + body[known:].removeprefix(b",")
            sizes.append(Path(directory, f"{run_id}.json").write_bytes(body))

        trusting = bool(lengths)
        fetch_logs(address, run_ids, keep)
        seen.write_text(json.dumps(lengths))
        with duckdb.connect(database) as connection:
            connection.execute(_TABLE)
            filled = connection.execute("SELECT 1 FROM task_run_logs LIMIT 1").fetchone()
            connection.execute(
                _INSERT + (_NEW_ONLY if filled and not trusting else ""),
                [f"{directory}/*.json", max(sizes) + 1],
            )


if __name__ == "__main__":
    main()
