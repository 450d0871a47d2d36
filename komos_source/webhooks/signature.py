"""Is this delivery from Komos? Headers and raw body in, a `Delivery` or a `Refusal` out. No I/O.

What Komos documents: ``x-komos-signature: t=<ISO 8601>,v1=<hex>``, where ``v1`` is HMAC-SHA256
over ``<t>.<raw body>``. Its key is HMAC-SHA256 with the pepper as key over the raw secret, which is
what follows the first underscore of ``wh_<prefix>_<secret>``. Whether that key is used as 32 bytes
or as their hex text is not documented, so both are tried: either needs the secret.

Only time and body are signed. So whatever is decided later goes by the body; the other headers are
kept as hints.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn
from uuid import UUID

from komos_source.exceptions import ConfigurationError, KomosError
from komos_source.settings import WEBHOOK_PEPPER, WEBHOOK_TOLERANCE
from komos_source.timestamps import parse_timestamp

Check = Literal["headers", "signature", "timestamp", "content type", "body"]

_DIGEST = re.compile("[0-9a-fA-F]{64}")
_RUN_EVENTS = "task-run."


class Refusal(KomosError):  # noqa: N818 - a delivery that is refused is no error of this program
    """A delivery that is not to be taken.

    Attributes:
        check: The check that failed.
    """

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(message)
        self.check = check


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery whose signature holds.

    Attributes:
        event: Its type, such as ``task-run.log``; any other is a delivery too.
        run_id: The run it is about, in canonical form; empty if its body names none.
        body: The body as it came: JSON, in UTF-8.
        digest: Names the content: the same delivery sent again has the same. A repeated delivery
            may carry a new time and signature, so these are no part of it.
    """

    event: str
    run_id: str
    body: bytes
    digest: str


class Verifier:
    """Checks deliveries against the secrets in use.

    Args:
        secrets: Of the endpoints; several while one replaces another.
        pepper: The organisation's own, if it has set one.
        tolerance: How far the signed time may lie from ours, either way.

    Raises:
        ConfigurationError: No secret, or one that is none. The message does not repeat it.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        pepper: str = WEBHOOK_PEPPER,
        tolerance: timedelta = timedelta(seconds=WEBHOOK_TOLERANCE),
    ) -> None:
        if not secrets:
            raise ConfigurationError(NO_SECRET)
        self._keys = [key for secret in secrets for key in _signing_keys(secret, pepper)]
        self._tolerance = tolerance

    def verify(self, headers: Iterable[tuple[str, str]], body: bytes, now: datetime) -> Delivery:
        """Checks one delivery.

        Args:
            headers: All headers as they came; names in any case.
            body: The body, byte for byte.
            now: The time here, aware.

        Raises:
            Refusal: It is not to be taken; says which check failed.
        """
        given = _single(headers)
        time, signature = _parts(given.get("x-komos-signature"))
        signed = time.encode() + b"." + body
        # Every key is tried whatever the others say, so that the time taken tells nothing.
        matches = [
            hmac.compare_digest(hmac.digest(key, signed, "sha256"), signature) for key in self._keys
        ]
        if not any(matches):
            raise Refusal("signature", "the signature fits none of the secrets")
        self._check_time(time, now)
        content_type = given.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise Refusal("content type", "the content type is not application/json")
        event = given.get("x-komos-event", "").strip()
        if not event:
            raise Refusal("headers", "x-komos-event is missing")
        return Delivery(
            event=event,
            run_id=_run_id(_json(body), event),
            body=body,
            digest=hashlib.sha256(event.encode() + b"\n" + body).hexdigest(),
        )

    def _check_time(self, text: str, now: datetime) -> None:
        try:
            age = now - parse_timestamp(text)
        except (ValueError, OverflowError) as error:
            raise Refusal("timestamp", "the signed time is not ISO 8601") from error
        if abs(age) > self._tolerance:
            raise Refusal(
                "timestamp",
                f"signed {age.total_seconds():.0f} s ago, more than "
                f"{self._tolerance.total_seconds():.0f} s from the time here",
            )


NO_SECRET = (
    "no webhook secret: set SOURCES__KOMOS__WEBHOOK_SECRET to the endpoint's wh_…, or put "  # noqa: S105 - a message
    "webhook_secret under [sources.komos] in .dlt/secrets.toml (several, separated by commas, "
    "while one replaces another)"
)


def _signing_keys(secret: str, pepper: str) -> tuple[bytes, bytes]:
    """The key as bytes and as hex text, since it is not documented which is meant."""
    raw = secret.strip().partition("_")[2]
    if not raw or not secret.isascii():
        raise ConfigurationError(
            "a webhook secret cannot be used: wh_<prefix>_<secret> is expected, as Komos shows it "
            "(SOURCES__KOMOS__WEBHOOK_SECRET)"
        )
    key = hmac.digest(pepper.encode(), raw.encode(), "sha256")
    return key, key.hex().encode()


def _single(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name; refuses one of ours that is there twice."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in found and key in {"x-komos-signature", "x-komos-event", "content-type"}:
            raise Refusal("headers", f"{key} is there twice")
        found[key] = value
    return found


def _parts(header: str | None) -> tuple[str, bytes]:
    """Time, as it was signed, and signature of ``t=…,v1=…``; parts of other names are let be."""
    if header is None:
        raise Refusal("signature", "x-komos-signature is missing")
    parts: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name in parts:
            raise Refusal("signature", f"x-komos-signature has {name[:10]!r} twice")
        parts[name] = value
    time, signature = parts.get("t", ""), parts.get("v1", "")
    if not time or not time.isascii() or not _DIGEST.fullmatch(signature):
        raise Refusal("signature", "x-komos-signature is not t=<ISO 8601>,v1=<64 hex digits>")
    return time, bytes.fromhex(signature)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
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
