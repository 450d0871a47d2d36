"""Verifies webhook deliveries: headers and body in, a `Delivery` or a `Refusal` out. No I/O.

Documented by Komos: ``x-komos-signature: t=<ISO 8601>,v1=<hex>``, where ``v1`` is HMAC-SHA256 over
``<t>.<raw body>``. The key is HMAC-SHA256 with the pepper as key over the raw secret, which is what
follows the first underscore of ``wh_<prefix>_<secret>``. Whether that key is used as 32 bytes or as
their hex text is not documented, so both are accepted: each needs the secret.

Only the time and the body are signed. So the body alone identifies a delivery; the other headers
are hints.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn
from uuid import UUID

from komos_source.exceptions import ConfigurationError, KomosError
from komos_source.timestamps import parse_timestamp
from komos_source.webhooks.settings import WEBHOOK_MIN_SECRET, WEBHOOK_PEPPER, WEBHOOK_TOLERANCE

Check = Literal["headers", "signature", "timestamp", "content type", "body"]

_TOLERANCE = timedelta(seconds=WEBHOOK_TOLERANCE)
_SIGNATURE = re.compile("[0-9a-fA-F]{64}")
_EVENT = re.compile(r"[a-z0-9._-]{1,100}")
_RUN_EVENTS = "task-run."
_SINGLE_HEADERS = frozenset({"x-komos-signature", "x-komos-event", "content-type"})


class Refusal(KomosError):  # noqa: N818 - a refused delivery is not an error of this program
    """A delivery that failed a check.

    Attributes:
        check: The check that failed.
    """

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(message)
        self.check = check


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery with a valid signature.

    Attributes:
        event: Its type, such as ``task-run.log``. Not signed.
        run_id: The run it is about, in canonical form; empty if its body names none.
        body: The body as received, or redacted: JSON in UTF-8.
        digest: SHA-256 of the body. A delivery that Komos sends again has the same digest, although
            its time and signature may differ.
    """

    event: str
    run_id: str
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The headers of a delivery whose body has not been checked yet.

    Attributes:
        event: The event type.
        time: The signed time, as sent.
        signature: The signature over time and body.
    """

    event: str
    time: str
    signature: bytes


def verify(
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    body: bytes,
    *,
    secrets: Sequence[str],
    pepper: str = WEBHOOK_PEPPER,
    now: datetime | None = None,
    tolerance: timedelta = _TOLERANCE,
) -> Delivery:
    """Verifies one delivery.

    Args:
        headers: All headers; names in any case.
        body: The raw body, byte for byte.
        secrets: The endpoint's secrets, as ``wh_<prefix>_<secret>``; several during a rotation.
        pepper: The organisation's pepper, if it has set one.
        now: The current time, with a time zone; this machine's clock by default.
        tolerance: How far the signed time may differ from `now`, either way.

    Raises:
        Refusal: A check failed; `Refusal.check` names it.
        ConfigurationError: There is no secret, or one that cannot be used.
    """
    keys = signing_keys(secrets, pepper)
    signed = check_headers(headers, now or datetime.now(UTC), tolerance)
    return check_body(signed, body, keys)


def signing_keys(secrets: Sequence[str], pepper: str = WEBHOOK_PEPPER) -> tuple[bytes, ...]:
    """The keys that may sign deliveries: each secret's key as bytes and as hex text.

    Raises:
        ConfigurationError: There is no secret, or one that cannot be used. The message does not
            repeat it.
    """
    if not secrets:
        raise ConfigurationError(NO_SECRET)
    digests = [hmac.digest(pepper.encode(), _raw_secret(each), "sha256") for each in secrets]
    return tuple(key for digest in digests for key in (digest, digest.hex().encode()))


def check_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    now: datetime,
    tolerance: timedelta = _TOLERANCE,
) -> SignedHeaders:
    """Checks everything that can be checked before the body is read.

    Raises:
        Refusal: A header is missing, malformed or repeated, or the signed time is too far off.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    values = _by_name(pairs)
    time, signature = _signature_parts(values.get("x-komos-signature"))
    _check_time(time, now, tolerance)
    content_type = values.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Refusal("content type", "the content type is not application/json")
    event = values.get("x-komos-event", "").strip()
    if not _EVENT.fullmatch(event):
        raise Refusal("headers", "x-komos-event is not 1 to 100 characters of a-z 0-9 . _ -")
    return SignedHeaders(event, time, signature)


