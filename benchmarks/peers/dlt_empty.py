"""dlt alone: a pipeline with state from an earlier run, and a source with nothing to yield."""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    @dlt.resource(name="task_run_logs", primary_key="id", write_disposition="merge")
    def nothing() -> Any:
        dlt.current.resource_state().setdefault("known", 1)
        yield from ()

    pipeline = dlt.pipeline(
        "empty",
        pipelines_dir="pipelines",
        destination=dlt.destinations.duckdb(sys.argv[3]),
        dataset_name="bench",
    )
    pipeline.run(nothing())


if __name__ == "__main__":
    main()
