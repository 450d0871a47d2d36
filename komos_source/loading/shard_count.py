"""How many shards a dataset is loaded in: fixed by the first load, and stored with the data.

The number is a row of ``task_run_shards``. All tables are created with it, so that shards that
start at the same time find them. A dataset without that row is loaded by one process at a time.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.schema.typing import LOADS_TABLE_NAME, PIPELINE_STATE_TABLE_NAME
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source import settings, tables
from komos_source.destinations.write_disposition import merges_in_sql
from komos_source.exceptions import UsageError
from komos_source.extract.resources import rows_resource, source_of
from komos_source.shard import Shard

T = TypeVar("T")

_TRIES = 10
_PAUSE = 1.0


def check_shard_count(pipeline: dlt.Pipeline, shard: Shard | None, *, polls: bool = True) -> None:
    """Refuses a load that does not fit the dataset's number of shards; the first load sets it.

    A load that does not poll the API loads deliveries after all shards and is always allowed.

    Raises:
        UsageError: The dataset is loaded in another number of shards, or without, or the
            destination cannot be loaded in shards.
    """
    if not merges_in_sql(pipeline):
        if shard:
            raise UsageError(
                f"{pipeline.destination.destination_name} cannot be loaded in shards, because it "
                "does not merge in transactions: load without shards, or into a database or "
                "DuckLake"
            )
        return
    if not shard:
        if polls:
            _check(pipeline.dataset_name, _stored_counts(pipeline), set())
        return
    counts = retry_beside_other_shards(lambda: _stored_counts(pipeline))
    if not counts:
        _store_count(pipeline, shard)
        counts = _stored_counts(pipeline)
    _check(pipeline.dataset_name, counts, {shard.of})


def shards_never_loaded(pipeline: dlt.Pipeline, pipeline_name: str) -> list[Shard]:
    """Shards of a dataset that have no state in it.

    Args:
        pipeline: A pipeline of the dataset.
        pipeline_name: Name of the shards' pipelines without their suffixes.

    Raises:
        UsageError: The dataset is not loaded in shards.
    """
    counts = _stored_counts(pipeline)
    if not counts:
        raise UsageError(
            f"dataset {pipeline.dataset_name!r} is not loaded in shards: there is nothing to do"
        )
    loaded = _column(pipeline, PIPELINE_STATE_TABLE_NAME, "pipeline_name")
    shards = [Shard(bucket, of) for of in counts for bucket in range(of)]
    return [shard for shard in shards if pipeline_name + shard.suffix not in loaded]


def retry_beside_other_shards(step: Callable[[], T]) -> T:
    """Repeats a step that failed because another shard created the same table first.

    ``CREATE … IF NOT EXISTS`` and ``ALTER TABLE`` fail in most databases if two do it at once.
    """
    for _ in range(_TRIES - 1):
        try:
            return step()
        except (PipelineStepFailed, DestinationException) as error:
            # dlt has retried jobs, but not the creation of tables.
            if isinstance(getattr(error, "exception", None), LoadClientJobException):
                raise
            time.sleep(random.uniform(0.1, _PAUSE))  # noqa: S311 - jitter
    return step()


def _check(dataset: str, stored: set[int], wanted: set[int]) -> None:
    if stored == wanted:
        return
    if len(stored) > 1:
        numbers = " and ".join(map(str, sorted(stored)))
        raise UsageError(
            f"dataset {dataset!r} was first loaded in {numbers} shards at the same time: delete "
            f"all rows but one from {tables.TASK_RUN_SHARDS.name} there, and load in that number"
        )
    (of,) = stored or {0}
    raise UsageError(
        f"dataset {dataset!r} is loaded in {of} shards: load each shard, 0/{of} to {of - 1}/{of}, "
        "or load into another dataset"
    )


def _stored_counts(pipeline: dlt.Pipeline) -> set[int]:
    return _column(pipeline, tables.TASK_RUN_SHARDS.name, "buckets")


def _column(pipeline: dlt.Pipeline, table: str, column: str) -> set[Any]:
    """Distinct values of a column; none if there is no such table."""
    with pipeline.sql_client() as client, contextlib.suppress(DatabaseUndefinedRelation):
        name = client.make_qualified_table_name(table)
        rows = client.execute_sql(f"SELECT DISTINCT {column} FROM {name}")  # noqa: S608 - names of tables.Table
        return {row[0] for row in rows or ()}
    return set()


def _store_count(pipeline: dlt.Pipeline, shard: Shard) -> None:
    loaded = settings.SOURCE_NAME in _column(pipeline, LOADS_TABLE_NAME, "schema_name")
    if loaded and not _stored_counts(pipeline):  # read again: another shard may have stored it
        raise UsageError(
            f"dataset {pipeline.dataset_name!r} has been loaded without shards: go on without, or "
            "load in shards into another dataset"
        )
    count = rows_resource(tables.TASK_RUN_SHARDS, [{"buckets": shard.of}])
    others = map(rows_resource, (tables.KOMOS_LOADS, *tables.ARROW_TABLES))
    pipeline.extract(source_of(count, *others))
    pipeline.normalize()
    retry_beside_other_shards(pipeline.load)
