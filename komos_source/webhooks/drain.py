"""Loads the deliveries in the spool into the tables: batch by batch, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dlt

from komos_source.exceptions import DestinationError
from komos_source.extract.log_reader import Batch
from komos_source.extract.resources import rows_resource, source_of, table_resources
from komos_source.extract.state import State
from komos_source.metrics import LoadMetrics
from komos_source.settings import GIVE_UP_AFTER
from komos_source.tables import TASK_RUN_LOGS
from komos_source.webhooks.events import Decoded, batch
from komos_source.webhooks.settings import MAX_REFUSED

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool
    from komos_source.webhooks.spool_tables import Spooled

RunPackage = Callable[[Any, LoadMetrics], int]
"""Runs a source through the pipeline and returns how many log rows were loaded. Runs with missing
rows are among the failures of the metrics."""

Decode = Callable[[Sequence["Spooled"]], Decoded]
"""Decodes deliveries; what the destination holds already is left out."""

_REASON_LENGTH = 500


@dataclass(slots=True)
class Drained:
    """The result of draining a spool.

    Attributes:
        deliveries: How many were loaded.
        run_ids: Runs they were about.
        rows: Rows of ``task_run_logs`` that were loaded.
        rejected: Entries that cannot be rows.
        refused: How many deliveries the destination refused; they are set aside.
        failures: Why rows of a run were not loaded, by run id; its deliveries stay in the spool.
        problems: Other problems, in sentences.
        load_ids: dlt's ids of the load packages.
    """

    deliveries: int = 0
    run_ids: set[str] = field(default_factory=set)
    rows: int = 0
    rejected: int = 0
    refused: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    load_ids: list[str] = field(default_factory=list)


def drain(
    spool: Spool, run_package: RunPackage, decode: Decode, owner: str | None = None
) -> Drained:
    """Loads all deliveries that wait now; each leaves the spool once its load has committed.

    Each batch is a load of its own, so that memory does not grow with the spool. After a crash
    between commit and deletion some deliveries are loaded again, which changes nothing.

    A delivery that the destination refuses is set aside in a table of the spool, and the others are
    loaded. Later loads try it again; they report it as a problem for `GIVE_UP_AFTER`.

    Args:
        spool: The spool.
        run_package: Runs a source through the pipeline.
        decode: Decodes deliveries.
        owner: Destination and dataset of the pipeline. A spool that belongs to another owner is
            left alone. If None, its owner does not matter.

    Raises:
        SpoolError: The spool cannot be used.
        KomosError: The destination cannot be used; the deliveries stay.
    """
    drained = Drained()
    if owner and (other := spool.claim(owner)):
        drained.problems.append(
            f"webhook deliveries were not loaded: the spool {spool.name} belongs to {other}, and "
            f"this load is into {owner}; give it a spool of its own (SOURCES__KOMOS__SPOOL), or if "
            "the database has been moved, delete the row of komos_spool_owner in the spool"
        )
        return drained
    last = spool.last_number()
    while (deliveries := spool.take()) and deliveries[0].number <= last and not drained.failures:
        _load(spool, run_package, decode, deliveries, drained)
    for delivery in spool.refused.take(MAX_REFUSED, datetime.now(UTC)):
        _load_again(spool, run_package, decode, delivery, drained)
    if problem := _refused_lately(spool):
        drained.problems.append(problem)
    return drained


def _load(
    spool: Spool,
    run_package: RunPackage,
    decode: Decode,
    deliveries: Sequence[Spooled],
    drained: Drained,
) -> None:
    """Loads some deliveries; if the destination refuses them, each half on its own.

    Raises:
        DestinationError: The destination accepts no load package, or has refused many deliveries
            and loaded none: the deliveries are not what is wrong.
    """
    try:
        loaded = _load_in_one_package(run_package, decode, deliveries, drained)
    except DestinationError as error:
        # Raises if the destination accepts no load package at all.
        run_package(source_of(rows_resource(TASK_RUN_LOGS)), probe := LoadMetrics())
        drained.load_ids += probe.load_ids
        if len(deliveries) == 1:
            spool.refused.add(deliveries[0].number, str(error)[:_REASON_LENGTH])
            drained.refused += 1
            if drained.refused >= MAX_REFUSED and not drained.deliveries:
                raise
            return
        middle = len(deliveries) // 2
        for half in (deliveries[:middle], deliveries[middle:]):
            _load(spool, run_package, decode, half, drained)
        return
    spool.delete(loaded)


def _load_again(
    spool: Spool, run_package: RunPackage, decode: Decode, delivery: Spooled, drained: Drained
) -> None:
    """Loads a delivery that was set aside, unless the destination refuses it again."""
    try:
        loaded = _load_in_one_package(run_package, decode, [delivery], drained)
    except DestinationError as error:
        spool.refused.add(delivery.number, str(error)[:_REASON_LENGTH])
        return
    for number in loaded:
        spool.refused.delete(number)


def _load_in_one_package(
    run_package: RunPackage, decode: Decode, deliveries: Sequence[Spooled], drained: Drained
) -> Sequence[int]:
    """Loads deliveries in one package; returns the numbers of those that have been loaded."""
    metrics = LoadMetrics()
    drained.rows += run_package(_source(deliveries, decode, metrics), metrics)
    loaded = [each for each in deliveries if each.run_id not in metrics.failures]
    drained.deliveries += len(loaded)
    drained.run_ids.update(each.run_id for each in deliveries if each.run_id)
    drained.rejected += metrics.rejected
    drained.failures.update(metrics.failures)
    drained.load_ids += metrics.load_ids
    return [each.number for each in loaded]


def _refused_lately(spool: Spool) -> str | None:
    """A sentence about the deliveries that are set aside, unless all of them were long ago."""
    refused, reason = spool.refused.since(datetime.now(UTC) - timedelta(seconds=GIVE_UP_AFTER))
    if not refused:
        return None
    return (
        f"the destination refused {refused} webhook deliveries, which are kept in "
        f"komos_deliveries_failed of the spool {spool.name} and tried again by later loads: "
        f"{reason}"
    )


def _source(deliveries: Sequence[Spooled], decode: Decode, metrics: LoadMetrics) -> Any:

    @dlt.resource(name="extraction", selected=False)
    def extraction() -> Iterator[Batch]:
        stored = dlt.current.resource_state(TASK_RUN_LOGS.name)
        decoded = decode(deliveries)
        metrics.emitted.update(decoded.rows["run_id"].to_pylist())
        metrics.rejected += len(decoded.rejected)
        yield batch(decoded, State.read(stored))

    return source_of(*table_resources(extraction))
