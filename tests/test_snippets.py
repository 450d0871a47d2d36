"""The Python examples of the documentation run: against the emulator and loaded databases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from komos_source.loading.load import load
from komos_source.testing import Emulator, make_sample_data

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [page for page in PAGES if _BLOCK.search(page.read_text("utf-8"))]


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The settings of a reader who has loaded once into the default DuckDB file."""
    directory = tmp_path_factory.mktemp("reader")
    with Emulator(make_sample_data(days=3)) as emulator:
        file = f"duckdb:///{directory / 'komos_task_run_logs.duckdb'}"
        settings = {
            "SOURCES__KOMOS__API_KEY": emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": emulator.base_url,
            "DLT_DATA_DIR": str(directory / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file)
            patch.setenv("DLT_DATA_DIR", settings["DLT_DATA_DIR"])
            load(api_key=emulator.api_key, base_url=emulator.base_url)
        yield settings | {"directory": str(directory)}


@pytest.mark.slow
def test_python_examples_of_each_page_run_one_after_the_other(
    environment: dict[str, str], postgres_url: str
) -> None:
    programs = {
        str(page.relative_to(ROOT)): "\n\n".join(_BLOCK.findall(page.read_text("utf-8")))
        for page in EXAMPLES
    }
    name = {"__name__": "__main__"}
    run = f"for page, program in {programs!r}.items(): exec(compile(program, page, 'exec'), {name})"
    done = subprocess.run(
        [sys.executable, "-c", run],
        cwd=environment["directory"],
        env=os.environ | environment | {"DESTINATION__POSTGRES__CREDENTIALS": postgres_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(programs) > 5
    assert done.returncode == 0, done.stderr
