"""How rows get into each kind of destination: what dlt calls write disposition and table format.

The tables' own hints (`schemas`) are for databases: dlt's delete-insert merge keeps each key once
whatever a crash left behind. A filesystem has no such merge:

- Delta and Iceberg tables are merged by ``upsert``. That keeps each key once if no package holds
  one twice, and none of ours does: a load reads each run's log once, and a log's entries have
  different ids (`entries` sees to that).
- Plain Parquet files can only be added to. Each entry is there at least once: again where a load
  that was killed had already written it, or where an entry changed its place in the log.
"""

from __future__ import annotations

from typing import Any, TypeVar

import dlt
from dlt.extract import DltSource

from komos_source import settings
from komos_source.config import setting
from komos_source.exceptions import ConfigurationError

Source = TypeVar("Source", bound=DltSource)

_FORMATS = ("delta", "iceberg", "parquet")


def merges_in_sql(pipeline: dlt.Pipeline) -> bool:
    """Whether the destination is a database that merges by dlt's delete-insert strategy."""
    capabilities = pipeline.destination.capabilities()
    return "delete-insert" in (capabilities.supported_merge_strategies or ())


def table_format(pipeline: dlt.Pipeline) -> Any:
    """What tables are on a filesystem: ``delta``, ``iceberg`` or ``parquet``; None in a database.

    Raises:
        ConfigurationError: Another format is configured.
    """
    if merges_in_sql(pipeline):
        return None
    configured: Any = setting("table_format")
    name: str = configured or settings.TABLE_FORMAT
    if name not in _FORMATS:
        raise ConfigurationError(
            f"{settings.TABLE_FORMAT_VARIABLE} is {name!r}: delta, iceberg or parquet is expected"
        )
    return name


def adapt_to_destination(source: Source, pipeline: dlt.Pipeline) -> Source:
    """Changes a source's hints to what the destination of a pipeline can do.

    For whoever runs `komos_source.komos_source` in a pipeline of their own on a filesystem; into a
    database the source loads as it is.

    Raises:
        ConfigurationError: As for `table_format`.
    """
    name = table_format(pipeline)
    for resource in source.resources.values():
        if name == "parquet":
            resource.apply_hints(write_disposition="append", file_format="parquet")
        elif name:
            upsert: Any = {"disposition": "merge", "strategy": "upsert"}
            resource.apply_hints(write_disposition=upsert, table_format=name)
    return source
