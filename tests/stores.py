"""Real destinations for tests: the settings of loads into each, and queries on their tables.

Loads run as processes, as users run them. DuckLake needs an older DuckDB than the rest of the
suite (see ``ducklake-requirements.txt``), which only those processes import.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy

from komos_source.testing import Emulator
from tests import warm

HERE = Path(__file__).parent
COLUMNS = "run_id, id, position, timestamp, level, message, node_id"
Rows = list[tuple[Any, ...]]

LATEST = (
    "(SELECT * FROM read_parquet('{files}', union_by_name = true) QUALIFY ROW_NUMBER() OVER"
    " (PARTITION BY run_id, id ORDER BY _dlt_load_id DESC) = 1)"
)
"""The query in docs/destinations.md that reads plain Parquet files."""


@dataclass(frozen=True, slots=True)
class Store:
    """A destination.

    Attributes:
        destination: Its name in dlt.
        directory: Working directory of loads.
        environment: Variables with its settings.
        query: Runs SQL on it, in which ``{table_name}`` stands for a table of a dataset.
    """

    destination: str
    directory: Path
    environment: Mapping[str, str]
    query: Callable[[str, str], Rows]

    def start(self, emulator: Emulator, *command: str) -> warm.Started:
        """Starts a Python process that would load into it."""
        environment = {
            "SOURCES__KOMOS__API_KEY": emulator.api_key,
            "SOURCES__KOMOS__BASE_URL": emulator.base_url,
            "DLT_DATA_DIR": str(self.directory),
            **self.environment,
        }
        return warm.start(command, self.directory, os.environ | environment)

    def load(self, emulator: Emulator, *options: str, exit_code: int = 0) -> dict[str, Any]:
        """Loads, and returns the report."""
        process = self.start(emulator, "-m", "komos_source", *self.command(), "--json", *options)
        output, error = process.communicate(timeout=600)
        assert process.returncode == exit_code, error
        return json.loads(output) if output else {"error": error}

    def command(self) -> tuple[str, ...]:
        return ("load", "--destination", self.destination)

    def table(self, dataset: str = "komos") -> dict[tuple[str, str], tuple[Any, ...]]:
        """`task_run_logs` by run and id; also checks that no entry is there twice."""
        found = self.query(dataset, f"SELECT {COLUMNS} FROM {{task_run_logs}}")
        by_key = {(row[0], row[1]): row[2:] for row in found}
        assert len(by_key) == len(found), "an entry is there twice"
        return by_key


def _duckdb(directory: Path, *, direct_merge: bool) -> Store:
    file = directory / "data.duckdb"

    def query(dataset: str, sql: str) -> Rows:
        with duckdb.connect(str(file)) as connection:
            return connection.execute(sql.format_map(_In(dataset))).fetchall()

    environment = {
        "DESTINATION__DUCKDB__CREDENTIALS": str(file),
        "SOURCES__KOMOS__DIRECT_MERGE": str(direct_merge),
    }
    return Store("duckdb", directory, environment, query)


def _postgres(directory: Path, url: str) -> Store:
    def query(dataset: str, sql: str) -> Rows:
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(sql.format_map(_In(dataset)))
            return [tuple(row) for row in rows]

    return Store("postgres", directory, {"DESTINATION__POSTGRES__CREDENTIALS": url}, query)


def _filesystem(directory: Path, table_format: str) -> Store:
    lake = directory / "lake"

    def table(path: Path) -> Any:
        if table_format == "delta":
            from deltalake import DeltaTable

            return DeltaTable(path).to_pyarrow_table()
        from pyiceberg.table import StaticTable

        newest = max(path.glob("metadata/*.metadata.json"))
        return StaticTable.from_metadata(str(newest)).scan().to_arrow()

    def query(dataset: str, sql: str) -> Rows:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            names = {path.name for path in (lake / dataset).iterdir() if path.is_dir()}
            if table_format == "parquet":
                sources = {n: LATEST.format(files=lake / dataset / n / "*.parquet") for n in names}
            else:
                sources = {name: name for name in names if f"{{{name}}}" in sql}
                for name in sources:
                    connection.register(name, table(lake / dataset / name))
            return connection.execute(sql.format_map(sources)).fetchall()

    environment = {
        "DESTINATION__FILESYSTEM__BUCKET_URL": lake.as_uri(),
        "SOURCES__KOMOS__TABLE_FORMAT": table_format,
    }
    return Store("filesystem", directory, environment, query)


def _ducklake(directory: Path, catalog: str, packages: Path) -> Store:
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, (packages, HERE.parent))),
        "HOME": str(packages),  # where DuckDB looks for its extensions
        "DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG": catalog,
        "DESTINATION__DUCKLAKE__CREDENTIALS__STORAGE__BUCKET_URL": (directory / "lake").as_uri(),
    }

    def query(dataset: str, sql: str) -> Rows:
        process = subprocess.run(
            [sys.executable, HERE / "read_ducklake.py", sql.format_map(_In(f"ducklake.{dataset}"))],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [tuple(_moments(row)) for row in json.loads(process.stdout)]

    return Store("ducklake", directory, environment, query)


class FakeSnow:
    """A server that emulates Snowflake; each store has a database of its own in it."""

    def __init__(self, packages: Path) -> None:
        paths = (packages, HERE / "fakesnow", HERE.parent)
        self.environment = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true",  # it asks hosts of cloud providers
        }
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "fakesnow" / "serve.py"],
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def query(self, sql: str, database: str) -> Rows:
        assert self._process.stdin
        print(json.dumps([sql, database]), file=self._process.stdin, flush=True)
        return [tuple(_moments(row)) for row in self._answer()]

    def close(self) -> None:
        self._process.communicate()


def _snowflake(directory: Path, server: FakeSnow) -> Store:
    database = f"DB_{uuid.uuid4().hex}".upper()
    server.query(f"CREATE DATABASE IF NOT EXISTS {database}", database)
    address = "host={host}&port={port}&protocol={protocol}".format_map(server.address)
    credentials = f"snowflake://user:password@fakesnow/{database}?{address}&warehouse=w&role=r"
    environment = {**server.environment, "DESTINATION__SNOWFLAKE__CREDENTIALS": credentials}

    def query(dataset: str, sql: str) -> Rows:
        return server.query(sql.format_map(_In(dataset)), database)

    return Store("snowflake", directory, environment, query)


def _moments(row: list[Any]) -> Iterator[Any]:
    for value in row:
        yield datetime.fromisoformat(value["moment"]) if isinstance(value, dict) else value


class _In(dict[str, str]):
    """Qualifies any name of a table with its dataset."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __missing__(self, name: str) -> str:
        return f"{self.prefix}.{name}"


