"""The Parquet files that loads write for themselves, as dlt writes them in a real pipeline."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komos_source.destinations import destination_for

ROWS = pa.table({"id": [str(uuid.uuid4()) for _ in range(1000)], "level": ["info"] * 1000})


def written(destination: Any, directory: Path) -> pq.ParquetFile:
    """The file of `ROWS` in a package for a destination."""
    pipeline = dlt.pipeline("files", pipelines_dir=str(directory), destination=destination)
    pipeline.extract(dlt.resource(ROWS, name="rows"))
    pipeline.normalize()
    (file,) = directory.rglob("rows.*.parquet")
    return pq.ParquetFile(file)


@pytest.mark.parametrize("ours", [True, False])
def test_only_our_own_files_go_without_what_nobody_reads(ours: bool, tmp_path: Path) -> None:
    name = str(tmp_path / "data.duckdb")
    destination = destination_for("duckdb", database=name)
    if not ours:
        destination = dlt.destinations.duckdb(name, loader_file_format="parquet")
    file = written(destination, tmp_path)
    ids, levels = (file.metadata.row_group(0).column(number) for number in range(2))
    assert file.read(["id", "level"]) == ROWS
    assert levels.has_dictionary_page
    assert ids.has_dictionary_page == ids.is_stats_set == (not ours)
    assert ids.compression == ("UNCOMPRESSED" if ours else "SNAPPY")


def test_what_is_configured_for_the_files_of_others_does_not_reach_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_WRITER__COMPRESSION", "gzip")
    file = written(destination_for("duckdb", database=str(tmp_path / "data.duckdb")), tmp_path)
    assert file.metadata.row_group(0).column(0).compression == "UNCOMPRESSED"
