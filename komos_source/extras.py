"""Imports of libraries that only an extra of the package installs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from komos_source.exceptions import ConfigurationError


@contextlib.contextmanager
def requires_extra(extra: str, what: str) -> Iterator[None]:
    """Reports a missing library of the imports inside.

    Args:
        extra: The extra that installs the library.
        what: What needs it, in the plural.

    Raises:
        ConfigurationError: A library is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the library {error.name} is missing, which {what} need: "
            f'pip install "komos-source[{extra}]"'
        ) from error
