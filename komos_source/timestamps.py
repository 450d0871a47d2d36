"""Text to time. All times in this package are aware and in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# What programs write where there is no time: nothing, or a zero time (Go and .NET 0001-01-01, MySQL
# 0000-00-00; with the offset of a time zone it may lie in year 0).
_UNSET = re.compile(r"\s*(?:000[01].*)?", re.DOTALL)
_LEAP_SECOND = re.compile(r"(.+[T ]\d\d:?\d\d:?)60(.*)")
_DURATION = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_END_OF_DAY = re.compile(r"(.+[T ])24((?::?00){0,2}(?:[.,]0+)?(?:Z|[+-].*)?)")


def parse_timestamp(text: str) -> datetime:
    """Reads an ISO 8601 timestamp; one without an offset is taken as UTC.

    Digits beyond microseconds are cut off, since no destination could keep them. A second of 60 is
    the next second, 24:00:00 the next day.

    Raises:
        ValueError: The text is no such timestamp, is unset, or lies outside the years 1 to 9999.
    """
    timestamp = parse_optional_timestamp(text)
    if timestamp is None:
        raise ValueError("the time is not set")
    return timestamp


def parse_optional_timestamp(text: str) -> datetime | None:
    """As `parse_timestamp`, but None for a text that is blank or a zero time."""
    if _UNSET.fullmatch(text):
        return None
    try:
        try:
            return as_utc(datetime.fromisoformat(text))
        except ValueError:
            return _parse_unusual(text.strip().upper())
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _parse_unusual(text: str) -> datetime:
    """Reads spellings of ISO 8601 that Python does not."""
    carry = timedelta()
    if match := _LEAP_SECOND.fullmatch(text):
        text, carry = f"{match[1]}59{match[2]}", timedelta(seconds=1)
    elif match := _END_OF_DAY.fullmatch(text):
        text, carry = f"{match[1]}00{match[2]}", timedelta(days=1)
    return as_utc(datetime.fromisoformat(text)) + carry


def as_utc(time: datetime) -> datetime:
    """The same moment in UTC; a time without an offset is taken as UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_duration(text: str) -> timedelta:
    """Reads a whole number and a unit: ``s``, ``m`` (minutes), ``h``, ``d`` or ``w``.

    Raises:
        ValueError: The text is no such duration, or is longer than the calendar.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    try:
        duration = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        _ = datetime.now(UTC) - duration
    except OverflowError as error:
        raise ValueError(f"{text!r} is longer than the calendar") from error
    return duration


def parse_http_date(text: str | None, age: str | None = None) -> datetime | None:
    """Reads an HTTP date (RFC 9110, section 5.6.7); None for a missing or unusable one.

    Args:
        text: The header's value.
        age: The ``Age`` header: seconds that the answer has spent in caches since that date. They
            are subtracted from the date, although RFC 9111 counts them from it: some caches put
            their own time into ``Date``, and a time that is too early only costs requests.
    """
    if text is None:
        return None
    try:
        moment = as_utc(parsedate_to_datetime(text))
        return moment - timedelta(seconds=_seconds(age) or 0.0)
    except (ValueError, OverflowError):
        return None


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Reads a ``Retry-After`` header, in seconds or as an HTTP date (RFC 9110, section 10.2.3).

    Args:
        text: The header's value.
        now: The server's clock when it answered: an HTTP date is counted from there.

    Returns:
        Seconds to wait, never negative; None for a missing or unusable header.
    """
    if (seconds := _seconds(text)) is not None:
        return seconds
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _seconds(text: str | None) -> float | None:
    """Reads whole seconds; more than nine digits count as nine."""
    text = (text or "").strip()
    return float(text[:9]) if text.isascii() and text.isdigit() else None
