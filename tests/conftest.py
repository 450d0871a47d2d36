"""Fixtures: an emulated organisation, its API, and loads into a DuckDB file per test."""

from __future__ import annotations

import signal
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
from tests.postgres import postgres_server, postgres_url
from tests.stores import ducklake_packages

__all__ = [
    "all_engines",
    "ducklake_packages",
    "engine",
    "postgres_server",
    "postgres_url",
]  # fixtures

# SIGINT is ignored in a background process of a script, and so it would be in processes of tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how fast the machine is.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="keep each query's text as it is now"
    )
    parser.addoption(
        "--seeds", type=int, default=20, help="sample data sets without planted patterns"
    )
    parser.addoption(
        "--full-size", action="store_true", help="shards: 64 buckets of 200,000 entries, not 8"
    )


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
