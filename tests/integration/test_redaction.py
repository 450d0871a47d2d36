"""Redaction: planted secrets are in no file, table, spool, log or report, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from komos_source import komos_source, redact
from komos_source.analytics import open_database
from komos_source.analytics.database import fetch
from komos_source.exceptions import NotLoadedError
from komos_source.redaction.config import configured_redactor
from komos_source.tables import ARROW_TABLES, TABLES
from komos_source.testing import FakeKomos
from komos_source.testing.webhooks import signed_headers
from komos_source.webhooks import Spool, verify
from tests import warm
from tests.cli.conftest import Komos, komos_here
from tests.conftest import THOROUGH, LoadEnv
from tests.integration import kill_at, kill_at_statement
from tests.planted_secrets import KINDS, Secrets, plant
from tests.receiver import SECRET

__all__ = ["komos_here"]  # a fixture


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def run_ids(world: FakeKomos, secrets: Secrets) -> list[str]:
    ids = plant(world, secrets, runs=7)
    assert len(secrets.made) >= 200
    assert {kind for kind, _ in secrets.made} == {*KINDS}
    return ids


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "all")


def found_below(directory: Path, secrets: Secrets) -> dict[str, list[tuple[str, str]]]:
    """The secrets in all files below a directory, by file."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    found = {str(path): secrets.found_in(path.read_bytes()) for path in files}
    return {path: each for path, each in found.items() if each}


def start(home: LoadEnv, *command: str) -> warm.Started:
    environment = {
        "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
        "SOURCES__KOMOS__SPOOL": f"sqlite:///{home.directory / 'spool.db'}",
        "SOURCES__KOMOS__BACKOFF": "0.01",
        "DLT_DATA_DIR": str(home.directory),
        "KOMOS_LOG_FORMAT": "json",
    }
    return warm.start(command, home.directory, os.environ | environment)


def deliver(home: LoadEnv, world: FakeKomos, secrets: Secrets, run_id: str) -> None:
    """Puts deliveries with further secrets into the spool, as the receiver does."""
    entries = [{"id": "pushed", "message": secrets.next()}, {"message": [secrets.next()]}]
    events: Mapping[str, Any] = {
        "task-run.log": {"runId": run_id, "logEntries": entries, "more": secrets.next()},
        "task-run.completed": world.run(run_id),
        "other": {"text": secrets.next(), "number": secrets.card()},
    }
    url = f"sqlite:///{home.directory / 'spool.db'}"
    with contextlib.closing(Spool(url, reserve=0)) as spool:
        for event, value in events.items():
            body = json.dumps(value).encode()
            spool.put([verify(signed_headers(SECRET, event, body), body, secrets=[SECRET])])


@pytest.mark.usefixtures("rules")
def test_load_killed_at_each_step_leaves_no_secret_in_any_file(
    home: LoadEnv, world: FakeKomos, run_ids: list[str], secrets: Secrets
) -> None:
    fault = home.emulator.faults
    for step in [*kill_at.STEPS][:: 1 if THOROUGH else 2]:
        deliver(home, world, secrets, run_ids[0])
        # A log that cannot be read, for a reason with a secret.
        fault.add(f"{run_ids[1]}/logs", "status", status=410, detail={"why": secrets.next()})
        assert found_below(home.directory, secrets) == {}
        output, error = (process := start(home, kill_at.__file__, step, "load")).communicate(120)
        assert process.returncode == -signal.SIGKILL, f"{step}: {error}"
        assert found_below(home.directory, secrets) == {}, step
        assert secrets.found_in((output + error).encode()) == []
    task = world.tasks()[0]["id"]
    fault.add(f"{task}/runs", "status", times=1, status=422, detail=secrets.next())
    for exit_code in (3, 3, 0):
        output, error = (process := start(home, "-m", "komos_source", "load")).communicate(120)
        assert process.returncode == exit_code, error
        assert secrets.found_in((output + error).encode()) == []
        assert found_below(home.directory, secrets) == {}
        if home.rows("FROM komos_loads WHERE problems LIKE '%410%'"):
            fault.clear()
    assert home.rows("FROM komos_loads WHERE problems LIKE '%422%'")
    start(home, "-m", "komos_source", "report", "--out", "report.html").communicate(120)
    assert (home.directory / "report.html").exists()
    assert found_below(home.directory, secrets) == {}
    versions = home.rows("SELECT DISTINCT redaction FROM komos_loads")
    assert versions == [(configured_redactor().version,)]
    with duckdb.connect(str(home.file)) as connection:
        (count,) = connection.sql("SELECT COUNT(*) FROM komos.task_run_logs").fetchall()[0]
    assert count == sum(len(world.log(run_id)) for run_id in run_ids) - 7 * len(run_ids) + 1


