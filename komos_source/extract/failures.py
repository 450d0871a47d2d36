"""What a failed request means for its run: retried by the next load, or lost. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from komos_source.exceptions import (
    ApiUnreachableError,
    AuthenticationError,
    NotVisibleError,
    RequestError,
)
from komos_source.extract.state import TrackedRun
from komos_source.settings import LOADS_BEFORE_LOST
from komos_source.text import storable_text

_PERMANENT = frozenset({410, 422})
"""Gone, and an id that the API does not accept. Other client errors (400, 405, 414, 451) are often
a gateway's."""


def as_request_error(error: Exception) -> RequestError:
    """Any failure as that of one run or task, which leaves the others alone.

    Raises:
        AuthenticationError: The API refuses the key, so that no request can succeed.
        ApiUnreachableError: The API cannot be reached, so that no request can succeed.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, AuthenticationError | ApiUnreachableError):
        raise error
    return RequestError(storable_text(f"{type(error).__name__}: {error}"))


def is_permanent(error: RequestError, *, listed: bool) -> bool:
    """Whether the API itself refuses a run in a way that does not pass.

    A 404 counts only with the API's own detail, as gateways and deployments answer 404 too,
    and only if no list of runs shows the run.

    Args:
        error: Why the run or its log could not be read.
        listed: Whether a list of runs shows the run, or may show it.
    """
    if isinstance(error, NotVisibleError):
        return error.detail == "run_not_found" and not listed
    return error.status in _PERMANENT


def after_failure(
    run: TrackedRun,
    error: RequestError,
    *,
    listed: bool,
    now: datetime,
    give_up_after: timedelta,
) -> tuple[TrackedRun, bool]:
    """A run after a load that could not read it, and whether it is lost.

    A run is lost, and not requested again, once it has failed permanently in several loads and for
    long enough. Other failures between them neither count nor start the count again.
    """
    run = replace(run, checked_at=None)  # so that the next load does not postpone it
    if not is_permanent(error, listed=listed):
        return run, False
    since, loads = run.failing_since or now, run.failed_loads + 1
    lost = loads >= LOADS_BEFORE_LOST and now - since >= give_up_after
    return replace(run, failing_since=since, failed_loads=loads), lost
