"""What an answer other than 200 means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from komos_source import settings
from komos_source.api.models import parse_json
from komos_source.api.rate_limit import requested_wait
from komos_source.exceptions import (
    AuthenticationError,
    KomosError,
    NotJsonError,
    NotVisibleError,
    RequestError,
)
from komos_source.text import storable_text

_TRANSIENT = frozenset({408, 425, 429})
_LEAST_MASKED = 12
"""Characters: a beginning of the key that is as long is masked too, as it may have been cut off."""


class TransientError(RequestError):
    """Another try may succeed.

    Attributes:
        retry_after: Seconds the API asks to wait, if it does.
    """

    retry_after: float | None = None


class ThrottledError(TransientError):
    """429: the API's rate limit. Another try succeeds once the API accepts requests again."""


class PostponedError(RequestError):
    """Another try may succeed, but would take too long now: it is left to the next load."""


def error_for_status(
    status: int,
    body: bytes | bytearray,
    headers: Mapping[str, str],
    served_at: datetime | None,
    *,
    key_accepted: bool,
    redact: Callable[[str], str] = str,
) -> KomosError:
    """The error that an answer stands for.

    Args:
        status: Its status, any but 200.
        body: Its body, or the beginning of it.
        headers: Its headers, found in any letter case.
        served_at: The server's clock.
        key_accepted: Whether another request with the same key has succeeded. Then 401 and 403
            concern what was asked for, and not the key.
        redact: Applied to what the answer says, before that is cut off.
    """
    answered, detail = _read_detail(body, redact)
    text = f"{status} {answered}".strip()
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not key_accepted:
        return AuthenticationError(
            f"the API refused the key ({text}). The key was looked for in "
            f"{settings.API_KEY_VARIABLE}, .dlt/secrets.toml ([sources.komos] api_key) and "
            f"{settings.FALLBACK_API_KEY_VARIABLE}, in this order; `komos check` says which "
            "one was used."
        )
    if location := headers.get("Location"):
        text += f"; it redirects to {location[: settings.MAX_DETAIL]}, which is not followed"
        moved = re.match(r"https://[^/?#@]+", location)
        if moved and status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT}:
            text += f": if the API has moved there, set SOURCES__KOMOS__BASE_URL to {moved[0]}"
    if status == HTTPStatus.NOT_FOUND:
        return NotVisibleError(text, status, served_at, detail)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TRANSIENT:
        return RequestError(text, status, served_at, detail)
    wait = requested_wait(headers, served_at or datetime.now(UTC))
    if wait is not None and wait > settings.MAX_RETRY_AFTER:
        return PostponedError(f"{text}; asked to wait {wait:.0f} s", status, served_at, detail)
    kind = ThrottledError if status == HTTPStatus.TOO_MANY_REQUESTS else TransientError
    error = kind(text, status, served_at, detail)
    error.retry_after = wait
    return error


def _read_detail(body: bytes | bytearray, redact: Callable[[str], str]) -> tuple[str, str | None]:
    """What an error answer says, and its ``detail`` if it is a text: cut off, and storable."""
    try:
        answer = parse_json(body)
    except NotJsonError:
        answer = None
    detail = answer.get("detail") if isinstance(answer, dict) else None
    if isinstance(detail, str):
        detail = storable_text(detail)
        return redact(detail)[: settings.MAX_DETAIL], detail[: settings.MAX_DETAIL]
    text = body.decode(errors="replace").strip() if detail is None else json.dumps(detail)
    return redact(storable_text(text))[: settings.MAX_DETAIL], None


def mask_key(error: KomosError, api_key: str) -> None:
    """Masks the API key and bearer tokens in an error's texts, wherever they come from."""
    error.args = (_mask(str(error), api_key),)
    if isinstance(error, RequestError) and error.detail:
        error.detail = _mask(error.detail, api_key)


def _mask(text: str, api_key: str) -> str:
    text = re.sub(r"(?i)(bearer\s+)[^\s\"'\\]+", r"\1***", text)
    return re.sub(re.escape(api_key[:_LEAST_MASKED]) + r"[^\s\"'\\,;<>&]*", "***", text)
