"""``komos report``: one file, from any destination, and what is said where there is no data."""

from __future__ import annotations

import re

import pytest

from komos_source.analytics.database import open_database
from komos_source.exceptions import DestinationError
from komos_source.report import write_report
from komos_source.testing import FakeKomos
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv


@pytest.fixture
def loaded(home: LoadEnv, world: FakeKomos) -> LoadEnv:
    task_id = world.add_task("Orders & <b>more</b>")
    for status in ("COMPLETED", "FAILED"):
        run_id = world.add_run(task_id)
        world.append(run_id, {"nodeId": "click"}, {"nodeId": None})
        if status == "FAILED":
            world.append(run_id, {"nodeId": "click", "level": "error", "message": "<script>1"})
        world.finish(run_id, status)
    assert home.load().exit_code == 0
    return home


def test_the_report_is_one_file_that_asks_nothing_of_others(loaded: LoadEnv) -> None:
    done = komos(loaded, "report", "--out", "page.html", "--time-zone", "Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    assert "page.html" in done.stdout
    page = (loaded.directory / "page.html").read_text("utf-8")
    assert "days in Asia/Tokyo" in page
    assert "15 October 2025" in page  # at 18:00 UTC Tokyo has the next day
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "Orders &amp; &lt;b&gt;more" in page
    assert "&lt;script&gt;1" in page
    assert page.count("<script>") == 1


def test_a_report_leaves_the_database_and_the_working_directory_as_they_were(
    loaded: LoadEnv,
) -> None:
    before = loaded.file.read_bytes()
    done = komos(loaded, "report", "--database", str(loaded.file))
    assert done.returncode == 0, done.stderr
    assert loaded.file.read_bytes() == before
    assert (loaded.directory / "komos-report.html").exists()
    assert not list((loaded.directory / "dlt").glob("pipelines/komos*"))


def test_without_data_it_says_what_to_run(home: LoadEnv) -> None:
    missing = komos(home, "report", "--database", "nowhere.duckdb")
    assert missing.returncode == 1
    assert "there is no database" in missing.stderr
    assert "komos demo" in missing.stderr
    assert not (home.directory / "nowhere.duckdb").exists()
    home.load()
    empty = komos(home, "report")
    assert empty.returncode == 1
    assert "there is no finished run" in empty.stderr
    other = komos(home, "report", "--dataset", "other")
    assert other.returncode == 1
    assert "there are no Komos tables in the dataset 'other'" in other.stderr
    assert "Traceback" not in missing.stderr + empty.stderr + other.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "no/such/folder.html"], "cannot be written to no/such/folder.html"),
        (["--time-zone", "Mars/Olympus"], "'Mars/Olympus' is no time zone"),
        (["--days", "3"], "--days"),
    ],
)
def test_wrong_usage_ends_with_2(loaded: LoadEnv, arguments: list[str], says: str) -> None:
    done = komos(loaded, "report", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_it_reads_postgres_as_well(
    loaded: LoadEnv, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    with pytest.raises(DestinationError, match="there are no Komos tables"):
        open_database("postgres")
    assert loaded.load(destination="postgres").exit_code == 0
    page = loaded.directory / "postgres.html"
    write_report(open_database("postgres"), page)
    assert "Orders &amp; &lt;b&gt;more" in page.read_text("utf-8")


def test_a_load_fills_the_file_where_it_runs(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    world.finish(run_id)
    for name in ("one", "other"):
        directory = home.directory / name
        directory.mkdir()
        here = LoadEnv(directory, home.emulator)
        data = str(home.directory / "dlt")  # what the first load left there is not followed
        for command in (["load"], ["report"]):
            done = komos(here, *command, DLT_DATA_DIR=data, DESTINATION__DUCKDB__CREDENTIALS="")
            assert done.returncode == 0, done.stderr
        assert here.file.exists()
        assert (directory / "komos-report.html").exists()
