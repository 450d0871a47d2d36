"""dlt's DuckDB destination as this source configures it."""

from __future__ import annotations

from pathlib import Path

import pytest
from dlt.common.destination.client import DestinationClientConfiguration

from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import ConfigurationError


@pytest.mark.parametrize(
    "address",
    [
        "md:///db?motherduck_token=CANARY",
        "md:db?motherduck_token=CANARY",
        "duckdb:///md:db?motherduck_token=CANARY",
        "postgresql://loader:CANARY@host/db",
    ],
)
def test_address_of_another_database_is_refused_without_its_password(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", address)
    with pytest.raises(ConfigurationError, match="the address of another database") as caught:
        make_pipeline(pipelines_dir=str(tmp_path))
    assert "CANARY" not in str(caught.value)


def test_name_of_the_destination_is_the_one_of_dlt(tmp_path: Path) -> None:
    pipeline = make_pipeline(database=tmp_path / "logs.duckdb", pipelines_dir=str(tmp_path))
    with pipeline.destination_client() as client:
        shown = str(client.config)
        assert shown == DestinationClientConfiguration.__str__(client.config)
    assert shown.endswith("/logs.duckdb")
