"""What only the extra ``webhooks`` brings, and the error for whoever has not installed it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from komos_source.exceptions import ConfigurationError

if TYPE_CHECKING:
    from komos_source.webhooks.spool import Spool


@contextlib.contextmanager
def import_extra() -> Iterator[None]:
    """Imports inside that fail say what to install.

    Raises:
        ConfigurationError: A library of the extra ``webhooks`` is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"webhooks need the library {error.name}: pip install 'komos-source[webhooks]'"
        ) from error


def open_spool(url: str) -> Spool:
    """Opens a spool; its library is imported only now.

    Raises:
        ConfigurationError: The URL cannot be used, or a library is missing.
        SpoolError: The database cannot be reached.
    """
    with import_extra():
        from komos_source.webhooks.spool import Spool
    return Spool(url)
