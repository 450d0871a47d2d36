"""The views a load leaves in the destination: DuckDB and a real Postgres."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg
import pytest

from komos_source import analytics, komos_source
from komos_source.analytics import failure_precursors, node_regressions, query
from komos_source.analytics.render import QUERIES
from komos_source.analytics.views import VIEWS, create_views
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import ConfigurationError, DestinationError, LockedError, UsageError
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

DOCS = Path(__file__).parents[2] / "docs"
ANALYSIS_PAGES = [
    page.read_text("utf-8")
    for page in (DOCS / "analysis.md", *sorted((DOCS / "analysis").glob("*.md")))
]


@pytest.fixture
def two_runs(world: FakeKomos) -> FakeKomos:
    task_id = world.add_task("Orders")
    for status in ("COMPLETED", "FAILED"):
        run_id = world.add_run(task_id)
        world.append(run_id, {"nodeId": "click"}, {"nodeId": None})
        if status == "FAILED":
            world.append(run_id, {"nodeId": "click", "level": "error", "message": "Gone after 3 s"})
        world.finish(run_id, status)
    return world


_HEALTH = [("(no node)", 2, 0), ("click", 2, 1)]


def _health(home: LoadEnv) -> list[tuple[object, ...]]:
    return home.rows("SELECT node_id, runs, runs_with_error FROM node_health ORDER BY 1")


def _pipeline(home: LoadEnv, destination: str = "duckdb") -> dlt.Pipeline:
    return make_pipeline(destination, pipelines_dir=str(home.directory / "pipelines"))


def test_load_creates_the_views(home: LoadEnv, two_runs: FakeKomos) -> None:
    assert home.load().exit_code == 0
    assert _health(home) == _HEALTH
    for view in VIEWS:
        assert home.value(f"SELECT COUNT(*) FROM {view}") > 0


def test_views_can_be_read_by_another_duckdb_session(home: LoadEnv, two_runs: FakeKomos) -> None:
    home.load()
    with duckdb.connect() as other:
        other.execute(f"ATTACH '{home.file}' AS logs (READ_ONLY)")
        for view in VIEWS:
            assert other.execute(f"SELECT COUNT(*) FROM logs.komos.{view}").fetchall() > [(0,)]
    with duckdb.connect(str(home.file)) as same:
        assert same.execute("SELECT COUNT(*) FROM komos.node_health").fetchall() == [(2,)]


def test_load_of_runs_by_id_alone_creates_the_views(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    assert home.load(run_ids=[run_id]).exit_code == 0
    assert home.value("SELECT COUNT(*) FROM node_health") == 0
    assert home.rows("SELECT run_id, status, entries FROM run_outcomes") == [(run_id, None, 1)]


def test_query_before_the_first_load_names_the_command_to_run(
    home: LoadEnv, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    with pytest.raises(DestinationError, match="run `komos load` first"):
        node_regressions(_pipeline(home, "postgres"))


def test_query_of_a_missing_duckdb_file_creates_no_file(home: LoadEnv) -> None:
    with pytest.raises(DestinationError, match=r"there is no database .*\.duckdb yet"):
        node_regressions(_pipeline(home))
    assert not home.file.exists()


def test_sql_in_the_docs_runs(home: LoadEnv, two_runs: FakeKomos) -> None:
    home.load()
    blocks = re.findall(r"```sql\n(.*?)```", "".join(ANALYSIS_PAGES), re.DOTALL)
    assert blocks
    for block in blocks:
        home.rows(block)


def test_python_in_the_docs_runs_and_each_query_is_described(
    home: LoadEnv, two_runs: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.load()
    monkeypatch.setenv("DLT_DATA_DIR", str(home.directory / "dlt"))
    first = ANALYSIS_PAGES[0]
    assert set(re.findall(r"^\| `(\w+)` \|", first, re.MULTILINE)) == {*QUERIES}
    program = "".join(re.findall(r"```python\n(.*?)```", "".join(ANALYSIS_PAGES), re.DOTALL))
    exec(program.replace("extract_orders", "click"), names := {})
    assert len(names["entries"]) == 1


def test_load_without_views_creates_none(home: LoadEnv, two_runs: FakeKomos) -> None:
    assert home.load(views=False).exit_code == 0
    assert home.value("SELECT COUNT(*) FROM duckdb_views() WHERE NOT internal") == 0
    assert len(query(_pipeline(home), "node_health")) == 2  # functions do not need them


def test_views_are_created_only_where_one_is_missing_or_has_changed(
    home: LoadEnv, two_runs: FakeKomos
) -> None:
    home.load()
    pipeline = _pipeline(home)
    assert not create_views(pipeline, "UTC")
    home.rows("DROP VIEW node_gaps")
    assert create_views(pipeline, "UTC")
    assert home.value("SELECT COUNT(*) FROM node_gaps") == 2
    assert create_views(pipeline, "Asia/Tokyo")
    assert "Asia/Tokyo" in home.value(
        "SELECT sql FROM duckdb_views() WHERE view_name = 'node_health_daily'"
    )
    assert not create_views(pipeline, "Asia/Tokyo")


def test_create_views_replaces_a_view_whose_text_has_changed(
    home: LoadEnv, two_runs: FakeKomos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.load()
    newer = shutil.copytree(Path(analytics.__file__).parent, tmp_path / "newer")
    (newer / "node_gaps.sql").write_text("SELECT 'newer' AS says", "utf-8")
    monkeypatch.setattr("komos_source.analytics.views._ANALYTICS", newer)
    monkeypatch.setattr("komos_source.analytics.render._DIRECTORY", newer)
    assert create_views(_pipeline(home), "UTC")
    assert home.value("SELECT says FROM node_gaps") == "newer"
    assert not create_views(_pipeline(home), "UTC")


def test_views_use_the_configured_time_zone(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.add_run(world.add_task("Orders"))  # at 18:00 UTC, when Tokyo has the next day
    world.append(run_id, {})
    world.finish(run_id)
    monkeypatch.setenv("SOURCES__KOMOS__TIME_ZONE", "Asia/Tokyo")
    home.load()
    assert str(home.value("SELECT day FROM node_health_daily")) == "2025-10-15"
    assert query(_pipeline(home), "node_health_daily")["day"].dt.day.tolist() == [15]


def test_load_with_an_unknown_time_zone_is_refused_before_any_request(
    home: LoadEnv, two_runs: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__TIME_ZONE", "Mars/Olympus")
    with pytest.raises(ConfigurationError, match="'Mars/Olympus', which is no time zone"):
        home.load()
    assert not home.emulator.requests


def test_load_reports_a_view_that_cannot_be_created_and_keeps_the_data(
    home: LoadEnv, two_runs: FakeKomos
) -> None:
    home.load(views=False)
    home.rows("CREATE TABLE node_health (mine INT)")
    report = home.load()
    assert report.exit_code == 3
    assert "node_health could not be created" in report.problems[0]
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 5
    home.rows("DROP TABLE node_health")
    assert home.load().exit_code == 0
    assert _health(home) == _HEALTH


@contextmanager
def _opened(file: Path) -> Iterator[Callable[[], Any]]:
    """Another process that has the file open until the function is called."""
    script = (
        "import duckdb, sys\n"
        f"connection = duckdb.connect({str(file)!r})\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
        "connection.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield lambda: holder.communicate("\n")
        holder.wait(timeout=20)


def test_query_waits_for_a_process_that_has_the_duckdb_file_open(
    home: LoadEnv, two_runs: FakeKomos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.load()
    with _opened(home.file) as close:
        monkeypatch.setattr("komos_source.analytics.database.LOCK_TIMEOUT", 0.5)
        with pytest.raises(LockedError, match="open in another process"):
            query(_pipeline(home), "node_health")
        monkeypatch.setattr("komos_source.analytics.database.LOCK_TIMEOUT", 60.0)
        threading.Timer(0.5, close).start()
        assert len(query(_pipeline(home), "node_health")) == 2


def test_views_and_functions_work_on_postgres(
    home: LoadEnv, two_runs: FakeKomos, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    assert home.load(destination="postgres").exit_code == 0
    pipeline = _pipeline(home, "postgres")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT node_id, runs, runs_with_error FROM komos.node_health ORDER BY 1"
        ).fetchall()
        assert rows == _HEALTH
        for view in VIEWS:
            assert connection.execute(f"SELECT COUNT(*) FROM komos.{view}").fetchall() > [(0,)]
        # A view that a user created on top of this one is kept.
        connection.execute("CREATE VIEW public.mine AS SELECT * FROM komos.node_health_daily")
        assert not create_views(pipeline, "UTC")
        assert create_views(pipeline, "Asia/Tokyo")
        assert connection.execute("SELECT COUNT(*) FROM public.mine").fetchall() == [(2,)]
        connection.execute("DROP VIEW public.mine")
        # A view with other columns, as an earlier version may have left it, is replaced too.
        connection.execute("DROP VIEW komos.node_gaps")
        connection.execute("CREATE VIEW komos.node_gaps AS SELECT 1 AS other")
        assert create_views(pipeline, "UTC")
        assert connection.execute("SELECT SUM(gaps) FROM komos.node_gaps").fetchall() == [(3,)]
    health = query(pipeline, "node_health").set_index("node_id")
    assert health.loc["click", "error_rate"] == 0.5
    assert node_regressions(pipeline)["state"].to_dict() == {0: "new", 1: "quiet"}
    assert failure_precursors(pipeline).empty
    database = analytics.open_database("postgres")
    found = database.sql("SELECT node_id FROM node_health WHERE node_id LIKE '%li%'")
    assert found["node_id"].tolist() == ["click"]
    with pytest.raises(UsageError, match="other destinations can be read while they are loaded"):
        database.copy_to(home.directory / "copy.duckdb")


def _own_pipeline(home: LoadEnv, file: str = "own.duckdb", **options: Any) -> dlt.Pipeline:
    return dlt.pipeline(
        "own",
        destination=dlt.destinations.duckdb(str(home.directory / file)),
        dataset_name="komos",
        pipelines_dir=str(home.directory / "pipelines"),
        **options,
    )


def test_create_views_after_a_pipeline_of_ones_own_makes_all_views_once(
    home: LoadEnv, two_runs: FakeKomos
) -> None:
    pipeline = _own_pipeline(home)
    pipeline.run(komos_source(api_key=home.emulator.api_key, base_url=home.emulator.base_url))
    assert analytics.create_views(pipeline)
    assert not analytics.create_views(pipeline)
    with pipeline.sql_client() as client:
        for view in VIEWS:
            rows = client.execute_sql(f"SELECT task_name FROM {view}")
            assert {*rows} == {("Orders",)}, view


def test_create_views_uses_the_configured_time_zone(
    home: LoadEnv, two_runs: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.load(views=False)
    monkeypatch.setenv("SOURCES__KOMOS__TIME_ZONE", "Asia/Tokyo")
    assert create_views(_pipeline(home))
    assert str(home.value("SELECT MIN(day) FROM node_health_daily")) == "2025-10-15"


def test_create_views_without_the_tables_names_the_missing_one(
    home: LoadEnv, two_runs: FakeKomos
) -> None:
    pipeline = _own_pipeline(home)
    source = komos_source(api_key=home.emulator.api_key, base_url=home.emulator.base_url)
    pipeline.run(source.with_resources("task_runs", "task_run_logs"))
    with pytest.raises(DestinationError, match=r"task_run_log_loads .* Load all tables") as raised:
        create_views(pipeline)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "ask",
    [
        create_views,
        analytics.run_checks,
        node_regressions,
        failure_precursors,
        lambda pipeline: query(pipeline, "node_health"),
        lambda pipeline: analytics.open_database(
            database=pipeline.destination_client().config.credentials.database
        ),
    ],
)
def test_question_to_a_missing_duckdb_file_creates_no_file(home: LoadEnv, ask: Any) -> None:
    with pytest.raises(DestinationError, match=r"there is no database .*missing\.duckdb yet"):
        ask(_own_pipeline(home, "missing.duckdb"))
    assert not (home.directory / "missing.duckdb").exists()


def test_joined_views_need_no_renaming_and_run_steps_says_how_long_each_node_took(
    home: LoadEnv, two_runs: FakeKomos
) -> None:
    home.load()
    assert set(home.rows("SELECT task_name, status FROM run_outcomes")) == {
        ("Orders", "COMPLETED"),
        ("Orders", "FAILED"),
    }
    steps = home.rows(
        "SELECT task_name, status, node_id, seconds FROM run_steps JOIN run_outcomes "
        "USING (run_id, task_id, task_name) WHERE status = 'COMPLETED' ORDER BY step"
    )
    assert steps == [("Orders", "COMPLETED", node, 0.0) for node in ("click", "(no node)")]


def test_sql_and_copy_wait_for_a_process_that_has_the_duckdb_file_open(
    home: LoadEnv, two_runs: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.load()
    database, copy = analytics.open_database(database=home.file), home.directory / "it's.duckdb"
    copy.write_text("an earlier copy")
    read = "SELECT node_id FROM node_health WHERE node_id LIKE '%cl%' AND error_rate % 2 = 0.5"
    with _opened(home.file) as close:
        monkeypatch.setattr("komos_source.analytics.database.LOCK_TIMEOUT", 0.1)
        for ask in (lambda: database.sql(read), lambda: database.copy_to(copy)):
            with pytest.raises(LockedError, match="open in another process"):
                ask()
        assert copy.read_text() == "an earlier copy"
        monkeypatch.setattr("komos_source.analytics.database.LOCK_TIMEOUT", 60.0)
        threading.Timer(0.5, close).start()
        assert database.sql(read)["node_id"].tolist() == ["click"]
    database.copy_to(copy)
    with duckdb.connect(str(copy)) as kept_open:
        assert home.load().exit_code == 0
        database.copy_to(copy)
        health = kept_open.execute("SELECT COUNT(*) FROM komos.node_health").fetchall()
    assert health == [(2,)]
    assert not list(home.directory.glob(".komos-copy-*"))


def test_copy_to_the_loaded_file_itself_is_refused(home: LoadEnv, two_runs: FakeKomos) -> None:
    home.load()
    with pytest.raises(UsageError, match="name a file other than"):
        analytics.open_database(database=home.file).copy_to(home.file)
    assert len(_health(home)) == 2
    with pytest.raises(DestinationError, match="cannot be copied to"):
        analytics.open_database(database=home.file).copy_to(home.directory / "no" / "where")


def test_wrong_sql_is_reported_in_one_line(home: LoadEnv, two_runs: FakeKomos) -> None:
    home.load()
    for text in ("SELECT nothing FROM node_health", "SELECT * FROM no_such_table"):
        with pytest.raises(DestinationError) as raised:
            analytics.open_database(database=home.file).sql(text)
        assert "\n" not in str(raised.value)
        assert "nothing" in str(raised.value) or "no_such_table" in str(raised.value)
