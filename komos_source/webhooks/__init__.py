"""Komos' webhooks: verified, stored durably, and drained by loads.

Needs the extra ``webhooks`` (``pip install "komos-source[webhooks]"``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from komos_source.extras import requires_extra

if TYPE_CHECKING:
    from komos_source.webhooks.receiver import create_app
    from komos_source.webhooks.signature import verify
    from komos_source.webhooks.spool import Spool

__all__ = ["Spool", "create_app", "verify"]

_MODULES = {"Spool": "spool", "create_app": "receiver", "verify": "signature"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: loads need none of them without a spool."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with requires_extra("webhooks", "webhooks"):
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
