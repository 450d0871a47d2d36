"""A working directory that cannot be written: the message names it and `DLT_DATA_DIR`."""

from __future__ import annotations

import contextlib
import errno
import random
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from komos_source.analytics import open_database
from komos_source.destinations.error_messages import describe_disk_error
from komos_source.exceptions import ConfigurationError, DestinationError, LockedError
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

WHERE = Path("/data/pipelines")
FREE = "Free some space, or set DLT_DATA_DIR to a directory on another disk."
OWNER = (
    "Run as the user who owns the directory, or set DLT_DATA_DIR to one of your own on a local "
    "disk."
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "Full"), f"/data/pipelines cannot be used: Full. {FREE}"),
        (
            OSError(errno.EDQUOT, "Quota", "/data/pipelines/a/b"),
            f"/data/pipelines/a/b cannot be used: Quota. {FREE}",
        ),
        (OSError(errno.EROFS, "R", "/data"), f"/data cannot be used: R. {OWNER}"),
        (OSError(errno.EACCES, "Denied"), None),  # may be a socket
        (OSError(errno.ENOSPC, "Full", "/elsewhere/file"), None),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Refused"), None),
        (OSError("connection failed"), None),
        (ValueError(), None),
    ],
)
def test_describe_disk_error_describes_errors_of_the_directory_only(
    error: Exception, sentence: str | None
) -> None:
    assert describe_disk_error(error, WHERE) == sentence


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets writing beyond the size fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_load_without_space_for_its_files_names_the_directory_and_the_next_load_works(
    home: LoadEnv, world: FakeKomos
) -> None:
    texts = (random.Random(number).randbytes(10_000).hex() for number in range(200))
    world.append(world.add_run(world.add_task("Orders")), *({"message": text} for text in texts))
    with largest_file(2**20), pytest.raises(DestinationError) as caught:
        home.load()
    assert str(caught.value).startswith(f"{home.directory / 'pipelines'} cannot be used: File too")
    assert FREE in str(caught.value)
    assert home.load().entries_loaded == 200


def test_load_with_an_unusable_working_directory_names_it(home: LoadEnv) -> None:
    in_the_way = home.directory / "pipelines" / "komos_task_run_logs"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    with pytest.raises(DestinationError) as caught:
        home.load()
    assert str(caught.value) == f"{in_the_way} cannot be used: Not a directory. {OWNER}"


def test_load_below_a_directory_that_cannot_be_created_names_it(home: LoadEnv) -> None:
    with pytest.raises(LockedError) as caught:
        home.load(pipelines_dir="/proc/missing")
    assert str(caught.value).startswith("the lock /proc/missing/.komos_task_run_logs.lock cannot")
    assert OWNER in str(caught.value)


def test_open_database_without_a_directory_for_temporary_files_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/missing")
    with pytest.raises(ConfigurationError, match=r"temporary files cannot be written: .*TMPDIR"):
        open_database()
