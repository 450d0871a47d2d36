"""The ``komos`` command as people and schedulers meet it: a startup, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

KEY = "sk_live_canary_7f3a91"


def komos(home: LoadEnv, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KOMOS_", "SOURCES__"))
    }
    return subprocess.run(
        [sys.executable, "-m", "komos_source", *arguments],
        cwd=home.directory,
        env=inherited
        | {
            "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
            "SOURCES__KOMOS__BACKOFF": "0.01",
            "DLT_DATA_DIR": str(home.directory / "dlt"),
        }
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    return run_id


def test_a_load_prints_one_json_object(home: LoadEnv, run_id: str) -> None:
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


def test_a_load_tells_a_person_what_it_does_without_library_noise(
    home: LoadEnv, world: FakeKomos, run_id: str
) -> None:
    world.append(run_id, {"id": "new", "region": "eu"})
    done = komos(home, "load")
    assert done.returncode == 0
    assert "entries loaded    3" in done.stdout
    assert done.stderr.splitlines() == [
        line for line in done.stderr.splitlines() if line.startswith("komos: ")
    ]


def test_views_are_left_out_on_request(home: LoadEnv, run_id: str) -> None:
    views = "SELECT COUNT(*) FROM duckdb_views() WHERE view_name = 'node_health'"
    for arguments, count in ((["--no-views"], 0), ([], 1)):
        done = komos(home, "load", *arguments)
        assert done.returncode == 0, done.stderr
        assert home.value(views) == count


def test_the_key_is_accepted_under_komos_own_name(home: LoadEnv, run_id: str) -> None:
    done = komos(home, "load", SOURCES__KOMOS__API_KEY="", KOMOS_API_KEY=home.emulator.api_key)
    assert done.returncode == 0, done.stderr


def test_a_run_that_cannot_be_fetched_is_named_and_ends_with_3(
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
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_ends_with_2_before_any_request(
    home: LoadEnv, arguments: list[str], says: str
) -> None:
    done = komos(home, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not home.emulator.requests


def test_nothing_to_be_done_ends_with_1_and_says_what_to_do(home: LoadEnv, run_id: str) -> None:
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


def test_check_tells_what_is_missing_and_what_is_well(home: LoadEnv, run_id: str) -> None:
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


def test_the_key_is_nowhere_after_a_failing_load_with_debug_logging(
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


def test_the_demo_shows_that_world_and_table_are_equal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "komos_source", "demo", "--dir", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("DESTINATION__")},
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("world "))
    counts = [word for word in line.replace(",", "").split() if word.isdigit()]
    assert len(counts) == 3
    assert len(set(counts)) == 1
    assert "extract_orders" in done.stdout
    assert "extract_orders fails in" in (tmp_path / "demo" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("missing", ["jinja2", "scipy"])
def test_the_demo_of_a_plain_installation_says_what_the_page_needs(
    tmp_path: Path, missing: str
) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['komos', 'demo', '--dir', 'd'];"
        "from komos_source.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "komos-source[analysis]" in done.stdout
    assert "extract_orders" in done.stdout


def test_emulate_serves_until_it_is_stopped(tmp_path: Path) -> None:
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


def test_help_shows_examples_a_line_each(home: LoadEnv) -> None:
    lines = [line.strip() for line in komos(home, "load", "--help").stdout.splitlines()]
    assert "komos load --runs-file kept_run_ids.txt" in lines


def test_what_a_loading_process_leaves_out_is_there_for_whoever_asks(tmp_path: Path) -> None:
    script = """
import sys
from komos_source.cli import startup
startup.prepare()
assert not {"requests", "pandas", "rich", "sqlalchemy"} & sys.modules.keys()
from dlt.sources.helpers import requests
from dlt.sources.helpers.requests import Client
import dlt.sources.helpers.rest_client
assert isinstance(requests.client, Client)
assert requests.Session is sys.modules["dlt.sources.helpers.requests"].Session
import pandas, rich, sqlalchemy
"""
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"},
        check=True,
        timeout=120,
    )
