"""What an answer means that is not 200."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from komos_source import settings
from komos_source.api.models import detail_text, parse_detail
from komos_source.exceptions import AuthenticationError, KomosError, NotVisibleError, RequestError
from komos_source.timestamps import parse_retry_after

_TRANSIENT = frozenset({429, 500, 502, 503, 504})


class TransientError(RequestError):
    """Worth another try.

    Attributes:
        retry_after: Seconds the server asked to wait, if it did.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


def error_for_status(
    status: int, body: bytes, retry_after: str | None, served_at: datetime | None
) -> KomosError:
    """The error that an answer stands for.

    Args:
        status: Its status, any but 200.
        body: Its body, which may say more.
        retry_after: Its ``Retry-After`` header.
        served_at: The server's clock.
    """
    detail = f"{status} {parse_detail(body)}".strip()
    if status in {401, 403}:
        return AuthenticationError(
            f"the API refused the key ({detail}). The key was looked for in "
            f"{settings.API_KEY_VARIABLE}, .dlt/secrets.toml ([sources.komos] api_key) and "
            f"{settings.FALLBACK_API_KEY_VARIABLE}, in this order; `komos check` says which "
            "one was used."
        )
    own = detail_text(body)
    if status == HTTPStatus.NOT_FOUND:
        return NotVisibleError(detail, status, served_at, own)
    if status not in _TRANSIENT:
        return RequestError(detail, status, served_at, own)
    wait = parse_retry_after(retry_after, served_at or datetime.now(UTC))
    if wait is not None and wait > settings.MAX_RETRY_AFTER:
        return RequestError(f"{detail}; asked to wait {wait:.0f} s", status, served_at)
    return TransientError(detail, status, wait)
