"""Singer: a tap made with the Singer SDK, piped into target-duckdb, which merges on ``id``.

Each load reads every run in full: the SDK's bookmark cannot hold for entries without a timestamp.
target-duckdb 0.8 loses rows on DuckDB 2.0 without an error, so it gets DuckDB 1.1.3.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th


class Logs(RESTStream):
    """The log of each run; one partition a run."""

    name = "task_run_logs"
    path = "/public/v1/task-runs/{run_id}/logs"
    primary_keys = ("id",)
    records_jsonpath = "$.logEntries[*]"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("run_id", th.StringType),
        th.Property("timestamp", th.DateTimeType),
        th.Property("level", th.StringType),
        th.Property("message", th.StringType),
        th.Property("nodeId", th.StringType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        return self.config["address"]

    @property
    def partitions(self) -> list[dict[str, str]]:
        run_ids = Path(self.config["runs_file"]).read_text().split()
        return [{"run_id": run_id} for run_id in run_ids]

    @property
    def http_headers(self) -> dict[str, str]:
        return {"Authorization": "Bearer sk_live_benchmark"}


class KomosTap(Tap):
    """A tap of one stream."""

    name = "tap-komos"
    config_jsonschema = th.PropertiesList(
        th.Property("address", th.StringType), th.Property("runs_file", th.StringType)
    ).to_dict()

    def discover_streams(self) -> list[Any]:
        return [Logs(self)]


def main() -> None:
    if sys.argv[1] == "tap":
        KomosTap(config={"address": sys.argv[2], "runs_file": sys.argv[3]}).sync_all()
        return
    address, runs_file, database = sys.argv[1:]
    Path("target.json").write_text(json.dumps({"path": database, "default_target_schema": "main"}))
    tap = subprocess.Popen(
        [sys.executable, __file__, "tap", address, runs_file], stdout=subprocess.PIPE
    )
    target = [str(Path(sys.executable).with_name("target-duckdb")), "--config", "target.json"]
    loaded = subprocess.run(target, stdin=tap.stdout, stdout=subprocess.DEVNULL, check=False)
    sys.exit(tap.wait() or loaded.returncode)


if __name__ == "__main__":
    main()
