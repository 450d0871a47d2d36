"""The webhooks' settings, from dlt's configuration: environment, config.toml, secrets.toml."""

from __future__ import annotations

from pathlib import Path

from komos_source.config import setting
from komos_source.settings import SPOOL_URL, WEBHOOK_PEPPER
from komos_source.webhooks.signature import Verifier


def verifier() -> Verifier:
    """Checks deliveries by the configured secrets and pepper.

    Raises:
        ConfigurationError: There is no secret, or one that cannot be used.
    """
    secrets = setting("webhook_secret") or ""
    each = secrets.split(",") if isinstance(secrets, str) else secrets  # TOML may hold a list
    pepper = setting("webhook_pepper") or WEBHOOK_PEPPER
    return Verifier([secret for secret in each if secret.strip()], pepper=str(pepper))


def spool_url() -> str:
    """The spool's URL; the default is a file in the working directory."""
    return str(setting("spool") or SPOOL_URL)


def spool_in_use() -> str | None:
    """The spool's URL where there is one: configured, or the default file if a receiver made it."""
    if setting("spool") or Path(SPOOL_URL.removeprefix("sqlite:///")).exists():
        return spool_url()
    return None
