"""Targets of alerts: URLs of Apprise, which hold secrets and are never shown in full."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from komos_source.config import Setting
from komos_source.exceptions import ConfigurationError, UsageError
from komos_source.extras import requires_extra

NOTIFY = Setting(
    "notify",
    "Targets of alerts (docs/alerts.md): URLs of Apprise, a list in `secrets.toml` or a text with "
    "blanks between them.",
)
_HOST_IS_NO_SECRET = frozenset(
    {"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms", "http", "https"}
)
"""Schemes whose host is a host. In others a token stands there, as in slack://TokenA/TokenB."""

_PASSWORD_IN_QUERY = re.compile(r"(?i)([?&](?:pass|pwd|token|secret|key)\w*=)[^&]*")


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where alerts are sent.

    Attributes:
        url: The URL, with its secrets.
        shown: What is shown and stored: the scheme, and the host if that cannot be a token.
        id: Tells targets apart, after the scheme and the host; stays the same when a password
            changes.
    """

    url: str
    shown: str
    id: str

    def send(self, title: str, body: str) -> bool:
        """Sends a message.

        Returns:
            Whether the target has accepted it.
        """
        return _send(self.url, title, body)

    def __repr__(self) -> str:
        """Without the URL."""
        return f"Target({self.shown})"


def configured_targets() -> list[str]:
    """The URLs of ``SOURCES__KOMOS__NOTIFY``: a list, or a text with blanks between them.

    Raises:
        ConfigurationError: The setting is neither.
    """
    value: Any = NOTIFY.value()
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(url, str) for url in value):
        return list(value)
    raise ConfigurationError(
        f"{NOTIFY.variable} must be a list of URLs of Apprise, or a text with blanks between them"
    )


def parse_targets(urls: Iterable[str]) -> list[Target]:
    """Checks URLs; each target is there once.

    Raises:
        UsageError: Apprise does not know a URL; the message does not repeat it.
        ConfigurationError: Apprise is not installed.
    """
    targets = {}
    for url in urls:
        target = _parse(url)
        if _service(url) is None:
            raise UsageError(
                f"{target.shown} is not a target that Apprise knows, or lacks a part: see "
                "https://appriseit.com/services/ for the URL of each service (an HTTP endpoint is "
                "json://host)"
            )
        targets[target.id] = target
    return list(targets.values())


def _parse(url: str) -> Target:
    try:
        parts = urlsplit(url)
        host, password = parts.hostname or "", parts.password or ""
    except ValueError:
        parts, host, password = urlsplit(""), "", ""
    scheme = parts.scheme or "the URL"
    shown = scheme + (f"://{host}" if scheme in _HOST_IS_NO_SECRET and host else "://…")
    constant = url.replace(f":{password}@", "@", 1) if password else url
    constant = _PASSWORD_IN_QUERY.sub(r"\1", constant)
    digest = hashlib.sha256(constant.encode()).hexdigest()[:12]
    return Target(url, shown, f"{shown} {digest}")


def _apprise() -> Any:
    with requires_extra("notify", "alerts"):
        import apprise
    # What it logs may hold parts of a URL; whether a message was accepted is reported by komos.
    logging.getLogger("apprise").disabled = True
    return apprise


def _service(url: str) -> Any:
    """The service of Apprise behind a URL; None if there is none."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="komos",
        app_desc="komos health",
        app_url="",
        image_url_mask="",  # a picture that readers would request from a server of others
        image_url_logo="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    try:
        return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    except TypeError:
        return None


def _send(url: str, title: str, body: str) -> bool:
    apprise, service = _apprise(), _service(url)
    sender = apprise.Apprise(service, asset=service.asset)
    connections = logging.getLogger("urllib3")  # its debug messages have paths, which may be tokens
    level = connections.level
    connections.setLevel(logging.CRITICAL)
    try:
        return bool(sender.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
    finally:
        connections.setLevel(level)