@pytest.mark.usefixtures("rules")
def test_pipeline_of_ones_own_stores_no_secret(
    home: LoadEnv, run_ids: list[str], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = dlt.pipeline(
        "own",
        destination=dlt.destinations.duckdb(str(home.directory / "mine.duckdb")),
        dataset_name="own",
        pipelines_dir=str(home.directory / "pipelines"),
    )
    source = komos_source(api_key=home.emulator.api_key, base_url=home.emulator.base_url)
    pipeline.run(source)
    with duckdb.connect(str(home.directory / "mine.duckdb")) as connection:
        rejected = connection.sql("SELECT COUNT(*) FROM own.task_run_logs_rejected").fetchall()
        names = connection.sql("SELECT name FROM own.tasks").fetchall()
    assert rejected[0][0] >= 7 * len(run_ids)
    assert names == [("Import a1: <[email]>, ",)]
    assert found_below(home.directory, secrets) == {}


class Store:
    """A destination, loaded by `home`."""

    def __init__(self, home: LoadEnv, destination: str) -> None:
        self.home, self.destination = home, destination

    def load(self, **options: Any) -> None:
        assert self.home.load(destination=self.destination, **options).exit_code == 0

    def redact(self, **options: Any) -> Any:
        directory = str(self.home.directory / "pipelines")
        return redact(destination=self.destination, pipelines_dir=directory, **options)

    def tables(self, dataset: str = "komos") -> dict[str, list[str]]:
        """All rows but their times of loading, by table."""
        database = open_database(self.destination, dataset)
        left_out = {"checked_at", "seen_at"}
        tables = {}
        for table in ARROW_TABLES:
            columns = ", ".join(
                f"CAST({each.name} AS text)" for each in table.columns if each.name not in left_out
            )
            rows = fetch(database, f"SELECT {columns} FROM {{{table.name}}}")[1]
            tables[table.name] = sorted(map(str, rows))
        return tables

    def content(self) -> bytes:
        """All that is stored."""
        if self.destination == "duckdb":
            assert not self.home.file.with_suffix(".duckdb.wal").exists()
            return self.home.file.read_bytes()
        database, content = open_database(self.destination), []
        for table in TABLES:
            with contextlib.suppress(NotLoadedError):
                content += fetch(database, f"SELECT * FROM {{{table.name}}}")[1]
        return str(content).encode()

    def start(self, number: int) -> warm.Started:
        command = (kill_at_statement.__file__, str(number), "redact", "--apply")
        return start(self.home, *command, "--destination", self.destination)


@pytest.fixture(params=["duckdb", "postgres"])
def store(
    request: pytest.FixtureRequest, home: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    return Store(home, request.param)


def test_redact_killed_before_statements_makes_tables_as_if_loaded_with_the_rules(
    store: Store, run_ids: list[str], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load()
    assert len(secrets.found_in(store.content())) > 200
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "all")
    store.load(dataset_name="wanted", pipeline_name="wanted")
    wanted = store.tables("wanted")
    before = store.tables()
    planned = store.redact(dry_run=True)
    assert store.tables() == before
    assert sum(planned.values.values()) > 150
    killed = 0
    for number in (8, 14, 20, 0):
        process = store.start(number)
        output, error = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
        killed += 1
    assert killed >= 2
    assert output.startswith("Redacted ")
    assert store.tables() == wanted
    again = store.redact()
    assert again.values == {}
    assert {"duckdb": "written anew", "postgres": "VACUUM FULL"}[store.destination] in again.note
    if store.destination == "duckdb":
        with duckdb.connect(str(store.home.file)) as connection:
            connection.execute("DROP SCHEMA wanted CASCADE")
            comments = "SELECT COUNT(comment) FROM duckdb_tables() WHERE comment IS NOT NULL"
            assert connection.execute(comments).fetchall()[0][0] > 5
    assert secrets.found_in(store.content()) == []
    store.load()
    store.load(full_refresh=True)
    assert store.tables() == wanted
    rows = fetch(
        open_database(store.destination),
        "SELECT DISTINCT loading_path, redaction FROM {komos_loads} WHERE redaction IS NOT NULL",
    )[1]
    assert ("redact", planned.version) in rows
    assert len(rows) == 2


def test_redact_of_a_table_that_an_older_version_made_adds_the_column(
    home: LoadEnv, run_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(home, "duckdb")
    store.load()
    home.rows("ALTER TABLE komos_loads DROP COLUMN redaction")
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "email")
    version = store.redact().version
    assert home.rows("SELECT redaction FROM komos_loads WHERE loading_path = 'redact'") == [
        (version,)
    ]


@pytest.mark.parametrize(
    ("arguments", "rules", "code", "says"),
    [
        ([], "email", 2, "give either --dry-run, which counts, or --apply"),
        (["--dry-run", "--apply"], "email", 2, "give either"),
        (["--dry-run"], "", 1, "there are no rules of redaction: set SOURCES__KOMOS__REDACT__"),
        (["--apply", "--destination", "filesystem"], "email", 2, "DuckDB and Postgres"),
    ],
)
def test_redact_that_cannot_start_says_what_to_do(
    home: LoadEnv,
    komos_here: Komos,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    rules: str,
    code: int,
    says: str,
) -> None:
    duckdb.connect(str(home.file)).close()
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(home.directory / "lake"))
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", rules)
    done = komos_here("redact", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
