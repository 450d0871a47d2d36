"""What was emitted and did not arrive: said, and read again by the next load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dlt

from komos_source import schemas, settings, state
from komos_source.fitting import fit
from komos_source.ledger import Ledger


def distrust_what_is_missing(
    pipeline: dlt.Pipeline, ledger: Ledger, brought: Mapping[str, int]
) -> None:
    """Where fewer rows arrived than were emitted: says so; the next load reads them again."""
    missing = {
        run_id: f"{count} entries were emitted, {brought.get(run_id, 0)} arrived"
        for run_id, count in ledger.emitted.items()
        if brought.get(run_id, 0) != count
    }
    if not missing:
        return
    ledger.failures.update(missing)

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def distrust() -> Any:
        @dlt.resource(**schemas.TASK_RUN_LOG_LOADS.hints())
        def rows() -> Iterator[Any]:
            state.distrust(missing, dlt.current.source_state())
            yield schemas.TASK_RUN_LOG_LOADS.from_rows(
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

    pipeline.extract(fit(distrust(), pipeline))
    pipeline.normalize()
    pipeline.load()
