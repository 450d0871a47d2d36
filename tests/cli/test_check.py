"""``komos check`` looks at what a load needs: rights, locks, disk, and the spool of webhooks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from dlt.common.configuration.providers import environ

from komos_source.cli.check import SetupCheck, check_setup
from komos_source.config import settings_of
from komos_source.destinations.locking import lock_dataset, lock_pipeline
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import KomosError
from komos_source.testing import FakeKomos
from komos_source.webhooks.spool import Spool
from tests.conftest import LoadEnv

PIPELINE = "komos_task_run_logs"


def checks(destination: str = "duckdb") -> dict[str, SetupCheck]:
    return {check.name: check for check in check_setup(destination, "komos", PIPELINE)}


@pytest.fixture
def home(home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> LoadEnv:
    """Configured by the environment, as for the command."""
    monkeypatch.setenv("SOURCES__KOMOS__API_KEY", home.emulator.api_key)
    monkeypatch.setenv("SOURCES__KOMOS__BASE_URL", home.emulator.base_url)
    monkeypatch.setenv("DLT_DATA_DIR", str(home.directory / "dlt"))
    monkeypatch.chdir(home.directory)
    return home


@pytest.fixture
def role(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlalchemy.Connection]:
    """Loads connect as the role `loader`, which may only connect; this is the administrator."""
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    url = postgres_url.replace("postgres:x@", "loader:x@")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE loader LOGIN PASSWORD 'x'")
        yield connection
        connection.exec_driver_sql("DROP OWNED BY loader CASCADE")
        connection.exec_driver_sql("DROP ROLE loader")
    engine.dispose()


def test_check_of_a_role_without_a_right_names_it_until_a_load_works(
    home: LoadEnv, world: FakeKomos, role: sqlalchemy.Connection
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    grants = [
        ("the schema komos and the schema komos_staging does not exist", "CREATE SCHEMA komos"),
        ("and the schema komos_staging does not exist", "CREATE SCHEMA komos_staging"),
        (
            "lacks the right CREATE or USAGE on the schema komos: run GRANT",
            "GRANT CREATE, USAGE ON SCHEMA komos TO loader",
        ),
        (
            "lacks the right CREATE or USAGE on the schema komos_staging",
            "GRANT CREATE, USAGE ON SCHEMA komos_staging TO loader",
        ),
    ]
    for detail, grant in grants:
        found = checks("postgres")["destination"]
        assert not found.ok
        assert detail in found.detail
        assert found.detail.startswith("the role loader ")
        with pytest.raises(KomosError):
            home.load(destination="postgres")
        role.exec_driver_sql(grant)
    assert checks("postgres")["destination"].ok
    assert home.load(destination="postgres").entries_loaded == 1
    role.exec_driver_sql("ALTER TABLE komos.tasks OWNER TO postgres")
    found = checks("postgres")["destination"]
    assert "the role loader may not read and write komos.tasks: grant" in found.detail


def test_check_of_a_role_that_may_create_schemas_is_ok(
    home: LoadEnv, role: sqlalchemy.Connection
) -> None:
    database = role.exec_driver_sql("SELECT current_database()").scalar()
    role.exec_driver_sql(f"GRANT CREATE ON DATABASE {database} TO loader")
    assert checks("postgres")["destination"].ok


def test_check_while_another_load_is_running_names_it(
    home: LoadEnv, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    other = make_pipeline("postgres", pipelines_dir=str(home.directory / "other"))
    with lock_pipeline(home.directory / "dlt" / "pipelines", PIPELINE, 0), lock_dataset(other, 0):
        found = checks("postgres")
    assert "another load of pipeline" in found["working directory"].detail
    assert "another load into the dataset 'komos' is running" in found["destination"].detail
    assert not found["working directory"].ok
    assert not found["destination"].ok
    found = checks("postgres")
    assert found["working directory"].ok
    assert found["destination"].ok


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("MAX_CONCURRENCY", "eight", "SOURCES__KOMOS__MAX_CONCURRENCY is not a number: 'eight'"),
        ("BACKOFF", "-1", "backoff must be from"),
        ("TIME_ZONE", "Berlin", "SOURCES__KOMOS__TIME_ZONE is 'Berlin', which is no time zone"),
        ("SPOOL_RESERVE", "1 GB", "SOURCES__KOMOS__SPOOL_RESERVE is '1 GB': give a number"),
    ],
)
def test_check_of_a_setting_that_a_load_refuses_reports_it(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch, name: str, value: str, detail: str
) -> None:
    assert "settings" not in checks()
    monkeypatch.setenv(f"SOURCES__KOMOS__{name}", value)
    assert checks()["settings"].detail.startswith(detail)


@pytest.mark.parametrize("prefix", ["", "komos-task-run-logs--"])
def test_check_finds_the_key_in_a_file_of_run_secrets(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr(environ, "SECRET_STORAGE_PATH", f"{home.directory}/%s")
    monkeypatch.setenv("SOURCES__KOMOS__API_KEY", "sk_live_wrong")
    prefixed = "KOMOS_TASK_RUN_LOGS__SOURCES__KOMOS__API_KEY"
    monkeypatch.setenv(prefixed, "")  # is removed in the end: dlt sets it from the file
    monkeypatch.delenv(prefixed)
    file = home.directory / f"{prefix}sources--komos--api-key"
    file.write_text(f"{home.emulator.api_key}\n")
    with settings_of(PIPELINE):
        found = checks()
    assert found["api key"].ok
    assert found["api"].ok
    assert "settings" not in found


def test_check_names_the_spool_by_its_absolute_path(home: LoadEnv) -> None:
    with contextlib.closing(Spool("sqlite:///komos_spool.db")):
        pass
    found = checks()["webhook spool"]
    assert found.ok
    assert found.detail == f"0 deliveries wait in {home.directory / 'komos_spool.db'}"


def test_check_with_a_webhook_secret_but_no_spool_reports_it(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "webhook spool" not in checks()
    monkeypatch.setenv("SOURCES__KOMOS__WEBHOOK_SECRET", "wh_a_12345678")
    found = checks()["webhook spool"]
    assert not found.ok
    assert f"there is no {home.directory / 'komos_spool.db'}, so that a load" in found.detail
    assert not Path("komos_spool.db").exists()


def test_check_of_a_full_disk_reports_it(home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("komos_source.cli.check._LEAST_FREE", 2**80)
    found = checks()
    for name in ("working directory", "destination"):
        assert not found[name].ok
        assert "MiB free: free some space" in found[name].detail


def test_check_of_a_duckdb_file_in_a_directory_that_does_not_exist_reports_it(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "missing/data.duckdb")
    found = checks()["destination"]
    assert not found.ok
    assert found.detail == f"the directory {home.directory / 'missing'} does not exist: create it"


def test_check_shows_the_rules_of_redaction(home: LoadEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "redaction" not in checks()
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "iban,email")
    assert "email, iban by mask; version " in checks()["redaction"].detail
    home.emulator.faults.add("/tasks", "status", status=422, detail="by anna@example.com")
    assert "422 by [email]" in checks()["api"].detail


def test_check_of_a_wrong_rule_of_redaction_reports_it_once(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spool("sqlite:///komos_spool.db").close()
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "e_mail")
    failed = [each for each in check_setup("duckdb", "komos", PIPELINE) if not each.ok]
    assert [each.name for each in failed] == ["redaction"]
    assert "no rule 'e_mail'" in failed[0].detail
