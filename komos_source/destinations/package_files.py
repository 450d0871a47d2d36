"""The Parquet files of a load package, for where the process that writes them also reads them.

Written once and read once, so cheaply: uncompressed, without statistics, and with dictionaries only
for columns whose values repeat. dlt's writer has Arrow try a dictionary for ids and messages, too.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.configuration import configspec
from dlt.common.data_writers import writers
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.schema.typing import C_DLT_LOAD_ID

from komos_source import settings

_REPEATING = ["run_id", "level", "node_id", C_DLT_LOAD_ID]


@configspec
class PackageFiles(ParquetFormatConfiguration):
    """The format of such files. It is not configured: nobody else reads them."""

    compression: Any = "none"
    row_group_size: int | None = settings.ROWS_PER_GROUP


class _Writer(writers.ArrowToParquetWriter):
    def __init__(self, f: Any, caps: Any = None, **options: Any) -> None:
        if caps and isinstance(caps.parquet_format, PackageFiles):
            # dlt would look for each option in all places of its configuration, for each file.
            options["_format"] = caps.parquet_format
        super().__init__(f, caps, **options)

    def _create_writer(self, schema: pa.Schema) -> pq.ParquetWriter:
        if not isinstance(self.parquet_format, PackageFiles):
            return super()._create_writer(schema)
        return pq.ParquetWriter(
            self._f,
            schema,
            compression=self.parquet_format.compression,
            use_dictionary=_REPEATING,
            write_statistics=False,
        )


# dlt has no place for writers of others; this one differs for `PackageFiles` only.
writers.WRITER_SPECS[_Writer.writer_spec()] = _Writer
