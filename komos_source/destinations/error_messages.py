"""Turns dlt's errors into ours: one sentence with the cause and what to do about it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

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


def describe_cause(error: BaseException) -> str:
    """Returns an error's first line, without secrets and not too long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = mask_secrets(lines[0] if lines else "")
    if " " not in text:  # such as the key of a KeyError
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"


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
