"""Warns if a dataset is loaded from an emulator and from the API. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from komos_source.config import is_loopback


def mixed_data(before: str | None, now: str) -> str | None:
    """A warning if the data of an emulator and that of the API would be in one dataset.

    Args:
        before: Base URL of the load before; None if it is not known.
        now: Base URL of this load.
    """
    if before is None or _is_local(before) == _is_local(now):
        return None
    return (
        f"this dataset was loaded from {before} before, and now from {now}: if one of them serves "
        "sample data, load it into another DuckDB file or dataset, because the tables hold both"
    )


def _is_local(base_url: str) -> bool:
    return is_loopback(urlsplit(base_url).hostname or "")
