"""Write disposition and table format of the tables, by kind of destination.

The hints in `komos_source.tables` are for databases: dlt's delete-insert merge keeps each key once
whatever a crash left behind. dlt has no such merge for files:

- Delta and Iceberg tables are merged by ``upsert``. That keeps each key once if no load package
  holds a key twice, and none does: a load reads each run's log once, and `komos_source.decoding`
  keeps one of several entries of a log that have the same id.
- Plain Parquet files can only be appended to. Each entry is there at least once: again if a load
  that was killed had already written it, or if an entry changed its place in the log.
"""

from __future__ import annotations

from typing import Any, TypeVar

import dlt
from dlt.extract import DltSource

from komos_source import settings
from komos_source.config import Setting
from komos_source.exceptions import ConfigurationError

Source = TypeVar("Source", bound=DltSource)

_FORMATS = ("delta", "iceberg", "parquet")
FORMAT = Setting(
    "table_format",
    "Tables on a filesystem: `delta`, `iceberg` or `parquet`, see docs/destinations.md.",
    settings.TABLE_FORMAT,
)


def merges_in_sql(pipeline: dlt.Pipeline) -> bool:
    """Returns whether the destination is a database that merges by dlt's delete-insert strategy."""
    capabilities = pipeline.destination.capabilities()
    return "delete-insert" in (capabilities.supported_merge_strategies or ())


def table_format(pipeline: dlt.Pipeline) -> Any:
    """Returns the format of tables on a filesystem; None for a database.

    Raises:
        ConfigurationError: Another format than delta, iceberg or parquet is configured.
    """
    if merges_in_sql(pipeline):
        return None
    name: str = FORMAT.value()
    if name not in _FORMATS:
        raise ConfigurationError(
            f"{FORMAT.variable} is {name!r}: set it to delta, iceberg or parquet"
        )
    return name


def adapt_to_destination(source: Source, pipeline: dlt.Pipeline) -> Source:
    """Changes a source's hints to what the destination of a pipeline supports.

    Needed for a filesystem only; databases are loaded with the source's own hints.

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
