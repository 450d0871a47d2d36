"""The error for whoever uses webhooks without having installed what they need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from komos_source.exceptions import ConfigurationError


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
