"""The pipeline that loads run in: its DuckDB file, and how it merges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from komos_source.destinations.loading_path import loading_path, with_direct_merge
from komos_source.destinations.pipeline import duckdb_file, make_pipeline, name_clash_warning
from komos_source.exceptions import ConfigurationError
from komos_source.shard import Shard

FILE_OF_A_PIPELINE = """
import json, sys
from komos_source.destinations.pipeline import duckdb_file, make_pipeline
print(json.dumps([duckdb_file(make_pipeline(pipeline_name=name)) for name in sys.argv[1:]]))
"""


def duckdb_files(directory: Path, *pipeline_names: str, **variables: str) -> Any:
    """The DuckDB files that pipelines of these names use in a directory of their own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DESTINATION__")}
    output = subprocess.run(
        [sys.executable, "-c", FILE_OF_A_PIPELINE, *pipeline_names],
        cwd=directory,
        env=environment | {"DLT_DATA_DIR": str(directory / "dlt"), **variables},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(output.stdout)


def write(directory: Path, name: str, text: str) -> None:
    (directory / ".dlt").mkdir(exist_ok=True)
    (directory / ".dlt" / name).write_text(text)


@pytest.mark.parametrize("name", ["config.toml", "secrets.toml"])
@pytest.mark.parametrize(
    "text",
    [
        '[destination.duckdb]\ncredentials = "data/mine.duckdb"',
        '[destination.duckdb]\ncredentials = "duckdb:///data/mine.duckdb"',
        '[destination.duckdb.credentials]\ndatabase = "data/mine.duckdb"',
    ],
)
def test_duckdb_file_configured_in_toml_is_used(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)
    assert duckdb_files(tmp_path, "any") == [str(tmp_path / "data" / "mine.duckdb")]


def test_duckdb_file_configured_for_one_pipeline_is_used_by_it_only(tmp_path: Path) -> None:
    write(tmp_path, "config.toml", '[mine.destination.duckdb]\ncredentials = "mine.duckdb"')
    variable = {"YOURS__DESTINATION__DUCKDB__CREDENTIALS": "yours.duckdb"}
    files = duckdb_files(tmp_path, "mine", "yours", "other", **variable)
    names = ["mine.duckdb", "yours.duckdb", "komos_task_run_logs.duckdb"]
    assert files == [str(tmp_path / name) for name in names]


def test_duckdb_file_in_the_environment_precedes_toml(tmp_path: Path) -> None:
    write(tmp_path, "config.toml", '[destination.duckdb]\ncredentials = "mine.duckdb"')
    variable = {"DESTINATION__DUCKDB__CREDENTIALS": "duckdb:///env.duckdb"}
    assert duckdb_files(tmp_path, "any", **variable) == [str(tmp_path / "env.duckdb")]


def test_duckdb_file_by_default_is_the_same_for_all_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DESTINATION__DUCKDB__CREDENTIALS", raising=False)
    for shard in (None, Shard(1, 4)):
        name = "komos_task_run_logs" + (shard.suffix if shard else "")
        pipeline = make_pipeline(
            pipeline_name=name, shard=shard, pipelines_dir=str(tmp_path / "dlt")
        )
        assert duckdb_file(pipeline) == str(tmp_path / "komos_task_run_logs.duckdb")


@pytest.mark.parametrize("name", ["komos.duckdb", "komos.prod.duckdb", ".komos", "KOMOS.db"])
def test_duckdb_file_named_like_its_dataset_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="rename the file"):
        make_pipeline(pipelines_dir=str(tmp_path), database=str(tmp_path / name))


def test_duckdb_file_named_unlike_its_dataset_is_accepted(tmp_path: Path) -> None:
    assert name_clash_warning(str(tmp_path / "data.duckdb"), "komos") is None


def test_duckdb_memory_in_the_direct_merge_is_limited_unless_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit() -> str:
        pipeline = make_pipeline(
            pipelines_dir=str(tmp_path), database=str(tmp_path / "data.duckdb")
        )
        with pipeline.sql_client() as client:
            return str(client.execute_sql("SELECT current_setting('memory_limit')")[0][0])

    assert limit() == "305.1 MiB"
    setting = "DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG"
    monkeypatch.setenv(setting, '{"memory_limit": "512MiB"}')
    assert limit() == "512.0 MiB"


@pytest.mark.parametrize(
    ("value", "path"),
    [(None, "direct merge"), ("True", "direct merge"), ("false", "dlt"), ("off", "dlt")],
)
def test_loading_path_follows_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, path: str
) -> None:
    if value:
        monkeypatch.setenv("SOURCES__KOMOS__DIRECT_MERGE", value)
    assert loading_path(make_pipeline(pipelines_dir=str(tmp_path))) == path


def test_loading_path_refuses_a_setting_that_is_neither_true_nor_false(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__DIRECT_MERGE", "maybe")
    with pytest.raises(ConfigurationError, match="has to be true or false"):
        make_pipeline(pipelines_dir=str(tmp_path))


def test_loading_path_of_other_destinations_is_dlt(tmp_path: Path) -> None:
    assert loading_path(make_pipeline("postgres", pipelines_dir=str(tmp_path))) == "dlt"


def test_direct_merge_with_a_changed_dlt_is_not_used() -> None:
    class OtherArguments(DuckDbClient):
        def create_load_job(self, table: Any, file_path: str) -> Any:
            raise NotImplementedError

    class MissingMethod:
        pass

    assert with_direct_merge(DuckDbClient) is not DuckDbClient
    assert with_direct_merge(OtherArguments) is OtherArguments
    assert with_direct_merge(MissingMethod) is MissingMethod
