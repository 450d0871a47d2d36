"""Loading in shards: several processes or machines, each with a share of the tasks.

Each shard has its own pipeline, working directory, lock and, where rows are staged, staging
dataset; all merge into the same tables. Their number is fixed by the first load and stored in the
dataset (`shard_count`). What concerns all shards is done once, after them.
"""

from __future__ import annotations

from typing import Any, Literal, Unpack

from komos_source import settings
from komos_source.analytics.views import create_views
from komos_source.config import time_zone
from komos_source.destinations.error_messages import translate_errors
from komos_source.destinations.locking import lock_database
from komos_source.destinations.pipeline import check_names, duckdb_file, make_pipeline
from komos_source.destinations.queries import count_recovered_runs
from komos_source.exceptions import DestinationError
from komos_source.extract.options import SourceOptions
from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.loading.shard_count import shards_never_loaded
from komos_source.shard import Shard
from komos_source.webhooks.config import spool_in_use


def load_shard(bucket: int, of: int, **options: Any) -> LoadResult:
    """Loads what is new in one shard, once; any scheduler that can call a function may call it.

    Shards may be loaded at the same time, on any machine, but each by one process at a time.
    A load that fails or is killed is simply called again.

    Args:
        bucket: Number of the shard, from 0. A task belongs to a shard by a stable hash of its id;
            a run that is named, by a hash of its own id.
        of: How many shards there are: the same number for every load into a dataset, however many
            workers load them.
        options: Arguments of `komos_source.load`.

    Raises:
        UsageError: There is no such shard, the dataset is loaded in another number of shards or
            without any, or the destination cannot be loaded in shards.
        KomosError: As for `komos_source.load`.
    """
    return load(shard=Shard(bucket, of), **options)


def after_shards(
    *,
    destination: str = settings.DESTINATION,
    dataset_name: str = settings.DATASET_NAME,
    pipeline_name: str = settings.PIPELINE_NAME,
    pipelines_dir: str | None = None,
    lock_timeout: float = settings.LOCK_TIMEOUT,
    views: bool = True,
    spool: str | Literal[False] | None = None,
    **options: Unpack[SourceOptions],
) -> LoadResult:
    """Does what concerns all shards, after they have been loaded and while none is.

    It checks that each shard has been loaded, creates the views, loads the webhook deliveries,
    reads the runs that these named from the API, and counts which of them were in window gaps.

    Args:
        destination: As for `komos_source.load`, like all others.
        dataset_name: Dataset (schema) of the tables.
        pipeline_name: The shards' pipeline name; this step has its own pipeline beside theirs.
        pipelines_dir: Where dlt keeps working directories.
        lock_timeout: Seconds to wait for locks.
        views: Whether to create the views.
        spool: URL of the spool; None is the configured one, False loads no deliveries.
        options: As for `komos_source.load`; needed if there is a spool.

    Returns:
        The result of this step, which ``komos_loads`` has too. A shard that has never
        been loaded, and a view that could not be created, are problems in it.

    Raises:
        UsageError: The dataset is not loaded in shards.
        KomosError: As for `komos_source.load`.
    """
    check_names(pipeline_name, dataset_name)
    own_name = f"{pipeline_name}_after_shards"
    pipeline = make_pipeline(destination, dataset_name, own_name, pipelines_dir)
    with translate_errors(pipeline), lock_database(duckdb_file(pipeline), lock_timeout):
        problems = [
            f"shard {shard} has never been loaded"
            for shard in shards_never_loaded(pipeline, pipeline_name)
        ]
        if views:
            try:
                create_views(pipeline, time_zone())
            except DestinationError as error:
                problems.append(str(error))
    result = load(
        destination=destination,
        dataset_name=dataset_name,
        pipeline_name=own_name,
        pipelines_dir=pipelines_dir,
        lock_timeout=lock_timeout,
        views=False,
        spool=spool,
        # No shard tracks the runs that deliveries name: some may have left their task's window.
        poll=False if spool is False or not (spool or spool_in_use()) else "tracked",
        on_start=lambda metrics: metrics.problems.extend(problems),
        **options,
    )
    with translate_errors(pipeline), lock_database(duckdb_file(pipeline), lock_timeout):
        count_recovered_runs(pipeline)
    return result
