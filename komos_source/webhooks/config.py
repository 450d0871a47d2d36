"""The webhook settings, from dlt's configuration: environment, config.toml, secrets.toml."""

from __future__ import annotations

from pathlib import Path

from komos_source.config import Setting, setting
from komos_source.exceptions import ConfigurationError
from komos_source.webhooks.settings import SPOOL_MAX_BYTES, SPOOL_RESERVE, SPOOL_URL, WEBHOOK_PEPPER

WEBHOOK_SECRETS = Setting(
    "webhook_secret",
    "The secret of the webhook endpoint, as Komos shows it; several, separated by commas, while "
    "one replaces another.",
)
PEPPER = Setting(
    "webhook_pepper", "The organisation's own pepper, if it has set one.", WEBHOOK_PEPPER
)
SPOOL = Setting("spool", "The spool of deliveries, as an SQLAlchemy URL.", SPOOL_URL)
RESERVE = Setting(
    "spool_reserve",
    "Bytes of disk that a SQLite spool leaves free for the load that drains it; below, the "
    "receiver answers 503.",
    SPOOL_RESERVE,
)
MAX_BYTES = Setting(
    "spool_max_bytes", "Bytes of deliveries that may wait in the spool.", SPOOL_MAX_BYTES
)


def webhook_secrets() -> list[str]:
    """The configured secrets, without quotes and blanks around them; empty if there is none."""
    value = WEBHOOK_SECRETS.value() or ""
    secrets = value.split(",") if isinstance(value, str) else value  # TOML may hold a list
    stripped = (secret.strip().strip("\"'").strip() for secret in secrets)
    return [secret for secret in stripped if secret]


def webhook_pepper() -> str:
    """The pepper that secrets are combined with."""
    return str(PEPPER.value())


def spool_url() -> str:
    """The URL of the spool; the default is a file in the working directory."""
    return str(SPOOL.value())


def spool_in_use() -> str | None:
    """The URL of the spool if one is configured or the default file exists."""
    if setting(SPOOL.name) or Path(SPOOL_URL.removeprefix("sqlite:///")).exists():
        return spool_url()
    return None


def spool_reserve() -> int:
    """Bytes of disk that the spool leaves free.

    Raises:
        ConfigurationError: It is not a number of bytes.
    """
    return _bytes(RESERVE)


def spool_max_bytes() -> int:
    """Bytes of deliveries that may wait in the spool.

    Raises:
        ConfigurationError: It is not a number of bytes.
    """
    return _bytes(MAX_BYTES)


def _bytes(limit: Setting) -> int:
    value = str(limit.value())
    if not (value.isascii() and value.isdigit()):
        raise ConfigurationError(
            f"SOURCES__KOMOS__{limit.name.upper()} is {value!r}: give a number of bytes such as "
            f"{limit.default}"
        )
    return int(value)
