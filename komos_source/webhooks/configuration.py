"""The webhooks' settings, from dlt's configuration: environment, config.toml, secrets.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt

from komos_source.settings import SOURCE_NAME, SPOOL_URL, WEBHOOK_PEPPER
from komos_source.webhooks.signature import Verifier


def verifier() -> Verifier:
    """Checks deliveries by the configured secrets and pepper.

    Raises:
        ConfigurationError: There is no secret, or one that cannot be used.
    """
    secrets = _setting("webhook_secret") or ""
    each = secrets.split(",") if isinstance(secrets, str) else secrets  # TOML may hold a list
    pepper = _setting("webhook_pepper") or WEBHOOK_PEPPER
    return Verifier([secret for secret in each if secret.strip()], pepper=str(pepper))


def spool_url() -> str:
    """The spool's URL; the default is a file in the working directory."""
    return str(_setting("spool") or SPOOL_URL)


def spool_in_use() -> str | None:
    """The spool's URL where there is one: configured, or the default file if a receiver made it."""
    if _setting("spool") or Path(SPOOL_URL.removeprefix("sqlite:///")).exists():
        return spool_url()
    return None


def _setting(name: str) -> Any:
    # `dlt.config` looks into config.toml and secrets.toml, `dlt.secrets` only into the latter.
    return dlt.config.get(f"sources.{SOURCE_NAME}.{name}")
