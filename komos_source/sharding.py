"""Loading in shards: several processes or machines, each with a share of the tasks.

Every shard has a pipeline, a working directory, a lock and a staging dataset of its own; all merge
into the same tables. Their number is fixed by the first load and kept in the dataset (`claims`).
"""

from __future__ import annotations

from typing import Any

from komos_source.load_report import LoadReport
from komos_source.loading import load
from komos_source.shards import Shard


def load_shard(bucket: int, of: int, **options: Any) -> LoadReport:
    """Loads what is new in one bucket, once: for any scheduler that can call a function.

    Buckets may be loaded at the same time, on any machine, but each by one process at a time.
    A load that fails or is killed is simply called again.

    Args:
        bucket: Which one, from 0. Tasks belong to buckets by a stable hash of their id; runs that
            are named, by a hash of theirs.
        of: How many there are: the same number for every load into a dataset, however many
            workers share them.
        options: As for `komos_source.loading.load`.

    Raises:
        UsageError: There is no such bucket, the dataset is loaded in another number of buckets or
            without any, or the destination cannot be loaded in shards.
        KomosError: As for `komos_source.loading.load`.
    """
    return load(shard=Shard(bucket, of), **options)
