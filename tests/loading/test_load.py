"""`komos_source.load`: names are checked before any change; only files of dlt are removed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pytest

from komos_source import after_shards, load, load_shard
from komos_source.destinations.pipeline import remove_working_directory
from komos_source.exceptions import ConfigurationError, UsageError
from komos_source.testing import FakeKomos
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv

NO_PIPELINE_NAMES = ["", ".", "..", "../precious", "a/b", "/tmp/a", "a\\b", "a b", "a\n", ".hidden"]


def add_file(directory: Path) -> Path:
    file = directory / "data.txt"
    directory.mkdir(parents=True)
    file.write_text("precious")
    return file


@pytest.mark.parametrize("name", NO_PIPELINE_NAMES)
@pytest.mark.parametrize("function", [load, after_shards, lambda **o: load_shard(0, 2, **o)])
def test_load_into_a_pipeline_named_like_a_path_is_refused_and_changes_nothing(
    function: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    pipelines = tmp_path / "pipelines"
    files = [add_file(pipelines / "other"), add_file(tmp_path / "precious")]
    with pytest.raises(UsageError, match="is not a pipeline name"):
        function(pipeline_name=name, pipelines_dir=str(pipelines), destination="duckdb")
    assert [file.read_text() for file in files] == ["precious"] * 2
    assert sorted(path.name for path in pipelines.iterdir()) == ["other"]


@pytest.mark.parametrize("where", ["absolute", "relative", "empty"])
def test_load_command_with_a_path_as_pipeline_name_exits_with_2_and_deletes_nothing(
    home: LoadEnv, where: str
) -> None:
    file = add_file(home.directory / "pipelines" / "other")
    name = {"absolute": str(file.parent), "relative": "../pipelines/other", "empty": ""}[where]
    done = komos(home, "load", "--pipeline-name", name)
    assert done.returncode == 2
    assert "is not a pipeline name" in done.stderr
    assert file.read_text() == "precious"


@pytest.mark.parametrize("name", ["", "a.b", 'a"b', "a/b", "1a", "a" * 64])
def test_load_into_a_dataset_whose_name_databases_change_is_refused(
    home: LoadEnv, name: str
) -> None:
    with pytest.raises(UsageError, match="is not a dataset name"):
        home.load(dataset_name=name)
    assert not home.file.exists()


def test_load_whose_working_directory_holds_foreign_files_leaves_them(
    home: LoadEnv, world: FakeKomos
) -> None:
    file = add_file(home.directory / "pipelines" / "mine")
    with pytest.raises(UsageError, match="belongs to another dlt pipeline"):
        home.load(pipeline_name="mine")
    assert file.read_text() == "precious"


def test_remove_working_directory_does_not_follow_a_link(tmp_path: Path) -> None:
    file = add_file(tmp_path / "elsewhere")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "mine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not a working directory"):
        remove_working_directory(tmp_path / "pipelines", "mine")
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    "found", [[], ["schemas", "0f" * 8], ["load"], ["trace.pickle", "normalize", "extract"]]
)
def test_remove_working_directory_removes_the_files_of_dlt(
    tmp_path: Path, found: list[str]
) -> None:
    remove_working_directory(tmp_path, "mine")  # as a load does that is killed later
    for name in found:
        (tmp_path / "mine" / name).mkdir(parents=True)
    remove_working_directory(tmp_path, "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("found", [["extract", "load"], ["state.json", "notes.txt"]])
def test_remove_working_directory_leaves_what_no_load_has_made(
    tmp_path: Path, found: list[str]
) -> None:
    (tmp_path / "mine").mkdir()
    for name in found:
        (tmp_path / "mine" / name).write_text('{"schema_names": ["komos"]}')
    with pytest.raises(UsageError, match="belongs to another dlt pipeline"):
        remove_working_directory(tmp_path, "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == set(found)


@pytest.mark.parametrize("place", [":pipeline:", "{0}/pipelines/komos_task_run_logs/my.duckdb"])
def test_load_into_a_database_in_the_working_directory_is_refused(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", place.format(home.directory))
    with pytest.raises(ConfigurationError, match="is in the working directory of dlt"):
        home.load()
    assert not home.emulator.requests


def test_load_into_another_pipeline_of_the_user_leaves_its_working_directory(
    home: LoadEnv, world: FakeKomos
) -> None:
    pipelines = home.directory / "pipelines"
    database = str(home.directory / "other.duckdb")
    destination = dlt.destinations.duckdb(database)
    other = dlt.pipeline("other", pipelines_dir=str(pipelines), destination=destination)
    other.extract([{"id": 1}], table_name="precious")
    with pytest.raises(UsageError, match="belongs to another dlt pipeline"):
        home.load(pipeline_name="other")
    assert not home.emulator.requests
    other.normalize()
    other.load()
    with other.sql_client() as client:
        assert client.execute_sql(f"SELECT COUNT(*) FROM {other.dataset_name}.precious") == [(1,)]


@pytest.mark.parametrize("state", ["", "[]", '{"schema_names": ["other", "komos"]}'])
def test_remove_working_directory_leaves_a_state_that_is_not_of_this_package(
    tmp_path: Path, state: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "state.json").write_text(state)
    with pytest.raises(UsageError, match="belongs to another dlt pipeline"):
        remove_working_directory(tmp_path, "mine")
    assert (tmp_path / "mine" / "state.json").read_text() == state


def test_load_leaves_no_rows_in_the_working_directory(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {"message": "secret"})
    assert home.load().entries_loaded == 1
    pipelines = home.directory / "pipelines"
    assert not [path for path in pipelines.rglob("*.parquet") if path.is_file()]


def test_load_with_a_time_zone_that_is_none_is_refused_before_any_request(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__TIME_ZONE", "Europe/Atlantis")
    with pytest.raises(ConfigurationError, match="Europe/Atlantis"):
        home.load()
    assert not home.emulator.requests


def test_load_calls_on_start_with_metrics_that_grow(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    started = []
    home.load(on_start=started.append)
    assert [metrics.entries for metrics in started] == [2]


@pytest.mark.parametrize("step", ["normalize", "load"])
def test_load_interrupted_within_a_step_of_dlt_ends_after_that_step(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    original = getattr(dlt.Pipeline, step)

    def interrupted(pipeline: dlt.Pipeline, *args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return original(pipeline, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(dlt.Pipeline, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            home.load()
    home.load()
    assert len(home.table()) == 1
