"""Serves fakesnow, and runs queries in it: a JSON list of SQL and database a line.

Prints how to connect, and after each query its rows, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from typing import Any

import fakesnow
import snowflake.connector


def plain(value: Any) -> Any:
    if isinstance(value, datetime):  # fakesnow returns 1970 for null
        return {"moment": value.isoformat()} if value.timestamp() else None
    return value


answers = sys.stdout
with contextlib.redirect_stdout(sys.stderr), fakesnow.server() as address:
    print(json.dumps(address), file=answers, flush=True)
    for line in sys.stdin:
        sql, database = json.loads(line)
        with snowflake.connector.connect(**address, database=database) as connection:
            rows = connection.cursor().execute(sql).fetchall()
        print(json.dumps([[plain(each) for each in row] for row in rows]), file=answers, flush=True)
