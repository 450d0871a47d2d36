"""Fixtures: an emulated organisation, its API, and loads into a DuckDB file per test."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, settings

from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.settings import DUCKDB_FILE
from komos_source.testing import Emulator, FakeKomos
from tests.engines import all_engines, engine
from tests.postgres import pooler_url, postgres_server, postgres_url, strict_pooler_url
from tests.stores import ducklake_packages, fakesnow_server

__all__ = [
    "all_engines",
    "ducklake_packages",
    "engine",
    "fakesnow_server",
    "pooler_url",
    "postgres_server",
    "postgres_url",
    "strict_pooler_url",
]  # fixtures

# SIGINT is ignored in a background process of a script, and so it would be in processes of tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how fast the machine is.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

THOROUGH = os.environ.get("KOMOS_TEST_THOROUGH") == "1"
"""Whether to try more of the same, as .github/workflows/nightly.yml does."""

_DURATIONS = Path(__file__).with_name("durations.json")
"""Seconds that tests take, if more than one; `--record-durations` rewrites it."""
_SLOW = 1.5
_TOGETHER = ("tests/browser/", "tests/integration/test_containers.py")
_SLOW_FIXTURES = {
    "browser",
    "dbt",
    "ducklake_packages",
    "fakesnow_server",
    "postgres_server",
    "receiver",
}
"""They start a browser or a server, or install a DuckDB; so does whatever needs them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="keep each query's text as it is now"
    )
    parser.addoption(
        "--seeds",
        type=int,
        default=100 if THOROUGH else 20,
        help="sample data sets without planted patterns",
    )
    parser.addoption(
        "--full-size", action="store_true", help="shards: 64 buckets of 200,000 entries, not 8"
    )
    parser.addoption(
        "--record-durations", action="store_true", help=f"rewrite {_DURATIONS.name} from this run"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores: tests of a scheduler or a follower mostly wait."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Runs all tests of a file that shares a browser or an image in one process.

    The mark `xdist_group` of pytest-xdist 3.8 has no effect with the pytest of the lock.
    """
    from xdist.scheduler import LoadGroupScheduling

    class Scheduling(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.startswith(_TOGETHER) else nodeid

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks slow tests, for `make test-quick`, and starts the longest first.

    None of them is then left to run alone at the end. Files whose tests run in one process count
    as a whole.
    """
    recorded = json.loads(_DURATIONS.read_text())
    seconds = {item: recorded.get(_name(item.nodeid), 0) for item in items}
    together: dict[Path, float] = defaultdict(float)
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        needs_server = fixtures & _SLOW_FIXTURES or "postgres" in item.nodeid.split("[")[-1]
        if seconds[item] >= _SLOW or needs_server:
            item.add_marker("slow")
        if item.nodeid.startswith(_TOGETHER):
            together[item.path] += seconds[item]
    items.sort(key=lambda item: together.get(item.path, seconds[item]), reverse=True)


def pytest_collection_finish() -> None:
    """Exempts all that has been imported from garbage collection, as `komos` does."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # DuckDB writes a page about what is left at the end


def _name(test: str) -> str:
    """Without parameters and the group that pytest-xdist adds."""
    return test.split("[", maxsplit=1)[0].split("@", maxsplit=1)[0]


class _Recorder:
    """Rewrites the durations of the files that ran."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        ran = {test.split("::")[0] for test in self._seconds}
        durations = {
            name: seconds
            for name, seconds in json.loads(_DURATIONS.read_text()).items()
            if name.split("::")[0] not in ran
        }
        for test, seconds in self._seconds.items():
            if seconds >= 1:
                name = _name(test)
                durations[name] = max(durations.get(name, 0), math.floor(2 * seconds) / 2)
        _DURATIONS.write_text(json.dumps(durations, indent=0, sort_keys=True) + "\n")


@dataclass
class LoadEnv:
    """Runs the loads of a test, and reads what they stored."""

    directory: Path
    emulator: Emulator
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.directory / DUCKDB_FILE

    def load(self, **options: Any) -> LoadResult:
        return load(
            **{
                "api_key": self.emulator.api_key,
                "base_url": self.emulator.base_url,
                "pipelines_dir": str(self.directory / "pipelines"),
                "backoff": 0.01,
                "lock_timeout": 5.0,
                **self.defaults,
                **options,
            }
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file)) as connection:
            connection.execute("USE komos")
            return connection.execute(sql).fetchall()

    def value(self, sql: str) -> Any:
        return self.rows(sql)[0][0]

    def table(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """`task_run_logs` by run and id; also checks that no entry is there twice."""
        found = self.rows(
            "SELECT run_id, id, position, timestamp, level, message, node_id FROM task_run_logs"
        )
        by_key = {(row[0], row[1]): row[2:] for row in found}
        assert len(by_key) == len(found), "an entry is there twice"
        return by_key


@pytest.fixture
def world() -> FakeKomos:
    return FakeKomos()


@pytest.fixture
def emulator(world: FakeKomos) -> Iterator[Emulator]:
    with Emulator(world) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> LoadEnv:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{tmp_path / DUCKDB_FILE}")
    return LoadEnv(tmp_path, emulator)


def expected(world: FakeKomos) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The result that `LoadEnv.table` should have: all entries that the API returns."""
    from komos_source.timestamps import parse_timestamp

    return {
        (run_id, entry["id"]): (
            position,
            None if entry["timestamp"] is None else parse_timestamp(entry["timestamp"]),
            entry["level"],
            entry["message"],
            entry["nodeId"],
        )
        for run_id, position, entry in world.entries()
    }
