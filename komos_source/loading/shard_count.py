"""How many shards a dataset is loaded in: fixed by the first load, and kept with the data.

The number is a row of ``task_run_shards``. All tables are made with it, so that shards that start
at the same time find them. A dataset without that row is loaded by one process at a time.
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
from komos_source.loading import history
from komos_source.shard import Shard

T = TypeVar("T")

_TRIES = 10
_PAUSE = 1.0


def check_buckets(pipeline: dlt.Pipeline, shard: Shard | None, *, polls: bool = True) -> None:
    """Refuses a load that would not keep to the buckets of its dataset; the first one sets them.

    A load that does not poll the API only brings what webhooks have left for after all shards.

    Raises:
        UsageError: The dataset is loaded in another number of shards, or without, or the
            destination cannot be loaded in shards.
    """
    if not merges_in_sql(pipeline):
        if shard:
            raise UsageError(
                f"{pipeline.destination.destination_name} cannot be loaded in shards, as it does "
                "not merge in transactions: load without --shard, or into a database or DuckLake"
            )
        return
    if not shard and not polls:
        return
    claimed = _beside_others(lambda: _claimed(pipeline)) if shard else _claimed(pipeline)
    if shard and not claimed:
        _claim(pipeline, shard)
        claimed = _claimed(pipeline)
    _agree(pipeline.dataset_name, claimed, shard)


def buckets_never_loaded(pipeline: dlt.Pipeline, pipeline_name: str) -> list[Shard]:
    """Those of a dataset's shards of which it holds no state.

    Args:
        pipeline: Of the dataset.
        pipeline_name: What the shards' pipelines are called, without their suffixes.

    Raises:
        UsageError: The dataset is not loaded in shards.
    """
    claimed = _claimed(pipeline)
    if not claimed:
        raise UsageError(
            f"dataset {pipeline.dataset_name!r} is not loaded in shards: there is nothing to do"
        )
    loaded = set(_column(pipeline, PIPELINE_STATE_TABLE_NAME, "pipeline_name"))
    shards = [Shard(bucket, of) for of in claimed for bucket in range(of)]
    return [shard for shard in shards if pipeline_name + shard.suffix not in loaded]


def load_beside_others(pipeline: dlt.Pipeline) -> Any:
    """Loads what is pending, as one of several shards that may do so at once."""
    return _beside_others(pipeline.load)


def _beside_others(step: Callable[[], T]) -> T:
    """Takes a step again if it fails: another shard may have been quicker to create the same.

    ``CREATE … IF NOT EXISTS`` and ``ALTER TABLE`` fail in most databases if two do it at once.
    """
    for _ in range(_TRIES - 1):
        try:
            return step()
        except (PipelineStepFailed, DestinationException) as error:
            # Jobs, unlike the making of tables, have been tried again by dlt.
            if isinstance(getattr(error, "exception", None), LoadClientJobException):
                raise
            time.sleep(random.uniform(0.1, _PAUSE))  # noqa: S311 - only to get out of step
    return step()


def _agree(dataset: str, claimed: set[int], shard: Shard | None) -> None:
    if claimed == ({shard.of} if shard else set()):
        return
    if len(claimed) > 1:
        numbers = " and ".join(map(str, sorted(claimed)))
        raise UsageError(
            f"dataset {dataset!r} was first loaded in {numbers} shards at the same time: delete "
            f"all rows but one from {tables.TASK_RUN_SHARDS.name} there, and load in that number"
        )
    (of,) = claimed or {0}
    raise UsageError(
        f"dataset {dataset!r} is loaded in {of} shards: load each of --shard 0/{of} to "
        f"{of - 1}/{of}, or into another --dataset"
    )


def _claimed(pipeline: dlt.Pipeline) -> set[int]:
    return set(_column(pipeline, tables.TASK_RUN_SHARDS.name, "buckets"))


def _column(pipeline: dlt.Pipeline, table: str, column: str) -> list[Any]:
    """Different values of a column; none if there is no such table."""
    with pipeline.sql_client() as client, contextlib.suppress(DatabaseUndefinedRelation):
        name = client.make_qualified_table_name(table)
        rows = client.execute_sql(f"SELECT DISTINCT {column} FROM {name}")  # noqa: S608 - names of ours
        return [row[0] for row in rows or ()]
    return []


def _claim(pipeline: dlt.Pipeline, shard: Shard) -> None:
    loaded = settings.SOURCE_NAME in _column(pipeline, LOADS_TABLE_NAME, "schema_name")
    if loaded and not _claimed(pipeline):  # asked again: another shard may have been quicker
        raise UsageError(
            f"dataset {pipeline.dataset_name!r} has been loaded without shards: go on without, or "
            "load in shards into another --dataset"
        )

    @dlt.source(name=settings.SOURCE_NAME, section=settings.SOURCE_NAME)
    def claim() -> Any:
        yield dlt.resource(
            [tables.TASK_RUN_SHARDS.from_rows([{"buckets": shard.of}])],
            **tables.TASK_RUN_SHARDS.hints(),
        )
        yield history.resource([])
        for table in tables.ARROW_TABLES:
            yield dlt.resource([table.from_rows([])], **table.hints())

    pipeline.extract(claim())
    pipeline.normalize()
    load_beside_others(pipeline)
