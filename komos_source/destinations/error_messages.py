"""Dlt's errors as ours: the cause, worded for whoever must act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source.exceptions import DestinationError, KomosError


@contextlib.contextmanager
def translate_errors(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Dlt wraps what went wrong; here the cause comes out, worded for whoever must act."""
    try:
        yield
    except PipelineStepFailed as error:
        raise _ours(error) or DestinationError(
            f"the {error.step} step failed: {error.exception}"
        ) from error
    except KomosError:
        raise
    except Exception as error:
        if found := _ours(error):
            raise found from error
        raise DestinationError(
            f"the destination {pipeline.destination.destination_name} cannot be used: {error}"
        ) from error


def _ours(error: BaseException | None) -> BaseException | None:
    """Our own error, or an interruption, among an error's causes and members."""
    while error is not None:
        if isinstance(error, KomosError | KeyboardInterrupt):
            return error
        for member in getattr(error, "exceptions", ()):
            if found := _ours(member):
                return found
        error = error.__cause__ or error.__context__
    return None
