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

_NOT_ABOUT_THE_RUN = frozenset({401, 402, 403, 404, 407, 408, 421, 425, 429})
"""The key, the organisation's allotment, a proxy or the moment; 404 is judged by its detail."""


def as_request_error(error: Exception) -> RequestError:
    """Any failure as that of one run or task, which leaves the others alone.

    Raises:
        AuthenticationError: No request can succeed.
        ApiUnreachableError: Likewise.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, AuthenticationError | ApiUnreachableError):
        raise error
    return RequestError(f"{type(error).__name__}: {error}")


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
    return 400 <= (error.status or 0) < 500 and error.status not in _NOT_ABOUT_THE_RUN  # noqa: PLR2004 - client errors


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
