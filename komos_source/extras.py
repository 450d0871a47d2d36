"""Imports of libraries that only an extra of the package installs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import urlsplit
from urllib.request import url2pathname

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
            f"the library {error.name} is missing, which {what} need: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra: from the checkout if pip installed the package from one.

    pip records a directory as https://packaging.python.org/specifications/direct-url/ describes.
    """
    with contextlib.suppress(PackageNotFoundError, ValueError, AttributeError):
        origin = json.loads(distribution("komos-source").read_text("direct_url.json") or "{}")
        if (url := urlsplit(origin.get("url", ""))).scheme == "file" and "dir_info" in origin:
            editable = "-e " if origin["dir_info"].get("editable") else ""
            return f'pip install {editable}"{url2pathname(url.path)}[{extra}]"'
    return f'pip install "komos-source[{extra}]"'
