"""Alerts: what `komos_source.analytics.run_checks` has found, sent once to chat, mail or pagers.

    from komos_source.alerts import notify
    from komos_source.analytics import open_database, run_checks

    database = open_database()
    notify(database, run_checks(database), ["mailto://user:password@mail.example.com?to=…"])

`komos health --notify` does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from komos_source.extras import requires_extra

if TYPE_CHECKING:
    from komos_source.alerts.delivery import Delivery, notify

__all__ = ["Delivery", "notify"]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    with requires_extra("analysis", "alerts"):
        return getattr(import_module(f"{__name__}.delivery"), name)
