"""Loading in shards: several processes or machines, each with a share of the tasks.

Every shard has a pipeline, a working directory, a lock and, where rows are staged, a staging
dataset of its own; all merge into the same tables. Their number is fixed by the first load and kept
in the dataset (`claims`). What concerns all of them is done once, after.
"""

from __future__ import annotations

from typing import Any

from komos_source import settings
from komos_source.analytics.views import create_views
from komos_source.config import time_zone
from komos_source.destinations.pipeline import Hold, make_pipeline
from komos_source.destinations.queries import count_recovered
from komos_source.exceptions import DestinationError
from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.loading.shard_count import buckets_never_loaded
from komos_source.metrics import LoadMetrics
from komos_source.shard import Shard


def load_shard(bucket: int, of: int, **options: Any) -> LoadResult:
    """Loads what is new in one bucket, once: for any scheduler that can call a function.

    Buckets may be loaded at the same time, on any machine, but each by one process at a time.
    A load that fails or is killed is simply called again.

    Args:
        bucket: Which one, from 0. Tasks belong to buckets by a stable hash of their id; runs that
            are named, by a hash of theirs.
        of: How many there are: the same number for every load into a dataset, however many
            workers share them.
        options: As for `komos_source.loading.load.load`.

    Raises:
        UsageError: There is no such bucket, the dataset is loaded in another number of buckets or
            without any, or the destination cannot be loaded in shards.
        KomosError: As for `komos_source.loading.load.load`.
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
    spool: str | None = None,
) -> LoadResult:
    """Does what concerns all shards, once they have been loaded, and while none is.

    That is: to see whether each bucket has been loaded, to create the views, to load what webhooks
    have brought, and to count which runs that recovered of window gaps.

    Args:
        destination: As for `komos_source.loading.load.load`, like all others.
        dataset_name: See there.
        pipeline_name: As for the shards; this step has a pipeline of its own beside theirs.
        pipelines_dir: See there.
        lock_timeout: See there.
        views: See there.
        spool: See there.

    Returns:
        The report of what webhooks brought, which ``komos_loads`` has too. A bucket that has never
        been loaded, and a view that could not be created, are problems in it.

    Raises:
        UsageError: The dataset is not loaded in shards.
        KomosError: As for `komos_source.loading.load.load`.
    """
    own = f"{pipeline_name}_after_shards"
    pipeline = make_pipeline(destination, dataset_name, own, pipelines_dir)
    metrics = LoadMetrics()
    with Hold(pipeline, lock_timeout) as hold:
        with hold():
            never = buckets_never_loaded(pipeline, pipeline_name)
            metrics.problems += [f"shard {shard} has never been loaded" for shard in never]
            if views:
                try:
                    create_views(pipeline, time_zone())
                except DestinationError as error:
                    metrics.problems.append(str(error))
        report = load(
            destination=destination,
            dataset_name=dataset_name,
            pipeline_name=own,
            pipelines_dir=pipelines_dir,
            lock_timeout=lock_timeout,
            views=False,
            metrics=metrics,
            spool=spool,
            poll=False,
        )
        with hold():
            count_recovered(pipeline)
    return report
