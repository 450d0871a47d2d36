"""The webhook settings, from dlt's configuration: environment, config.toml, secrets.toml."""

from __future__ import annotations

from pathlib import Path

from komos_source.config import setting
from komos_source.exceptions import ConfigurationError
from komos_source.webhooks.settings import SPOOL_MAX_BYTES, SPOOL_RESERVE, SPOOL_URL, WEBHOOK_PEPPER


def webhook_secrets() -> list[str]:
    """The configured secrets, without quotes and blanks around them; empty if there is none."""
    value = setting("webhook_secret") or ""
    secrets = value.split(",") if isinstance(value, str) else value  # TOML may hold a list
    stripped = (secret.strip().strip("\"'").strip() for secret in secrets)
    return [secret for secret in stripped if secret]


def webhook_pepper() -> str:
    """The pepper that secrets are combined with."""
    return str(setting("webhook_pepper") or WEBHOOK_PEPPER)


def spool_url() -> str:
    """The URL of the spool; the default is a file in the working directory."""
    return str(setting("spool") or SPOOL_URL)


def spool_in_use() -> str | None:
    """The URL of the spool if one is configured or the default file exists."""
    if setting("spool") or Path(SPOOL_URL.removeprefix("sqlite:///")).exists():
        return spool_url()
    return None


def spool_reserve() -> int:
    """Bytes of disk that the spool leaves free.

    Raises:
        ConfigurationError: It is not a number of bytes.
    """
    return _bytes("spool_reserve", SPOOL_RESERVE)


def spool_max_bytes() -> int:
    """Bytes of deliveries that may wait in the spool.

    Raises:
        ConfigurationError: It is not a number of bytes.
    """
    return _bytes("spool_max_bytes", SPOOL_MAX_BYTES)


def _bytes(name: str, default: int) -> int:
    configured = setting(name)
    value = str(default if configured is None else configured)
    if not (value.isascii() and value.isdigit()):
        raise ConfigurationError(
            f"SOURCES__KOMOS__{name.upper()} is {value!r}: give a number of bytes such as {default}"
        )
    return int(value)
