"""Opens a spool without importing SQLAlchemy before one is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from komos_source.extras import requires_extra
from komos_source.webhooks.settings import SPOOL_RESERVE

if TYPE_CHECKING:
    from komos_source.redaction.redactor import Redactor
    from komos_source.webhooks.spool import Spool


def open_spool(
    url: str, *, reserve: int = SPOOL_RESERVE, redactor: Redactor | None = None
) -> Spool:
    """Opens a spool; SQLAlchemy is imported only here. Arguments are those of `Spool`.

    Raises:
        ConfigurationError: The URL cannot be used, or a library is missing.
        SpoolError: The database cannot be reached.
    """
    with requires_extra("webhooks", "webhooks"):
        from komos_source.webhooks.spool import Spool
    return Spool(url, reserve=reserve, redactor=redactor)
