"""Copies of DuckDB files, and who may read a file that replaces another one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from komos_source.destinations.error_messages import describe_cause
from komos_source.destinations.locking import connect_when_unlocked
from komos_source.exceptions import DestinationError
from komos_source.settings import LOCK_TIMEOUT


def write_copy(source: Path, copy: Path, *, keep_access: bool = False) -> None:
    """Copies a DuckDB file, with views and comments; the copy may replace the file itself.

    A copy holds only what tables hold, without bytes of rows that were changed or deleted. It is
    for its owner only.

    Args:
        source: The file; waited for while another process writes it.
        copy: What is replaced as a whole.
        keep_access: Give the copy owner and permissions of the file that it replaces instead.

    Raises:
        LockedError: Another process kept the file open.
        DestinationError: The file cannot be read, or the copy cannot be written.
    """
    try:
        with TemporaryDirectory(prefix=".komos-copy-", dir=copy.absolute().parent) as directory:
            written = Path(directory) / "copy.duckdb"
            opened = connect_when_unlocked(lambda: _attached(str(source)), LOCK_TIMEOUT)
            with opened as connection:
                connection.execute(f"ATTACH '{_quoted(str(written))}' AS copied")
                connection.execute("COPY FROM DATABASE loaded TO copied")
                connection.execute("DETACH copied")
                written.chmod(0o600)
                if keep_access:
                    copy_access(copy, written)
                written.replace(copy)  # before another process can open the file
    except (OSError, duckdb.Error) as error:
        raise DestinationError(
            f"{source} cannot be copied to {copy}: {describe_cause(error)}"
        ) from error


def copy_access(file: Path, new: Path) -> None:
    """Gives a file that is to replace another one its permissions, and if possible its owner.

    Only root can give a file to another user, who could not open it otherwise.

    Raises:
        OSError: The permissions cannot be read or changed.
    """
    before = file.stat()
    with contextlib.suppress(PermissionError):
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(before.st_mode & 0o777)


def _attached(file: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    try:
        return connection.execute(f"ATTACH '{_quoted(file)}' AS loaded (READ_ONLY)")
    except duckdb.Error:
        connection.close()
        raise


def _quoted(text: str) -> str:
    return text.replace("'", "''")
