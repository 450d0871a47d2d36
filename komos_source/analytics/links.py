"""Links to the pages of runs in Komos."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from komos_source import settings
from komos_source.config import setting


def absolute_link(logs_url: str | None) -> str | None:
    """The link of a run; a relative one is one of the API."""
    if not logs_url:
        return None
    link = urljoin(str(setting("base_url") or settings.BASE_URL), logs_url)
    return link if urlsplit(link).scheme in {"http", "https"} else None