def check_body(headers: SignedHeaders, body: bytes, keys: Sequence[bytes]) -> Delivery:
    """Checks the signature over the body, and that the body is JSON.

    Raises:
        Refusal: The signature is not valid, or the body is not JSON.
    """
    signed = headers.time.encode() + b"." + body
    # Every key is tried whatever the others give, so that the duration reveals nothing.
    matches = [
        hmac.compare_digest(hmac.digest(key, signed, "sha256"), headers.signature) for key in keys
    ]
    if not any(matches):
        raise Refusal("signature", "the signature does not match any configured webhook secret")
    run_id = _run_id(_json(body), headers.event)
    return Delivery(headers.event, run_id, body, hashlib.sha256(body).hexdigest())


NO_SECRET = (
    "no webhook secret: set SOURCES__KOMOS__WEBHOOK_SECRET to the endpoint's wh_…, or put "  # noqa: S105 - a message
    "webhook_secret under [sources.komos] in .dlt/secrets.toml (several, separated by commas, "
    "while one replaces another)"
)


def _raw_secret(secret: str) -> bytes:
    raw = secret.strip().partition("_")[2]
    if not raw or not secret.isascii():
        raise ConfigurationError(
            "a webhook secret cannot be used: wh_<prefix>_<secret> is expected, as Komos shows it "
            "(SOURCES__KOMOS__WEBHOOK_SECRET)"
        )
    if len(raw) < WEBHOOK_MIN_SECRET:
        raise ConfigurationError(
            f"a webhook secret is too short: at least {WEBHOOK_MIN_SECRET} characters are expected "
            "after wh_ (SOURCES__KOMOS__WEBHOOK_SECRET)"
        )
    return raw.encode()


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name."""
    values: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in values and key in _SINGLE_HEADERS:
            raise Refusal("headers", f"{key} is there twice")
        values[key] = value
    return values


def _signature_parts(header: str | None) -> tuple[str, bytes]:
    """Time and signature of ``t=…,v1=…``; parts of other names are ignored."""
    if header is None:
        raise Refusal("signature", "x-komos-signature is missing")
    parts: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name in parts:
            raise Refusal("signature", f"x-komos-signature has {name[:10]!r} twice")
        parts[name] = value
    time, signature = parts.get("t", ""), parts.get("v1", "")
    if not time or not time.isascii() or not _SIGNATURE.fullmatch(signature):
        raise Refusal("signature", "x-komos-signature is not t=<ISO 8601>,v1=<64 hex digits>")
    return time, bytes.fromhex(signature)


def _check_time(text: str, now: datetime, tolerance: timedelta) -> None:
    try:
        age = now - parse_timestamp(text)
    except (ValueError, OverflowError) as error:
        raise Refusal("timestamp", "the signed time is not ISO 8601") from error
    if abs(age) > tolerance:
        direction = "behind" if age > timedelta() else "ahead of"
        raise Refusal(
            "timestamp",
            f"the signed time is {abs(age).total_seconds():.0f} s {direction} this machine's "
            f"clock; at most {tolerance.total_seconds():.0f} s are allowed",
        )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise Refusal("body", "the body is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refusal("body", "the body is not JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _run_id(value: Any, event: str) -> str:
    """The run a delivery is about: ``runId`` of entries, ``id`` of a run in an event of a run."""
    if not isinstance(value, dict):
        return ""
    text = value.get("runId") or (value.get("id") if event.startswith(_RUN_EVENTS) else None)
    try:
        run_id = str(UUID(text))
    except (ValueError, TypeError, AttributeError):
        return ""
    return run_id if str(text).lower() == run_id else ""
