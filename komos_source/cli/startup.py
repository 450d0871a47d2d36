"""The ``komos`` process itself: how it speaks, is quick, and ends; nothing for importers."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import click

from komos_source import settings, structured_logging


def prepare() -> None:
    """Imports what loading needs, no more, and settles how Python and Arrow work in this process.

    It is going to load, and to end: some tenths of a second are much of that.
    """
    gc.disable()  # what is imported stays; to look through it again and again is an eighth of this
    # NumPy's threads for linear algebra, of which there is none here, start by waiting busily.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import pyarrow as pa

    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())  # a fifth less memory and time than mimalloc
    with _hidden("pandas"):
        pa.scalar(0)  # pyarrow looks for pandas once, at its first conversion
    with _hidden("pygments", "rich"):  # for a command line that httpx brings
        import_module("httpx")
    import httpcore

    # In pieces of 64 KB, as by default, all that has arrived is copied again for each of them.
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = 256 * 2**10
    with _hidden("sqlalchemy"):  # to take an address apart; dlt can do that itself
        import_module("dlt.common.libs.sql_alchemy_compat")
    _Postponed("dlt.sources.helpers.requests")  # a client that dlt sets up, and we do not use
    import_module("komos_source.loading.load")  # dlt, mostly
    _keep_memory()
    gc.freeze()
    gc.set_threshold(100_000)  # the rest of a load makes much that goes, and little garbage
    gc.enable()


def leave(code: int) -> NoReturn:
    """Ends the process without taking it apart, which takes a tenth of a small load's time.

    All files and databases have been closed by now; locks are the operating system's to free.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if "opentelemetry.sdk" in sys.modules:
        sys.exit(code)  # its exporters send what is left when the interpreter ends
    os._exit(code)


def _keep_memory() -> None:
    """Has glibc's malloc use the memory of one body for the next, not ask for it anew.

    That is mallopt(3); where there is another C library nothing happens.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, settings.BUFFERED_BYTES)
        libc.mallopt(m_trim_threshold, settings.BUFFERED_BYTES)


class _Postponed(ModuleType):
    """A module of which nothing is used, as a rule, but ``init``: imported if something is."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self._settings: tuple[Any, ...] = ()
        sys.modules[name] = self

    def init(self, *settings: Any) -> None:
        self._settings = settings

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # asked by the import system
            raise AttributeError(attribute)
        if sys.modules[self.__name__] is self:
            del sys.modules[self.__name__]
            import_module(self.__name__).init(*self._settings)
        return getattr(sys.modules[self.__name__], attribute)


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """What looks for these packages meanwhile goes without, as it would if they were missing."""
    hider = _Hider(names)
    sys.meta_path.insert(0, hider)
    try:
        yield
    finally:
        sys.meta_path.remove(hider)


class _Hider:  # importlib.abc, for a base class, imports importlib.resources (0.01 s)
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError("hidden for the moment", name=fullname)


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong, and ends with an exit code."""
    complain(message)
    sys.exit(code)


def complain(message: str) -> None:
    """Says what is wrong: to a person, or as an event where events are logged."""
    if structured_logging.going_to_stderr():
        structured_logging.emit(logging.ERROR, message)
    else:
        click.echo(f"komos: {message}", err=True)
