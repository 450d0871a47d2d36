"""When a failing run is retried, and when it is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source.exceptions import (
    ApiUnreachableError,
    AuthenticationError,
    NotVisibleError,
    RequestError,
)
from komos_source.extract.failures import after_failure, as_request_error, is_permanent
from komos_source.extract.state import TrackedRun

NOW = datetime(2025, 10, 14, tzinfo=UTC)
DAY = timedelta(days=1)
GONE = NotVisibleError("404 run_not_found", 404, detail="run_not_found")


@pytest.mark.parametrize(
    ("error", "listed", "permanent"),
    [
        (GONE, False, True),
        (GONE, True, False),
        (NotVisibleError("404 <html>", 404), False, False),
        (NotVisibleError("404 Not Found", 404, detail="Not Found"), False, False),
        *[(RequestError("", status), True, True) for status in (410, 422)],
        *[
            (RequestError("", status), False, False)
            for status in (None, 200, 301, 400, 401, 403, 405, 408, 414, 429, 451, 500, 503)
        ],
    ],
    ids=lambda value: f"{value.status} {value.detail}" if isinstance(value, Exception) else "",
)
def test_is_permanent_only_for_what_the_api_itself_refuses(
    error: RequestError, listed: bool, permanent: bool
) -> None:
    assert is_permanent(error, listed=listed) is permanent


def fail(run: TrackedRun, error: RequestError, *, hours: float) -> tuple[TrackedRun, bool]:
    now = NOW + timedelta(hours=hours)
    return after_failure(run, error, listed=False, now=now, give_up_after=DAY)


@pytest.mark.parametrize(
    ("hours", "lost"),
    [
        ([0], False),
        ([0, 30], False),
        ([0, 1, 2], False),
        ([0, 1, 2, 23.9], False),
        ([0, 1, 24], True),
        ([0, 12, 23, 40], True),
    ],
)
def test_after_failure_loses_a_run_after_three_loads_and_a_day(
    hours: list[float], lost: bool
) -> None:
    run, is_lost = TrackedRun("task"), False
    for hour in hours:
        assert not is_lost
        run, is_lost = fail(run, GONE, hours=hour)
    assert is_lost is lost


def test_after_failure_with_a_transient_error_neither_counts_nor_resets() -> None:
    run = TrackedRun("task", failing_since=NOW, failed_loads=5, checked_at=NOW)
    after, lost = fail(run, RequestError("", 500), hours=48)
    assert (after, lost) == (replace(run, checked_at=None), False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RequestError("500", 500), "500"),
        (OverflowError("too large"), "OverflowError: too large"),
        (MemoryError(), "MemoryError: "),
    ],
    ids=repr,
)
def test_as_request_error_makes_any_exception_one_runs_failure(
    error: Exception, message: str
) -> None:
    assert str(as_request_error(error)) == message


@pytest.mark.parametrize("error", [AuthenticationError(""), ApiUnreachableError("")], ids=repr)
def test_as_request_error_raises_what_concerns_all_requests(error: Any) -> None:
    with pytest.raises(type(error)):
        as_request_error(error)


def test_unexpected_error_is_stored_without_characters_that_databases_refuse() -> None:
    assert str(as_request_error(KeyError("a\0b\ud800"))) == r"KeyError: 'a\x00b\ud800'"
    assert str(as_request_error(ValueError("a\0b\ud800"))) == "ValueError: a\ufffdb\ufffd"
