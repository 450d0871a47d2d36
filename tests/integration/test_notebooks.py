"""The notebooks as scripts, as pages and in Jupyter: a failing cell fails all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from komos_source.cli import notebook
from komos_source.testing import FakeKomos, make_sample_data
from tests.conftest import LoadEnv
from tests.notebooks import NOTEBOOKS, environment
from tests.warehouse import pipeline_over

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        pipeline_over(make_sample_data(), directory, patch)
    return directory / "komos_task_run_logs.duckdb"


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", notebook.NAMES)
def test_notebook_runs_as_a_script(name: str, database: Path) -> None:
    file = NOTEBOOKS / f"{name}.py"
    assert notebook.notebook_file(name) == file
    done = run(database.parent, str(file), "--database", str(database))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", notebook.NAMES)
def test_notebook_runs_as_a_page_and_in_jupyter(name: str, database: Path) -> None:
    file, directory = str(NOTEBOOKS / f"{name}.py"), database.parent
    page = ("-m", "marimo", "export", "html", file, "-o", f"{name}.html", "--no-sandbox")
    done = run(directory, *page, "--", "--database", str(database))
    assert done.returncode == 0, done.stderr
    ipynb = directory / f"{name}.ipynb"
    done = run(directory, "-m", "marimo", "export", "ipynb", file, "-o", str(ipynb))
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(ipynb, as_version=4)  # type: ignore[no-untyped-call]
    with pytest.MonkeyPatch.context() as patch:
        # Jupyter passes no arguments: the notebook reads the configured database.
        patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{database}")
        patch.setenv("DLT_DATA_DIR", str(directory / "jupyter"))
        NotebookClient(cells, timeout=120, kernel_name="python3").execute()


def test_notebook_without_data_fails_and_names_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.duckdb"
    done = run(tmp_path, str(NOTEBOOKS / "run_explorer.py"), "--database", str(missing))
    assert done.returncode != 0
    assert "there is no database" in done.stderr
    assert "komos load" in done.stderr
    assert not missing.exists()
    pipeline_over(FakeKomos(), tmp_path, monkeypatch)
    empty = str(tmp_path / "komos_task_run_logs.duckdb")
    done = run(tmp_path, str(NOTEBOOKS / "node_health.py"), "--database", empty)
    assert done.returncode != 0
    assert "there is no finished run" in done.stderr


def test_notebook_with_a_failing_cell_fails_as_script_and_as_page(
    database: Path, tmp_path: Path
) -> None:
    text = (NOTEBOOKS / "node_health.py").read_text("utf-8")
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace("ranked = ", "ranked = 1 / 0 or "))
    assert broken.read_text() != text
    done = run(tmp_path, str(broken), "--database", str(database))
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    page = ("-m", "marimo", "export", "html", "broken.py", "-o", "broken.html", "--no-sandbox")
    done = run(tmp_path, *page, "--", "--database", str(database))
    assert done.returncode != 0


def test_run_explorer_shows_unknown_task_and_status_of_a_run_loaded_by_id_alone(
    home: LoadEnv, world: FakeKomos
) -> None:
    task_id = world.add_task("Orders")
    known, by_id = world.add_run(task_id), world.add_run(task_id)
    for run_id in (known, by_id):
        world.append(run_id, {"nodeId": "click", "level": "error", "message": None})
    world.finish(known, "FAILED")
    home.load()
    home.rows(f"DELETE FROM task_runs WHERE id = '{by_id}'")
    home.rows(f"UPDATE task_run_logs SET message = NULL WHERE run_id = '{by_id}'")
    file, page = str(NOTEBOOKS / "run_explorer.py"), home.directory / "page.html"
    export = ("-m", "marimo", "export", "html", file, "-o", str(page), "--no-sandbox")
    export = (*export, "--no-include-code")
    done = run(home.directory, *export, "--", "--database", str(home.file))
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert "unknown task" in text
    assert "nan: nan" not in text
