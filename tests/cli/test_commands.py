"""The ``komos`` command as a process: its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import sqlalchemy

from komos_source.testing import FakeKomos
from tests import warm
from tests.conftest import LoadEnv

KEY = "sk_live_canary_7f3a91"


def komos(home: LoadEnv, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KOMOS_", "SOURCES__"))
    }
    own = {
        "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
        "SOURCES__KOMOS__BACKOFF": "0.01",
        "DLT_DATA_DIR": str(home.directory / "dlt"),
    }
    command = ("-m", "komos_source", *arguments)
    return warm.run(command, home.directory, inherited | own | environment)


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    return run_id


def test_load_json_prints_one_object(home: LoadEnv, run_id: str) -> None:
    done = komos(home, "load", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report.pop("seconds") > 0
    assert report == {
        "runs_seen": 1,
        "runs_fetched": 1,
        "entries_loaded": 2,
        "entries_rejected": 0,
        "runs_failed": 0,
        "window_gaps": 0,
        "requests": 3,
    }
    assert done.stderr == ""


def test_load_prints_a_summary_and_no_output_of_libraries(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    world.append(run_id, {"id": "new", "region": "eu"})
    done = komos(home, "load")
    assert done.returncode == 0
    assert "entries loaded    3" in done.stdout
    assert done.stderr.splitlines() == [
        line for line in done.stderr.splitlines() if line.startswith("komos: ")
    ]


def test_load_below_a_rate_limit_without_headers_exits_with_0_and_names_the_throttling(
    home: LoadEnv, world: FakeKomos
) -> None:
    for number in range(6):
        world.append(world.add_run(world.add_task(f"Task {number}")), {})
    limit = home.emulator.faults.limit_rate(5, 0.2)
    done = komos(home, "load")
    assert done.returncode == 0, done.stderr
    assert limit.refused
    assert "entries loaded    6" in done.stdout
    assert "komos: throttled: the API limits the rate of requests" in done.stderr.splitlines()


def test_load_no_views_creates_no_view(home: LoadEnv, run_id: str) -> None:
    views = "SELECT COUNT(*) FROM duckdb_views() WHERE view_name = 'node_health'"
    for arguments, count in ((["--no-views"], 0), ([], 1)):
        done = komos(home, "load", *arguments)
        assert done.returncode == 0, done.stderr
        assert home.value(views) == count


def test_load_reads_the_key_from_komos_api_key(home: LoadEnv, run_id: str) -> None:
    done = komos(home, "load", SOURCES__KOMOS__API_KEY="", KOMOS_API_KEY=home.emulator.api_key)
    assert done.returncode == 0, done.stderr


def test_load_with_a_run_that_fails_names_it_and_exits_with_3(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    missing = world.new_id()
    done = komos(home, "load", "--run-id", run_id, "--run-id", missing)
    assert done.returncode == 3
    assert f"{missing}: 404 run_not_found" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["load", "--run-id", "nope"], "'nope' is not a run id"),
        (["load", "--runs-file", "missing.txt"], "missing.txt"),
        (["load", "--destination", "nowhere"], "no destination 'nowhere'"),
        (["load", "--since", "soon"], "'soon'"),
        (["load", "--frobnicate"], "--frobnicate"),
        (["load", "--lock-timeout", "nan"], "nan is not a number"),
        (["load", "--lock-timeout", "-1"], "-1"),
        (["load", "--lock-timeout", "inf"], "inf is not a number"),
        (["load", "--follow", "nan"], "nan is not a number"),
        (["load", "--follow", "0"], "0"),
        (["after-shards", "--lock-timeout", "nan"], "nan is not a number"),
        (["emulate", "--pace", "nan"], "nan is not a number"),
        (["emulate", "--port", "70000"], "70000"),
        (["webhooks", "serve", "--port", "-1"], "-1"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_exits_with_2_before_any_request(
    home: LoadEnv, arguments: list[str], says: str
) -> None:
    done = komos(home, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not home.emulator.requests


def test_load_that_cannot_start_exits_with_1_and_prints_what_to_do(
    home: LoadEnv, run_id: str
) -> None:
    for environment, says in (
        ({"SOURCES__KOMOS__API_KEY": ""}, "set SOURCES__KOMOS__API_KEY"),
        ({"SOURCES__KOMOS__API_KEY": "sk_live_wrong"}, "refused the key"),
        ({"SOURCES__KOMOS__BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"SOURCES__KOMOS__BASE_URL": "http://api.komos.ai"}, "use https"),
    ):
        done = komos(home, "load", **environment)
        assert done.returncode == 1, (environment, done.stderr)
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_check_reports_each_setting_and_what_to_do(home: LoadEnv, run_id: str) -> None:
    done = komos(home, "check")
    assert done.returncode == 0, done.stdout
    assert "1 tasks are visible" in done.stdout
    key = home.emulator.api_key
    done = komos(home, "check", SOURCES__KOMOS__API_KEY="", KOMOS_API_KEY=key)
    assert done.returncode == 0, done.stdout
    assert "found in KOMOS_API_KEY" in done.stdout
    done = komos(home, "check", SOURCES__KOMOS__API_KEY="")
    assert done.returncode == 1
    assert "set SOURCES__KOMOS__API_KEY" in done.stdout


def test_load_that_fails_with_debug_logging_writes_the_key_nowhere(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    home.emulator.api_key = KEY
    for fault in ("html", "reset"):
        home.emulator.faults.add(f"{run_id}/logs", fault, times=5)
        done = komos(
            home,
            "load",
            SOURCES__KOMOS__API_KEY=KEY,
            RUNTIME__LOG_LEVEL="DEBUG",
            HTTPX_LOG_LEVEL="debug",
        )
        assert done.returncode == 3
        assert KEY not in done.stdout + done.stderr
    home.emulator.api_key = "sk_live_other"
    done = komos(home, "load", SOURCES__KOMOS__API_KEY=KEY, RUNTIME__LOG_LEVEL="DEBUG")
    assert done.returncode == 1
    assert KEY not in done.stdout + done.stderr
    files = [path for path in home.directory.rglob("*") if path.is_file()]
    assert any(path.suffix == ".duckdb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_emulate_serves_until_sigterm(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "komos_source", "emulate", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3].rstrip(",")
        answer = httpx.get(
            f"{url}/public/v1/tasks", headers={"Authorization": "Bearer sk_live_emulator"}
        )
        assert answer.json()["total"] == 8
        server.send_signal(signal.SIGTERM)  # SIGINT is ignored in the background of a script
        _, error = server.communicate(timeout=20)
    assert server.returncode == 0, error


def test_load_help_shows_one_example_per_line(home: LoadEnv) -> None:
    lines = [line.strip() for line in komos(home, "load", "--help").stdout.splitlines()]
    assert "komos load --runs-file kept_run_ids.txt" in lines


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b\u202e\nkomos: all is well"
SHOWN = r"\x1b]0;pwned\x07\x1b[2J\x9b\u202e\nkomos: all is well"


def refuse(home: LoadEnv, text: str) -> None:
    """Has the API answer each request for a log with this error text."""
    home.emulator.faults.add("/logs", "status", status=400, detail=text)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_load_shows_control_characters_of_api_errors_as_escapes(
    home: LoadEnv, run_id: str, arguments: list[str]
) -> None:
    refuse(home, HOSTILE)
    done = komos(home, "load", *arguments)
    assert done.returncode == 3
    output = done.stdout + done.stderr
    assert SHOWN in output
    assert not set(output) & set("\x1b\x07\x9b\u202e")
    assert "komos: all is well" not in output.splitlines()


@pytest.mark.parametrize("command", ["load", "check", "report", "webhooks"])
def test_command_shows_control_characters_of_database_errors_as_escapes(
    home: LoadEnv, run_id: str, postgres_url: str, command: str
) -> None:
    url = sqlalchemy.make_url(postgres_url)
    raises = "BEGIN RAISE EXCEPTION E'\\x1b]0;pwned\\x07\\x1b[2J'; END"
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE FUNCTION fail() RETURNS event_trigger LANGUAGE plpgsql AS $${raises}$$"
        )
        connection.exec_driver_sql("CREATE EVENT TRIGGER fail ON login EXECUTE FUNCTION fail()")
        connection.exec_driver_sql("ALTER EVENT TRIGGER fail ENABLE ALWAYS")
    arguments = {"webhooks": ["webhooks", "serve", "--port", "0"]}
    postgres = ["--destination", "postgres"]
    done = komos(
        home,
        *arguments.get(command, [command, *postgres]),
        DESTINATION__POSTGRES__CREDENTIALS=postgres_url,
        SOURCES__KOMOS__SPOOL=postgres_url.replace("postgresql:", "postgresql+psycopg:"),
        SOURCES__KOMOS__WEBHOOK_SECRET="wh_a_12345678",
    )
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert r"\x1b]0;pwned\x07\x1b[2J" in output
    assert not set(output) & set("\x1b\x07")


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_load_logs_control_characters_of_api_errors_as_escapes(
    home: LoadEnv, run_id: str, log_format: str
) -> None:
    refuse(home, HOSTILE)
    done = komos(home, "load", "--log-format", log_format)
    assert "all is well" in done.stderr
    assert done.stderr.isascii()
    assert "\x1b" not in done.stderr
    if log_format == "json":
        events = [json.loads(line) for line in done.stderr.splitlines()]
        assert any(HOSTILE in event.get("reason", "") for event in events)


def test_error_of_a_command_is_logged_as_an_event_if_a_log_format_is_set(home: LoadEnv) -> None:
    done = komos(home, "load", SOURCES__KOMOS__API_KEY="", KOMOS_LOG_FORMAT="json")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert (events[-1]["level"], events[-1]["event"][:10]) == ("error", "no API key")


def test_load_creates_files_for_their_owner_only(home: LoadEnv, run_id: str) -> None:
    os.umask(umask := os.umask(0o022))
    assert umask == 0o022, "a stricter umask would hide what this test is about"
    assert komos(home, "load").returncode == 0
    assert home.file.exists()
    shared = [
        path
        for path in (home.file, *(home.directory / "dlt").rglob("*"))
        if path.stat().st_mode & 0o077
    ]
    assert shared == []


@pytest.mark.parametrize("name", [".komos_task_run_logs.lock", ".komos_task_run_logs.holder"])
def test_load_with_an_unusable_lock_file_names_it(home: LoadEnv, run_id: str, name: str) -> None:
    in_the_way = home.directory / "dlt" / "pipelines" / name
    in_the_way.mkdir(parents=True)
    done = komos(home, "load", "--json")
    assert "Traceback" not in done.stderr
    if name.endswith(".lock"):
        assert done.returncode == 1
        assert f"the lock {in_the_way} cannot be used: Is a directory" in done.stderr
    else:  # only names the process in messages
        assert done.returncode == 0, done.stderr


def test_check_of_a_missing_database_creates_none(home: LoadEnv) -> None:
    done = komos(home, "check")
    assert done.returncode == 0, done.stdout
    assert "the first load creates it" in done.stdout
    assert not home.file.exists()


def test_emulate_takes_the_webhook_secret_from_the_environment() -> None:
    from click.testing import CliRunner

    from komos_source.cli.main import cli

    shown = CliRunner().invoke(cli, ["emulate", "--help"]).output
    assert "SOURCES__KOMOS__WEBHOOK_SECRET" in shown


def test_import_loading_leaves_garbage_collection_on(tmp_path: Path) -> None:
    script = (
        "import gc, sys; from komos_source.cli import startup; startup.import_loading();"
        "sys.exit(not gc.isenabled() or gc.get_freeze_count())"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)


def test_load_without_pandas_prints_nothing_of_duckdb(home: LoadEnv) -> None:
    (home.directory / "pandas.py").write_text("raise ImportError('not installed')")
    for _ in range(2):
        done = komos(home, "load", "--json")  # with the working directory first in sys.path
        assert (done.returncode, done.stderr) == (0, "")


def test_load_with_unusable_destination_settings_names_them_without_a_traceback(
    home: LoadEnv,
) -> None:
    settings = {"DESTINATION__POSTGRES__CREDENTIALS": "user:canary at host"}
    done = komos(home, "load", "--destination", "postgres", **settings)
    assert done.returncode == 1
    assert "DESTINATION__POSTGRES__CREDENTIALS" in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr


def test_unexpected_error_of_a_command_is_one_sentence_and_exits_with_1(home: LoadEnv) -> None:
    script = (
        "import sys, komos_source.cli.check as check\n"
        "check.check.callback = lambda **_: {}['missing']\n"
        "from komos_source.cli.main import main\n"
        "sys.argv[1:] = ['check']\n"
        "main()"
    )
    for variables, traceback in (({}, False), ({"KOMOS_TRACEBACK": "1"}, True)):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) is traceback
        assert "KeyError" in done.stderr


def test_command_on_windows_ends_with_a_sentence_that_names_wsl() -> None:
    script = (
        "import sys\n"
        "missing = ('fcntl', 'grp', 'pty', 'pwd', 'resource', 'termios', 'uvloop')\n"
        "sys.modules.update(dict.fromkeys(missing))\n"
        "from komos_source.cli.main import main\n"
        "sys.platform, sys.argv = 'win32', ['komos', 'load']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not run on Windows itself: run it in WSL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
