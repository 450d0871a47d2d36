"""Settings of the ``komos`` command: from files, and with quotation marks around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from komos_source.testing import FakeKomos
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv

COMMANDS = {
    "load": ["load"],
    "check": ["check"],
    "after-shards": ["after-shards"],
    "report": ["report"],
    "demo": ["demo"],
    "notebook": ["notebook", "--no-browser"],
    "webhooks serve": ["webhooks", "serve", "--port", "0"],
}


def write(home: LoadEnv, name: str, content: bytes) -> None:
    (home.directory / ".dlt").mkdir(exist_ok=True)
    (home.directory / ".dlt" / name).write_bytes(content)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_with_an_unreadable_secrets_file_names_file_and_line(
    home: LoadEnv, command: str
) -> None:
    write(home, "secrets.toml", b"[sources.komos]\napi_key = sk_live_canary\n")
    done = komos(home, *COMMANDS[command])
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("komos: ./.dlt/secrets.toml, line 2: this is not TOML; texts are in quo")
    assert "canary" not in line


def test_load_and_check_read_settings_files_with_a_byte_order_mark(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    text = f'[sources.komos]\napi_key = "{home.emulator.api_key}"\n'
    write(home, "secrets.toml", b"\xef\xbb\xbf" + text.encode())
    write(home, "config.toml", b'\xef\xbb\xbf[destination.duckdb]\ncredentials = "x.duckdb"\n')
    for command in ("load", "check"):
        done = komos(home, command, SOURCES__KOMOS__API_KEY="", DESTINATION__DUCKDB__CREDENTIALS="")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (home.directory / "x.duckdb").exists()


def test_load_and_check_with_the_key_in_config_toml_say_where_to_move_it(home: LoadEnv) -> None:
    text = f'[sources.komos]\napi_key = "{home.emulator.api_key}"\n'
    write(home, "config.toml", text.encode())
    sentence = (
        "api_key is in .dlt/config.toml ([sources.komos]), which is not for secrets: move it to "
        ".dlt/secrets.toml"
    )
    done = komos(home, "load", SOURCES__KOMOS__API_KEY="")
    assert (done.returncode, done.stderr) == (1, f"komos: {sentence}\n")
    done = komos(home, "check", SOURCES__KOMOS__API_KEY="")
    assert done.returncode == 1
    assert sentence in done.stdout


def test_load_and_check_strip_quotation_marks_and_blanks_around_variables(
    home: LoadEnv, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    variables = {
        "SOURCES__KOMOS__API_KEY": f'"{home.emulator.api_key}"',
        "KOMOS_API_KEY": "sk_live_unused",  # only if the other is not set
        "SOURCES__KOMOS__BASE_URL": f"'{home.emulator.base_url}'\n",
        "SOURCES__KOMOS__MAX_CONCURRENCY": '"4" ',
        "SOURCES__KOMOS__TIME_ZONE": " 'Europe/Berlin'",
        "DESTINATION__DUCKDB__CREDENTIALS": f'"duckdb:///{home.file}"',
    }
    for command in ("load", "check"):
        done = komos(home, command, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 1


@pytest.mark.parametrize("prefix", ["", "mine."])
def test_duckdb_file_in_config_toml_is_used_by_load_check_and_report(
    home: LoadEnv, world: FakeKomos, prefix: str
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    world.finish(run_id)
    write(home, "config.toml", f'[{prefix}destination.duckdb]\ncredentials = "x.duckdb"'.encode())
    pipeline = ["--pipeline-name", "mine"] if prefix else []
    for command in (["load", *pipeline], ["report", *pipeline], ["check", *pipeline]):
        done = komos(home, *command, DESTINATION__DUCKDB__CREDENTIALS="")
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert f"{home.directory}/x.duckdb can be read and written" in done.stdout
    assert [path.name for path in home.directory.glob("*.duckdb")] == ["x.duckdb"]


@pytest.mark.parametrize("pipeline_name", ["komos_task_run_logs", "mine"])
def test_variables_with_the_name_of_the_pipeline_in_front_precede_those_without(
    home: LoadEnv, world: FakeKomos, pipeline_name: str, tmp_path: Path
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    prefix = pipeline_name.upper()
    variables = {
        f"{prefix}__SOURCES__KOMOS__API_KEY": home.emulator.api_key,
        f"{prefix}__SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
        f"{prefix}__SOURCES__KOMOS__SPOOL": f"sqlite:///{tmp_path / 'mine.db'}",
        f"{prefix}__DESTINATION__DUCKDB__CREDENTIALS": f"{home.file}",
        "SOURCES__KOMOS__API_KEY": "sk_live_wrong",
        "SOURCES__KOMOS__BASE_URL": "http://127.0.0.1:9",
        "DESTINATION__DUCKDB__CREDENTIALS": "wrong.duckdb",
    }
    for command in (["load", "--shard", "0/1"], ["load"], ["check"]):
        dataset = "sharded" if "--shard" in command else "komos"
        arguments = ["--pipeline-name", pipeline_name, "--dataset", dataset]
        done = komos(home, *command, *arguments, **variables)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert home.value("SELECT COUNT(*) FROM task_run_logs") == 1
    assert home.value("SELECT COUNT(*) FROM sharded.task_run_logs") == 1
    assert (tmp_path / "mine.db").exists()
    assert not (home.directory / "wrong.duckdb").exists()
