"""Imports of libraries that only the extra ``webhooks`` installs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from komos_source.exceptions import ConfigurationError
from komos_source.webhooks.settings import SPOOL_RESERVE

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool


@contextlib.contextmanager
def import_extra() -> Iterator[None]:
    """Reports a missing library of the imports inside.

    Raises:
        ConfigurationError: A library of the extra ``webhooks`` is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"webhooks need the library {error.name}: pip install 'komos-source[webhooks]'"
        ) from error


def open_spool(url: str, *, reserve: int = SPOOL_RESERVE) -> Spool:
    """Opens a spool; SQLAlchemy is imported only here.

    Raises:
        ConfigurationError: The URL cannot be used, or a library is missing.
        SpoolError: The database cannot be reached.
    """
    with import_extra():
        from komos_source.webhooks.spool import Spool
    return Spool(url, reserve=reserve)
