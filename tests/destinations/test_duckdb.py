"""dlt's DuckDB destination as this source configures it."""

from __future__ import annotations

from pathlib import Path

from dlt.common.destination.client import DestinationClientConfiguration

from komos_source.destinations.pipeline import make_pipeline


def test_name_of_the_destination_is_the_one_of_dlt(tmp_path: Path) -> None:
    pipeline = make_pipeline(database=tmp_path / "logs.duckdb", pipelines_dir=str(tmp_path))
    with pipeline.destination_client() as client:
        shown = str(client.config)
        assert shown == DestinationClientConfiguration.__str__(client.config)
    assert shown.endswith("/logs.duckdb")
