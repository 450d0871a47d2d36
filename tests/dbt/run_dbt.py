"""Runs dbt in the environment ``.venv-dbt``: a command a line of standard input, as a JSON list.

dbt takes seconds to import, so that all commands share one process; each runs in a fork of it,
since dbt-duckdb keeps its file open until the process ends. The answer to each is a JSON object,
and an empty line when that process has ended.
"""

import contextlib
import json
import os
import sys

from dbt.adapters import duckdb, postgres  # noqa: F401 - imported once
from dbt.cli.main import dbtRunner


def run(command: list[str]) -> dict[str, object]:
    """Whether a command succeeded, and the status of each node."""
    with contextlib.redirect_stdout(sys.stderr):
        result = dbtRunner().invoke(command)
    nodes = {
        each.node.name: {"status": str(each.status), "message": each.message}
        for each in getattr(result.result, "results", None) or ()
    }
    return {"success": result.success, "nodes": nodes, "error": str(result.exception or "")}


for line in sys.stdin:
    if os.fork():
        os.wait()
        print(flush=True)
        continue
    print(json.dumps(run(json.loads(line))), flush=True)
    os._exit(0)
