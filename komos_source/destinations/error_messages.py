"""Turns dlt's errors into ours: one sentence with the cause and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source.exceptions import DestinationError, KomosError

_MAX_LENGTH = 300
_STEPS = {
    "extract": "reading the API failed",
    "normalize": "preparing the rows for {destination} failed",
    "load": "loading into {destination} failed",
}
_DESTINATION_FAILED = "the destination {destination} cannot be used"
_ADVICE = "`komos check --destination {destination}` tests the destination"
_SETTINGS = (
    "; its settings are DESTINATION__{DESTINATION}__CREDENTIALS or [destination.{destination}] in "
    ".dlt/secrets.toml"
)
_LOCAL_DISK = ": this file system has no locks, keep the DuckDB file on a local disk"
_ADVICE_BY_TEXT = {
    "unsupported startup parameter": (
        ": this is a connection pooler, use the direct address of the database, or set "
        "ignore_startup_parameters = options in PgBouncer"
    ),
    "storage version number": (
        " The file was written by a newer DuckDB: install that version (pip install --upgrade "
        "duckdb), or load into another file with DESTINATION__DUCKDB__CREDENTIALS"
    ),
    "not a valid DuckDB database file": (
        " Move it away, or name another file in DESTINATION__DUCKDB__CREDENTIALS"
    ),
    "Failed to download extension": (
        ": DuckDB downloads an extension on first use; let it reach the network, or install a "
        "DuckDB that has the extension, such as duckdb==1.5.5 for DuckLake"
    ),
    "File locks are not supported": _LOCAL_DISK,
    "No locks available": _LOCAL_DISK,
}
"""What to do, by a part of the message of a database."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EIO}
_URL_USER = re.compile(r"(?<=://)[^\s'\"]*@")
_SECRET = re.compile(
    r"(?i)((?:password|passwd|pwd|token|secret|api_?key|access_?key(?:_id)?)['\"]?\s*[=:]\s*['\"]?)"
    r"[^\s&'\",;)]+"
)


@contextlib.contextmanager
def translate_errors(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Raises errors of dlt, or of the destination, as ours.

    Raises:
        DestinationError: An error of dlt's or of the destination's.
        KomosError: An error of this package, or an interruption, that dlt had wrapped.
    """
    try:
        yield
    except KomosError:
        raise
    except Exception as error:
        if found := wrapped_error(error):
            raise found from error
        if problem := describe_disk_error(root_cause(error), Path(pipeline.pipelines_dir)):
            raise DestinationError(problem) from error
        raise DestinationError(
            describe_error(error, pipeline.destination.destination_name)
        ) from error


def describe_error(error: Exception, destination: str) -> str:
    """Returns a sentence for an error of dlt's: what failed, the root cause, and what to do."""
    step = error.step if isinstance(error, PipelineStepFailed) else ""
    what = _STEPS.get(step, _DESTINATION_FAILED)
    advice = "" if step == "extract" else f" ({_ADVICE}{'' if step else _SETTINGS})"
    return f"{what}: {{cause}}{advice}".format(
        destination=destination,
        DESTINATION=destination.upper(),
        cause=describe_cause(root_cause(error)),
    )


def describe_disk_error(error: BaseException, directory: Path) -> str | None:
    """Returns a sentence for an error of a file in a directory for working directories, else None.

    An error that names no file is one of writing rows, which happens in that directory.
    """
    if not isinstance(error, OSError) or not error.errno:
        return None
    path = Path(str(error.filename or directory))
    if not path.is_relative_to(directory) and path not in directory.parents:
        return None
    if error.errno in _DISK_FULL:
        return (
            f"{path} cannot be used: {error.strerror}. Free some space, or set DLT_DATA_DIR to a "
            "directory on another disk."
        )
    if error.filename and error.errno in _UNUSABLE:
        return (
            f"{path} cannot be used: {error.strerror}. Run as the user who owns the directory, or "
            "set DLT_DATA_DIR to one of your own on a local disk."
        )
    return None


def describe_cause(error: BaseException) -> str:
    """Returns an error's first line, without secrets and not too long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = mask_secrets(lines[0] if lines else "")
    if " " not in text:  # such as the key of a KeyError
        text = f"{type(error).__name__} {text}".strip()
    if len(text) > _MAX_LENGTH:
        text = text[: _MAX_LENGTH - 1] + "…"
    return text + next((each for part, each in _ADVICE_BY_TEXT.items() if part in text), "")


def mask_secrets(text: str) -> str:
    """Replaces user names and passwords in URLs, and values of parameters that hold secrets."""
    return _SECRET.sub(r"\1***", _URL_USER.sub("***@", text))


def root_cause(error: BaseException) -> BaseException:
    """Returns the exception that an error goes back to.

    What dlt says of a failed job is a traceback; the exception behind it has the message.
    """
    *_, last = _causes(error)
    return last


def wrapped_error(error: BaseException) -> BaseException | None:
    """Returns an error of this package, or an interruption, among an error's causes and members."""
    for cause in _causes(error):
        if isinstance(cause, KomosError | KeyboardInterrupt):
            return cause
        for member in getattr(cause, "exceptions", ()):
            if found := wrapped_error(member):
                return found
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, its cause, that one's cause, and so on."""
    while error is not None:
        yield error
        context = None if error.__suppress_context__ else error.__context__
        # dlt also keeps causes as attributes, not always chained.
        error = (
            error.__cause__
            or context
            or getattr(error, "exception", None)
            or getattr(error, "client_exception", None)
        )
