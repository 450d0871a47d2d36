"""What a good user would write by hand: httpx, pandas, a primary key and ON CONFLICT DO NOTHING.

As it is usually written: an answer that is not 2xx ends it, and it starts from the top next time.
"""

from __future__ import annotations

import json

import duckdb
import pandas as pd

from benchmarks.peers.fetching import arguments, fetch_logs

_TABLE = """
CREATE TABLE IF NOT EXISTS task_run_logs (id VARCHAR PRIMARY KEY, run_id VARCHAR,
    "timestamp" TIMESTAMPTZ, level VARCHAR, message VARCHAR, node_id VARCHAR)
"""
_INSERT = """
INSERT INTO task_run_logs
SELECT id, run_id, "timestamp", level, message, "nodeId" FROM logs ON CONFLICT DO NOTHING
"""


def main() -> None:
    address, run_ids, database = arguments()
    frames = []

    def keep(run_id: str, body: bytes) -> None:
        frames.append(pd.DataFrame(json.loads(body)["logEntries"]).assign(run_id=run_id))

    fetch_logs(address, run_ids, keep)
    logs = pd.concat(frames, ignore_index=True)
    logs["timestamp"] = pd.to_datetime(logs["timestamp"], format="ISO8601")
    with duckdb.connect(database) as connection:
        connection.execute(_TABLE)
        connection.register("logs", logs)
        connection.execute(_INSERT)


if __name__ == "__main__":
    main()
