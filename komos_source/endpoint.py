"""Where requests go and with which key: refused here if they could not arrive, or not safely."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from komos_source import settings
from komos_source.exceptions import ConfigurationError

NO_API_KEY = (
    f"no API key: set {settings.API_KEY_VARIABLE} (or {settings.LAST_RESORT_API_KEY_VARIABLE}), or "
    'put api_key = "sk_live_…" under [sources.komos] in .dlt/secrets.toml'
)
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, where plain http harms nobody."""
    return bool(_LOOPBACK.fullmatch(host))


def check_base_url(base_url: str) -> str:
    """Returns the URL's host; refuses a URL that would not reach Komos, or not safely.

    Raises:
        ConfigurationError: Not a URL, plain http to another machine, or more than scheme and host.
    """
    where = "Set SOURCES__KOMOS__BASE_URL to scheme and host, such as https://api.komos.ai."
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"base_url {base_url!r} is not a URL ({error}). {where}"
        ) from error
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"base_url {base_url!r} is not an http(s) URL. {where}")
    if parts.username or parts.password or parts.query or parts.path.strip("/"):
        raise ConfigurationError(f"base_url has more than scheme and host. {where}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url {base_url!r} would send the API key unencrypted: use https. "
            "Plain http is for this machine only (localhost)."
        )
    return host


def check_api_key(api_key: str) -> str:
    """Returns the key without surrounding white space.

    Raises:
        ConfigurationError: Empty, or with characters that no header can carry. The message does
            not repeat the key.
    """
    key = api_key.strip()
    if not key:
        raise ConfigurationError(NO_API_KEY)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError(
            "the API key has characters that no key has (a line break, a blank, a "
            f"quotation mark pasted along?): look at {settings.API_KEY_VARIABLE} or "
            ".dlt/secrets.toml ([sources.komos] api_key)."
        )
    return key
