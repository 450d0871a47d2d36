"""The ``komos`` process itself: how it speaks, is quick, and ends; nothing for importers."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import NoReturn

import click

from komos_source import logs


def prepare() -> None:
    """Settles how Python and Arrow work in this process: it is going to load, and to end.

    To be called before what loads is imported.
    """
    # Imports make 150,000 objects that stay. To go through them again and again in search of
    # garbage takes a tenth of a small load's time.
    gc.set_threshold(100_000)
    import pyarrow as pa

    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())  # a fifth less memory and time than mimalloc
    with _without_pandas():
        # pyarrow looks for pandas once, at its first conversion. Loading has no use for it, and to
        # import it takes a tenth of a small load's time.
        pa.scalar(0)


def leave(code: int) -> NoReturn:
    """Ends the process without taking it apart, which takes a tenth of a small load's time.

    All files and databases have been closed by now; locks are the operating system's to free.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if "opentelemetry.sdk" in sys.modules:
        sys.exit(code)  # its exporters send what is left when the interpreter ends
    os._exit(code)


@contextmanager
def _without_pandas() -> Iterator[None]:
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("hidden for the moment", name=fullname)


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong, and ends with an exit code."""
    complain(message)
    sys.exit(code)


def complain(message: str) -> None:
    """Says what is wrong: to a person, or as an event where events are logged."""
    if logs.going_to_stderr():
        logs.emit(logging.ERROR, message)
    else:
        click.echo(f"komos: {message}", err=True)
