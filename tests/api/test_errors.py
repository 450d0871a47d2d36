import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from komos_source import settings
from komos_source.api.errors import (
    PostponedError,
    ThrottledError,
    TransientError,
    error_for_status,
    mask_key,
)
from komos_source.exceptions import AuthenticationError, KomosError, NotVisibleError, RequestError

NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)
KEY = "sk_live_0123456789abcdef"


def error_for(status: int, body: bytes = b"", **options: Any) -> KomosError:
    headers = httpx.Headers(options.pop("headers", {}))
    return error_for_status(status, body, headers, NOW, **{"key_accepted": True, **options})


@pytest.mark.parametrize(
    "body", [b'{"detail":"bad \\ud800 \\u0000 node"}', b"bad \x00 node", b'"\\ud800"']
)
def test_error_of_an_answer_with_unstorable_characters_can_be_stored(body: bytes) -> None:
    error = error_for(422, body)
    assert isinstance(error, RequestError)
    for text in (str(error), error.detail or ""):
        assert "\0" not in text
        text.encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (206, RequestError),
        (301, RequestError),
        (400, RequestError),
        (401, RequestError),
        (402, RequestError),
        (403, RequestError),
        (404, NotVisibleError),
        (408, TransientError),
        (410, RequestError),
        (422, RequestError),
        (425, TransientError),
        (429, ThrottledError),
        (500, TransientError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
        (529, TransientError),
    ],
)
def test_error_for_status_returns_the_kind_that_fits(status: int, kind: type[KomosError]) -> None:
    error = error_for(status)
    assert type(error) is kind
    if isinstance(error, RequestError):
        assert (error.status, error.served_at) == (status, NOW)


@pytest.mark.parametrize("status", [401, 403])
def test_error_for_status_401_and_403_concern_the_key_unless_it_is_accepted(status: int) -> None:
    assert isinstance(error_for(status, key_accepted=False), AuthenticationError)
    assert not isinstance(error_for(status, key_accepted=True), AuthenticationError)


@pytest.mark.parametrize(
    ("body", "text", "detail"),
    [
        (b'{"detail": "run_not_found"}', "404 run_not_found", "run_not_found"),
        (b'{"detail": {"a": 1}}', '404 {"a": 1}', None),
        (b'{"detail": null}', '404 {"detail": null}', None),
        (b'{"message": "gone"}', '404 {"message": "gone"}', None),
        (b"[1]", "404 [1]", None),
        (b"<html>\xff", "404 <html>\ufffd", None),
        (b"", "404", None),
        (b"[" * 100_000, "404 " + "[" * settings.MAX_DETAIL, None),
    ],
)
def test_error_for_status_reports_the_detail(body: bytes, text: str, detail: str | None) -> None:
    error = error_for(404, body)
    assert isinstance(error, RequestError)
    assert str(error).startswith(text)
    assert len(str(error)) <= settings.MAX_DETAIL + 4
    assert error.detail == detail


@pytest.mark.parametrize("status", [429, 503])
def test_error_for_status_reads_the_requested_wait(status: int) -> None:
    error = error_for(status, headers={"retry-after": "7"})
    assert isinstance(error, TransientError)
    assert error.retry_after == 7.0
    assert isinstance(error_for(status, headers={"retry-after": "301"}), PostponedError)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key={KEY}", "key=***"),
        (f"key={KEY}x, next", "key=***, next"),
        (f"{KEY[:12]} was cut off", "*** was cut off"),
        ("Authorization: Bearer other_token", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer abc', 'b': 1}", "{'authorization': 'bearer ***', 'b': 1}"),
        ("sk_live_other", "sk_live_other"),
        ("no secret", "no secret"),
    ],
)
def test_mask_key_masks_the_key_and_bearer_tokens(text: str, masked: str) -> None:
    error = RequestError(text, detail=text)
    mask_key(error, KEY)
    assert (str(error), error.detail) == (masked, masked)


@pytest.mark.parametrize("detail", [True, False])
def test_error_text_is_redacted_before_it_is_cut_off(detail: bool) -> None:
    text = "x" * (settings.MAX_DETAIL - 5) + " anna@example.com"
    body = json.dumps({"detail": text}) if detail else text
    error = error_for(500, body.encode(), redact=lambda said: said.replace("anna@", "[email]"))
    assert "anna" not in str(error)
