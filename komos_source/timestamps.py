"""Text to time. All times in this package are aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


def parse_timestamp(text: str) -> datetime:
    """Reads an ISO 8601 timestamp; one without an offset is taken as UTC.

    Digits beyond microseconds are cut off, since no destination could keep them.

    Raises:
        ValueError: The text is no such timestamp, or lies outside the years 1 to 9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


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
        moment = parsedate_to_datetime(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
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
