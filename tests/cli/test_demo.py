"""``komos demo``: what it shows, and that it touches nothing but its directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from komos_source.cli.demo import prepare_directory
from komos_source.exceptions import UsageError
from komos_source.testing import FakeKomos
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv
from tests.integration.test_webhook_loads import Inbox


def test_demo_beside_own_data_reads_and_changes_nothing_of_it(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    assert home.load().exit_code == 0
    inbox = Inbox(f"sqlite:///{home.directory / 'komos_spool.db'}", world)
    inbox.entries(run_id, 0)
    waiting = inbox.spool.waiting()
    inbox.spool.close()
    settings = home.directory / ".dlt" / "config.toml"
    settings.parent.mkdir()
    settings.write_text('[sources.komos]\ntime_zone = "Mars/Olympus"\n')
    (home.directory / "komos.toml").write_text("not TOML")
    before = {
        path: path.read_bytes()
        for path in home.directory.rglob("*")
        if path.is_file() and "pipelines" not in path.parts
    }
    requests = len(home.emulator.requests)

    done = komos(
        home,
        "demo",
        SOURCES__KOMOS__SPOOL=f"sqlite:///{home.directory / 'komos_spool.db'}",
        SOURCES__KOMOS__TABLE_FORMAT="nonsense",
        KOMOS_DEMO__DESTINATION__DUCKDB__CREDENTIALS=f"duckdb:///{home.file}",
    )

    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("Verified: "))
    counts = [word for word in line.replace(",", "").split() if word.isdigit()]
    assert (len(counts), len(set(counts))) == (3, 1)
    assert "kill -9 after " in done.stdout
    assert "\nKomos, Order sync: extract_orders fails in " in done.stdout
    assert " info navigate_" in done.stdout, "the log of a run"
    demo = home.directory / "komos-demo"
    page = (demo / "report.html").read_text("utf-8")
    assert "extract_orders fails in" in page
    assert 'class="stale"' not in page, "the history ends now"
    assert (demo / "komos-demo.duckdb").exists()
    after = {path: path.read_bytes() for path in before}
    assert after == before
    assert {path.name for path in home.directory.iterdir()} == {
        *("komos-demo", ".dlt", "pipelines", home.file.name, "komos_spool.db"),
    } | {path.name for path in before if path.parent == home.directory}
    assert len(home.emulator.requests) == requests
    inbox = Inbox(f"sqlite:///{home.directory / 'komos_spool.db'}", world)
    assert inbox.spool.waiting() == waiting > 0
    inbox.spool.close()


def test_demo_in_a_directory_with_other_files_is_refused(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    home.load()
    before = home.file.read_bytes()
    done = komos(home, "demo", "--dir", ".")
    assert done.returncode == 2
    assert "holds files that `komos demo` did not make" in done.stderr
    assert home.file.read_bytes() == before
    assert not (home.directory / ".komos-demo").exists()


def test_prepare_directory_removes_only_the_database_of_an_earlier_demo(tmp_path: Path) -> None:
    prepare_directory(tmp_path / "demo")
    for name in ("komos-demo.duckdb", "komos-demo.duckdb.wal", "notes.txt", "komos.duckdb"):
        (tmp_path / "demo" / name).write_text("x")
    prepare_directory(tmp_path / "demo")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        *(".komos-demo", "notes.txt", "komos.duckdb")
    }


def test_prepare_directory_removes_a_link_and_not_its_target(tmp_path: Path) -> None:
    prepare_directory(tmp_path / "demo")
    (tmp_path / "production.duckdb").write_text("precious")
    (tmp_path / "demo" / "komos-demo.duckdb").symlink_to(tmp_path / "production.duckdb")
    prepare_directory(tmp_path / "demo")
    assert (tmp_path / "production.duckdb").read_text() == "precious"


def test_prepare_directory_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be used as the directory of the demo"):
        prepare_directory(tmp_path / "file")


def fast_demo(tmp_path: Path, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A demo of eight days; without some packages."""
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r})); "
        "sys.argv = ['komos', 'demo', '--fast', '--dir', 'd'];"
        "from komos_source.cli.main import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_demo_without_the_extra_for_analyses_names_it_and_a_second_one_replaces_its_data(
    tmp_path: Path,
) -> None:
    done = fast_demo(tmp_path, missing=("jinja2", "scipy"))
    assert done.returncode == 0, done.stderr
    assert "[analysis]" in done.stdout
    assert "extract_orders" in done.stdout
    assert fast_demo(tmp_path).returncode == 0
    with duckdb.connect(str(tmp_path / "d" / "komos-demo.duckdb"), read_only=True) as client:
        loads = client.execute("SELECT COUNT(*) FROM komos.komos_loads").fetchall()
    assert loads == [(3,)]
    assert (tmp_path / "d" / "report.html").exists()
