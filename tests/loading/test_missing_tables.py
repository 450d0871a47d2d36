"""Tables that were dropped, renamed or emptied by hand are filled again by the next load."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from komos_source import load_shard
from komos_source.analytics.views import VIEWS
from komos_source.testing import FakeKomos
from tests.conftest import THOROUGH, LoadEnv

TABLES = [
    "task_run_logs",
    "task_runs",
    "tasks",
    "task_run_log_loads",
    "komos_loads",
    "_dlt_pipeline_state",
    "_dlt_loads",
    "_dlt_version",
]
HARMS = {
    "dropped": "DROP TABLE komos.{0} CASCADE",
    "renamed": "ALTER TABLE komos.{0} RENAME TO {0}_old",
    "emptied": "DELETE FROM komos.{0}",
}
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def runs(world: FakeKomos) -> list[str]:
    """Settled runs of two tasks; an entry of each cannot be a row."""
    now = world.clock.now()
    run_ids = []
    for name in ("Orders", "Prices"):
        task = world.add_task(name)
        for hours in (2, 3):
            run_ids.append(world.add_run(task, created_at=now - timedelta(hours=hours + 1)))
            world.append(run_ids[-1], {}, {}, {"id": None})
            world.finish(run_ids[-1], at=now - timedelta(hours=hours))
    return run_ids


@pytest.fixture(params=["duckdb", "postgres"])
def query(request: pytest.FixtureRequest, home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> Query:
    """Runs a statement in the destination; the loads of `home` go there."""
    if request.param == "duckdb":

        def run_in_duckdb(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(str(home.file)) as connection:
                return connection.execute(sql.replace(" CASCADE", "")).fetchall()

        home.defaults["destination"] = "duckdb"
        return run_in_duckdb
    import psycopg2

    url = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    home.defaults["destination"] = "postgres"

    def run_in_postgres(sql: str) -> list[tuple[Any, ...]]:
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    return run_in_postgres


def contents(query: Query) -> dict[str, Any]:
    names = ("tasks", "task_runs", "task_run_log_loads", "task_run_logs_rejected")
    counts = {name: query(f"SELECT COUNT(*) FROM komos.{name}")[0][0] for name in names}
    rows = query("SELECT run_id, id FROM komos.task_run_logs ORDER BY run_id, id")
    return {**counts, "rows": rows, "view": query("SELECT SUM(entries) FROM komos.node_health")}


@pytest.mark.parametrize("harm", HARMS)
def test_load_fills_tables_again_that_were_dropped_renamed_or_emptied(
    home: LoadEnv, runs: list[str], query: Query, harm: str
) -> None:
    home.load()
    before = contents(query)
    assert len(before["rows"]) == 8
    each_alone = THOROUGH or (home.defaults["destination"] == "duckdb" and harm == "dropped")
    for tables in ([table] for table in TABLES) if each_alone else (TABLES[:5], TABLES[5:]):
        for table in tables:
            query(HARMS[harm].format(table))
        result = home.load()
        assert (result.exit_code, result.problems) == (0, ())
        assert contents(query) == before, tables
        if tables[0] in {"task_run_logs", "task_runs"}:
            assert "missing or empty in the destination" in result.notes[0]
            noted = query("SELECT problems FROM komos.komos_loads ORDER BY started_at DESC")
            if harm != "emptied":  # emptied together, only the table beside it proves the loss
                assert tables[0] in result.notes[0]
                assert tables[0] in noted[0][0]
        assert query("SELECT COUNT(*) FROM komos.komos_loads")[0][0] > 0
    again = home.load()
    assert (again.notes, again.entries_loaded, again.requests) == ((), 0, 3)


def test_load_fills_a_table_again_whose_column_was_dropped(
    home: LoadEnv, runs: list[str], query: Query
) -> None:
    home.load()
    before = contents(query)
    query("ALTER TABLE komos.task_runs DROP COLUMN trigger_type CASCADE")
    result = home.load()
    assert "(task_runs)" in result.notes[0]
    assert contents(query) == before
    assert query("SELECT COUNT(trigger_type) FROM komos.task_runs") == [(4,)]


def test_load_into_a_dataset_whose_schema_was_dropped_loads_everything(
    home: LoadEnv, runs: list[str]
) -> None:
    home.load()
    home.rows("DROP SCHEMA komos CASCADE")
    assert home.load().exit_code == 0
    assert len(home.table()) == 8


def test_loads_of_all_shards_fill_a_dropped_table_again(home: LoadEnv, runs: list[str]) -> None:
    options = {
        "api_key": home.emulator.api_key,
        "base_url": home.emulator.base_url,
        "pipelines_dir": str(home.directory / "pipelines"),
    }
    for bucket in range(3):
        load_shard(bucket, 3, **options)
    home.rows("DROP TABLE task_run_logs")
    for bucket in range(3):
        assert load_shard(bucket, 3, **options).exit_code == 0
    assert len(home.table()) == 8


def test_load_with_nothing_but_old_runs_skipped_by_since_resets_nothing(
    home: LoadEnv, runs: list[str]
) -> None:
    tomorrow = "2999-01-01"
    home.load(since=tomorrow)
    assert home.load(since=tomorrow).notes == ()


def test_load_skips_a_table_whose_column_has_another_type_until_it_is_changed_back(
    home: LoadEnv, runs: list[str], world: FakeKomos, query: Query
) -> None:
    home.load()
    for view in VIEWS:
        query(f"DROP VIEW komos.{view} CASCADE")
    query("ALTER TABLE komos.task_run_logs ALTER COLUMN level TYPE INTEGER USING 1")
    query("ALTER TABLE komos.task_run_logs ALTER COLUMN position TYPE VARCHAR")  # takes numbers
    task = world.tasks()[0]["id"]
    for _ in range(2):
        added = world.add_run(task)
        world.append(added, {}, {})
        result = home.load(views=False)
        assert result.exit_code == 3
        (problem,) = result.problems
        assert problem.startswith("nothing is loaded into the table task_run_logs, because its col")
        assert query(f"SELECT COUNT(*) FROM komos.task_runs WHERE id = '{added}'") == [(1,)]
    query("ALTER TABLE komos.task_run_logs ALTER COLUMN level TYPE VARCHAR USING 'info'")
    result = home.load()
    assert (result.exit_code, result.problems) == (0, ())
    assert query("SELECT COUNT(*) FROM komos.task_run_logs") == [(12,)]


def test_load_with_a_view_in_place_of_a_table_skips_the_table_until_the_view_is_gone(
    home: LoadEnv, runs: list[str], world: FakeKomos, query: Query
) -> None:
    home.load(views=False)
    query("ALTER TABLE komos.task_run_log_loads RENAME TO kept")
    query("CREATE VIEW komos.task_run_log_loads AS SELECT * FROM komos.kept")
    added = world.add_run(world.tasks()[0]["id"])
    world.append(added, {})
    result = home.load(views=False)
    assert result.exit_code == 3
    (problem,) = result.problems
    assert problem.startswith("nothing is loaded into the table task_run_log_loads, because a view")
    assert query(f"SELECT COUNT(*) FROM komos.task_run_logs WHERE run_id = '{added}'") == [(1,)]
    query("DROP VIEW komos.task_run_log_loads")
    assert home.load(views=False).exit_code == 0
    counted = f"SELECT entries FROM komos.task_run_log_loads WHERE run_id = '{added}'"
    assert query(counted) == [(1,)]


def test_load_beside_views_and_tables_of_the_user_goes_on_and_names_what_is_in_the_way(
    home: LoadEnv, runs: list[str], world: FakeKomos, query: Query
) -> None:
    home.load()
    query("CREATE VIEW komos.mine AS SELECT id, message FROM komos.task_run_logs")
    query("DROP VIEW komos.node_gaps CASCADE")
    query("CREATE TABLE komos.node_gaps (note VARCHAR)")
    world.append(world.add_run(world.tasks()[0]["id"]), {}, {})
    result = home.load()
    (problem,) = result.problems
    assert problem.startswith("the view node_gaps could not be created: ")
    assert problem.endswith("--no-views (in Python: views=False) leaves the views out.")
    assert query("SELECT COUNT(*) FROM komos.mine") == [(10,)]
    assert query("SELECT COUNT(*) FROM komos.node_gaps") == [(0,)]
