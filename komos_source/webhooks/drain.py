"""Takes what receivers have spooled into the tables: batch by batch, in order, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dlt

from komos_source import settings
from komos_source.extract.log_reader import Batch
from komos_source.extract.state import State
from komos_source.metrics import LoadMetrics
from komos_source.source import table_resources
from komos_source.tables import TASK_RUN_LOGS
from komos_source.webhooks.events import Known, batch, decode

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool, Spooled

Run = Callable[[Any, LoadMetrics], int]
"""Runs a source through the pipeline and returns how many log rows arrived; what fell short is
among the metrics's failures."""


@dataclass(slots=True)
class Drained:
    """What the deliveries of one load came to.

    Attributes:
        deliveries: How many there were.
        run_ids: Runs they were about.
        rows: Rows of ``task_run_logs`` that arrived.
        rejected: What cannot be a row.
        failures: Why rows of a run did not arrive, by run id; its deliveries stay in the spool.
        load_ids: dlt's ids of the packages that were loaded.
    """

    deliveries: int = 0
    run_ids: set[str] = field(default_factory=set)
    rows: int = 0
    rejected: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    load_ids: list[str] = field(default_factory=list)


def drain(spool: Spool, run: Run, known: Known) -> Drained:
    """Loads all deliveries that wait now; each leaves the spool once the load has committed.

    A batch a load: memory does not grow with the spool. A crash between commit and deletion
    loads some deliveries again, which changes nothing.

    Raises:
        SpoolError: The spool cannot be used.
        KomosError: The destination cannot be used; the deliveries stay.
    """
    drained = Drained()
    last = spool.last_number()
    while (deliveries := spool.take()) and deliveries[0].number <= last and not drained.failures:
        metrics = LoadMetrics()
        drained.rows += run(_source(deliveries, known, metrics), metrics)
        arrived = [each for each in deliveries if each.run_id not in metrics.failures]
        spool.delete([each.number for each in arrived])
        drained.deliveries += len(arrived)
        drained.run_ids.update(each.run_id for each in deliveries if each.run_id)
        drained.rejected += metrics.rejected
        drained.failures.update(metrics.failures)
        drained.load_ids += metrics.load_ids
    return drained


def _source(deliveries: Sequence[Spooled], known: Known, metrics: LoadMetrics) -> Any:
    """The source of one batch; by its name it shares state with the one that asks the API."""

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def webhooks() -> Any:
        @dlt.resource(name="extraction", selected=False)
        def extraction() -> Iterator[Batch]:
            stored = dlt.current.resource_state(TASK_RUN_LOGS.name)
            pushed = decode(deliveries).new(known)
            metrics.emitted.update(pushed.rows["run_id"].to_pylist())
            metrics.rejected += len(pushed.rejected)
            yield batch(pushed, State.read(stored))

        return table_resources(extraction)

    return webhooks()
