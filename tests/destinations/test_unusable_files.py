"""DuckDB files that cannot be opened: one sentence, with the file and what to do."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import duckdb
import pytest

from komos_source.analytics import open_database
from komos_source.exceptions import DestinationError
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv

NEWER = (
    "The file was written by a newer DuckDB: install that version (pip install --upgrade duckdb), "
    "or load into another file with DESTINATION__DUCKDB__CREDENTIALS"
)
NO_DATABASE = "Move it away, or name another file in DESTINATION__DUCKDB__CREDENTIALS"
NO_LOCKS = "this file system has no locks, keep the DuckDB file on a local disk"


def write_file_of_newer_duckdb(path: Path) -> None:
    """Raises the storage version in the header of a DuckDB file, and corrects its checksum."""
    duckdb.connect(str(path)).close()
    content = bytearray(path.read_bytes())
    content[12:20] = struct.pack("<Q", 100_000)
    checksum = 5381
    for word in struct.unpack("<511Q", content[8:4096]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = struct.pack("<Q", checksum)
    path.write_bytes(content)


@pytest.mark.parametrize("newer", [True, False])
def test_load_check_and_report_of_an_unusable_file_say_what_to_do(
    home: LoadEnv, *, newer: bool
) -> None:
    if newer:
        write_file_of_newer_duckdb(home.file)
    else:
        home.file.write_text("This is no database. " * 1000)
    before, advice = home.file.read_bytes(), NEWER if newer else NO_DATABASE
    with pytest.raises(DestinationError) as raised:
        home.load()
    assert str(raised.value).startswith(f"the DuckDB file {home.file} cannot be opened: IO Error: ")
    assert str(raised.value).endswith(advice)
    for command in ("check", "report"):
        done = komos(home, command)
        assert done.returncode == 1
        (line,) = (line for line in (done.stdout + done.stderr).splitlines() if advice in line)
        assert f"{home.file}" in line
        assert "Traceback" not in done.stderr
    assert home.file.read_bytes() == before


@pytest.mark.parametrize(
    "reason",
    [
        "No locks available.",  # ENOLCK
        "File locks are not supported for this file system, cannot open the file in read-write "
        "mode. Try opening the file in read-only mode.",  # EOPNOTSUPP
    ],
)
def test_load_and_query_on_a_file_system_without_locks_say_so_without_waiting(
    home: LoadEnv, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    duckdb.connect(str(home.file)).close()
    # The texts of DuckDB 2.0 where fcntl(2) fails with these errors.
    text = f'IO Error: Could not set lock on file "{home.file}": {reason}'

    def connect(*_: Any, **__: Any) -> Any:
        raise duckdb.IOException(text)

    monkeypatch.setattr(duckdb, "connect", connect)
    for read in (lambda: home.load(lock_timeout=600), lambda: open_database().sql("SELECT 1")):
        with pytest.raises(DestinationError, match=NO_LOCKS):
            read()