@pytest.fixture(scope="session")
def ducklake_packages() -> Path:
    """A directory with the DuckDB version that DuckLake supports; created once per checkout."""

    def install_extensions(target: Path) -> None:
        subprocess.run(
            [sys.executable, HERE / "read_ducklake.py", "--install"],
            env=os.environ | {"PYTHONPATH": str(target), "HOME": str(target)},
            check=True,
        )

    requirements = HERE / "ducklake-requirements.txt"
    return _packages(HERE.parent / ".ducklake", requirements, install_extensions)


@pytest.fixture(scope="session")
def fakesnow_server() -> Iterator[FakeSnow]:
    """A running fakesnow; its packages are installed once per checkout."""
    requirements = HERE / "fakesnow" / "requirements.txt"
    server = FakeSnow(_packages(HERE.parent / ".fakesnow", requirements))
    yield server
    server.close()


def _packages(
    target: Path, requirements: Path, finish: Callable[[Path], None] = lambda target: None
) -> Path:
    """Installs packages that the suite cannot import beside its own into a directory."""
    target.mkdir(exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the suite may be creating it
        done = target / "requirements.txt"
        if not done.exists() or done.read_text() != requirements.read_text():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
            subprocess.run([*pip, "--target", target, "-r", requirements], check=True)
            finish(target)
            done.write_text(requirements.read_text())
    return target


def make_store(name: str, directory: Path, request: pytest.FixtureRequest) -> Store:
    """An empty destination: ``duckdb`` (``duckdb-dlt`` without the direct merge), ``postgres``,
    ``snowflake``, ``ducklake-`` and its catalog, or a table format."""
    match name.split("-"):
        case ["duckdb", *path]:
            return _duckdb(directory, direct_merge=not path)
        case ["postgres"]:
            return _postgres(directory, request.getfixturevalue("postgres_url"))
        case ["snowflake"]:
            return _snowflake(directory, request.getfixturevalue("fakesnow_server"))
        case ["ducklake", "sqlite"]:
            packages = request.getfixturevalue("ducklake_packages")
            return _ducklake(directory, f"sqlite:///{directory / 'catalog.sqlite'}", packages)
        case ["ducklake", "postgres"]:
            url = request.getfixturevalue("postgres_url")
            return _ducklake(directory, url, request.getfixturevalue("ducklake_packages"))
        case _:
            return _filesystem(directory, name)
