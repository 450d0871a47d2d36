"""What was emitted and did not arrive: said, and read again by the next load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dlt

from komos_source import settings, tables
from komos_source.destinations.write_disposition import adapt_to_destination
from komos_source.extract import state
from komos_source.metrics import LoadMetrics


def report_missing_rows(
    pipeline: dlt.Pipeline, metrics: LoadMetrics, brought: Mapping[str, int]
) -> None:
    """Where fewer rows arrived than were emitted: says so; the next load reads them again."""
    missing = {
        run_id: f"{count} entries were emitted, {brought.get(run_id, 0)} arrived"
        for run_id, count in metrics.emitted.items()
        if brought.get(run_id, 0) != count
    }
    if not missing:
        return
    metrics.failures.update(missing)

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def reset_cursors() -> Any:
        @dlt.resource(**tables.TASK_RUN_LOG_LOADS.hints())
        def rows() -> Iterator[Any]:
            state.reset_cursors(missing, dlt.current.resource_state(tables.TASK_RUN_LOGS.name))
            yield tables.TASK_RUN_LOG_LOADS.from_rows(
                [
                    {
                        "run_id": run_id,
                        "checked_at": datetime.now(UTC),
                        "settled": False,
                        "outcome": "failed",
                        "detail": detail,
                    }
                    for run_id, detail in missing.items()
                ]
            )

        return rows

    pipeline.extract(adapt_to_destination(reset_cursors(), pipeline))
    pipeline.normalize()
    pipeline.load()
