"""dlt's own ``rest_api`` source with an incremental cursor on the timestamp.

A fourth argument picks the variant: ``tuned`` (Parquet files, fetching in parallel, large buffers)
or ``plain`` (as it comes). Both merge on ``id``, include entries without a timestamp, and keep one
cursor over all runs: a transformer of one parent page; with a page a run the cursor would start
anew at each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_TUNED = {
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
    "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
    "EXTRACT__WORKERS": "8",
}


def main() -> None:
    address, runs_file, database, variant = sys.argv[1:]
    tuned = variant == "tuned"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ.update(_TUNED if tuned else {})
    import dlt
    from dlt.sources.rest_api import rest_api_source

    run_ids = Path(runs_file).read_text().split()

    @dlt.resource(name="runs", selected=False)
    def runs() -> Any:
        yield [{"id": run_id} for run_id in run_ids]

    source = rest_api_source(
        {
            "client": {
                "base_url": f"{address}/public/v1/",
                "auth": {"type": "bearer", "token": "sk_live_benchmark"},
                "paginator": "single_page",
            },
            "resources": [
                runs(),
                {
                    "name": "task_run_logs",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "parallelized": tuned,
                    "include_from_parent": ["id"],
                    "endpoint": {
                        "path": "task-runs/{resources.runs.id}/logs",
                        "data_selector": "logEntries",
                        "incremental": {
                            "cursor_path": "timestamp",
                            "on_cursor_value_missing": "include",
                        },
                    },
                },
            ],
        },
        name="logs",
    )
    pipeline = dlt.pipeline(
        "rest_api",
        pipelines_dir="pipelines",
        destination=dlt.destinations.duckdb(database),
        dataset_name="bench",
    )
    if tuned:
        pipeline.run(source, loader_file_format="parquet")
    else:
        pipeline.run(source)


if __name__ == "__main__":
    main()
