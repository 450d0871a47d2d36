"""The package without what only its extras install."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import Distribution

import pytest

from komos_source.exceptions import ConfigurationError
from komos_source.extras import install_command, requires_extra
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = {arguments}
from komos_source.cli.main import main
main()
"""
_ANALYSIS = ["jinja2", "numpy", "pandas", "scipy"]


def run(home: LoadEnv, *arguments: str, missing: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs `komos` without some libraries."""
    script = _WITHOUT.format(missing=missing, arguments=["komos", *arguments])
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=home.directory,
        env=os.environ
        | {
            "SOURCES__KOMOS__API_KEY": home.emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": home.emulator.base_url,
            "DLT_DATA_DIR": str(home.directory / "dlt"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_of_a_missing_library_names_it_and_the_extra() -> None:
    with (
        pytest.raises(ConfigurationError, match="no_such_library is missing, which reports need"),
        requires_extra("analysis", "reports"),
    ):
        import no_such_library  # noqa: F401


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "komos-source[x]"'),
        ('{"url": "file:///my%20code", "dir_info": {}}', 'pip install "/my code[x]"'),
        (
            '{"url": "file:///code", "dir_info": {"editable": true}}',
            'pip install -e "/code[x]"',
        ),
        ('{"url": "https://e.org/a.whl", "archive_info": {}}', 'pip install "komos-source[x]"'),
        ('{"url": "file:///a.whl", "archive_info": {}}', 'pip install "komos-source[x]"'),
        ("[]", 'pip install "komos-source[x]"'),
    ],
)
def test_install_command_names_the_checkout_from_which_the_package_was_installed(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, command: str
) -> None:
    monkeypatch.setattr(Distribution, "from_name", lambda _: Installed(origin))
    assert install_command("x") == command


class Installed:
    """What pip has recorded about the package."""

    def __init__(self, origin: str | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        return self.origin if name == "direct_url.json" else None


def test_commands_without_the_extra_for_analyses_load_and_check_and_name_the_extra(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {}, {})
    world.finish(run_id)
    for arguments in (["check"], ["load", "--json"], ["logs", run_id], ["runs"]):
        done = run(home, *arguments, missing=_ANALYSIS)
        assert done.returncode == 0, done.stderr
    assert len(home.table()) == 2
    assert home.value("SELECT runs FROM node_health") == 1
    for command in ("health", "report"):
        done = run(home, command, missing=_ANALYSIS)
        assert done.returncode == 1
        assert install_command("analysis") in done.stderr
        assert len(done.stderr.splitlines()) == 1
