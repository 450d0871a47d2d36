"""Airbyte: a low-code manifest run by the CDK, its records upserted into DuckDB.

The CDK has no destination for DuckDB; records are gathered in a file that DuckDB reads in one
statement, which is kinder than what a destination does. Each load reads every run in full.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (
    ConcurrentDeclarativeSource,
)

_SCHEMA = {
    "type": "object",
    "properties": {
        name: {"type": ["null", "string"]}
        for name in ("id", "run_id", "timestamp", "level", "message", "nodeId")
    },
}
_TABLE = """
CREATE TABLE IF NOT EXISTS task_run_logs (id VARCHAR PRIMARY KEY, run_id VARCHAR,
    "timestamp" TIMESTAMPTZ, level VARCHAR, message VARCHAR, "nodeId" VARCHAR)
"""
_UPSERT = """
INSERT OR REPLACE INTO task_run_logs
SELECT unnest(record.data) FROM read_json('records.jsonl', format = 'newline_delimited', columns = {
    record: 'STRUCT(data STRUCT(id VARCHAR, run_id VARCHAR, "timestamp" TIMESTAMPTZ,
        level VARCHAR, message VARCHAR, nodeId VARCHAR))'})
"""


def manifest(address: str, run_ids: list[str]) -> dict[str, object]:
    """One stream, a partition a run, eight at once."""
    stream = {
        "type": "DeclarativeStream",
        "name": "task_run_logs",
        "primary_key": "id",
        "schema_loader": {"type": "InlineSchemaLoader", "schema": _SCHEMA},
        "retriever": {
            "type": "SimpleRetriever",
            "requester": {
                "type": "HttpRequester",
                "url_base": address,
                "path": "/public/v1/task-runs/{{ stream_partition.run_id }}/logs",
                "http_method": "GET",
                "authenticator": {"type": "BearerAuthenticator", "api_token": "sk_live_benchmark"},
            },
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": ["logEntries"]},
            },
            "partition_router": {
                "type": "ListPartitionRouter",
                "values": run_ids,
                "cursor_field": "run_id",
            },
        },
        "transformations": [
            {
                "type": "AddFields",
                "fields": [{"path": ["run_id"], "value": "{{ stream_partition.run_id }}"}],
            }
        ],
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["task_run_logs"]},
        "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": 8},
        "streams": [stream],
        "spec": {
            "type": "Spec",
            "connection_specification": {"type": "object", "properties": {}},
        },
    }


def main() -> None:
    address, runs_file, database = sys.argv[1:]
    catalog = {
        "streams": [
            {
                "stream": {
                    "name": "task_run_logs",
                    "json_schema": _SCHEMA,
                    "supported_sync_modes": ["full_refresh"],
                },
                "sync_mode": "full_refresh",
                "destination_sync_mode": "append_dedup",
            }
        ]
    }
    Path("config.json").write_text("{}")
    Path("catalog.json").write_text(json.dumps(catalog))
    source = ConcurrentDeclarativeSource(
        config={},
        source_config=manifest(address, Path(runs_file).read_text().split()),
    )
    arguments = ["read", "--config", "config.json", "--catalog", "catalog.json"]
    with Path("records.jsonl").open("w") as records:
        for message in AirbyteEntrypoint(source).run(AirbyteEntrypoint.parse_args(arguments)):
            if '"type":"RECORD"' in message[:20]:
                records.write(message + "\n")
    with duckdb.connect(database) as connection:
        connection.execute(_TABLE)
        connection.execute(_UPSERT)


if __name__ == "__main__":
    main()
