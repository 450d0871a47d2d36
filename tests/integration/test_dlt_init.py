"""`dlt init komos … --location CLONE`, as somebody with a dlt project of their own calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from komos_source.testing import Emulator, FakeKomos

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dlt_init_makes_a_project_whose_pipeline_loads_the_logs(
    tmp_path: Path, world: FakeKomos, emulator: Emulator
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    clone, project = tmp_path / "clone", tmp_path / "project"
    project.mkdir()
    shutil.copytree(ROOT / "sources", clone / "sources", ignore=shutil.ignore_patterns("__pyc*"))
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "Add sources"]):
        run("git", *command, cwd=clone)

    dlt = str(Path(sys.executable).with_name("dlt"))
    data = {"DLT_DATA_DIR": str(tmp_path / "data"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    run(
        dlt,
        "--non-interactive",
        "init",
        "komos",
        "duckdb",
        "--location",
        str(clone),
        cwd=project,
        **data,
    )
    secrets = project / ".dlt" / "secrets.toml"
    assert "[sources.komos]\napi_key = " in secrets.read_text()
    assert "komos-source" in (project / "requirements.txt").read_text()

    secrets.write_text(f'[sources.komos]\napi_key = "{emulator.api_key}"\n')
    base_url = {"SOURCES__KOMOS__BASE_URL": emulator.base_url}
    run(sys.executable, "komos_pipeline.py", cwd=project, **data, **base_url)
    with duckdb.connect(str(project / "komos_pipeline.duckdb")) as connection:
        assert len(connection.sql("FROM komos.task_run_logs").fetchall()) == 2
