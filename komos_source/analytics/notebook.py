"""What the notebooks share: where they read, how they show tables and errors, colours."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from komos_source.analytics.database import Database, open_database
from komos_source.config import time_zone as default_time_zone
from komos_source.exceptions import KomosError
from komos_source.text import printable

__all__ = [
    "CHART_STYLE",
    "COLOURS",
    "columns",
    "default_time_zone",
    "heading",
    "open_from_arguments",
    "paragraph",
    "show_errors",
    "table",
    "task_choices",
]

COLOURS = {"error": "#bb5566", "warning": "#ddaa33", "info": "#9aa5b1", "accent": "#004488"}
"""Paul Tol's "high contrast" scheme, which is readable for colour-blind people and in grey
(https://personal.sron.nl/~pault/), and a grey for the level info."""
CHART_STYLE: dict[str, Any] = {"background": "transparent", "axis": {"gridOpacity": 0.25}}
"""For ``configure`` of Altair's charts: transparent, for light and dark pages."""

_LONGEST_CHOICE = 40
_IMAGE = re.compile(r"(https?:|data:)(?=//|image/)", re.IGNORECASE)
"""Where the address of an image may begin."""
_WORD_JOINER = "\u2060"


def open_from_arguments(mo: Any) -> Database:
    """Opens the database that the notebook's arguments name: those of `open_database`, with dashes.

    Args:
        mo: The module marimo, which this package does not depend on. Jupyter passes no arguments.

    Raises:
        KomosError: See `open_database`.
    """
    arguments = mo.cli_args() if mo.app_meta().mode in {"run", "edit", "script"} else {}
    return open_database(**{key.replace("-", "_"): value for key, value in arguments.items()})


@contextlib.contextmanager
def show_errors(mo: Any) -> Iterator[None]:
    """Shows a `KomosError` as a message instead of a traceback; in a script it is raised.

    Args:
        mo: The module marimo.
    """
    try:
        yield
    except KomosError as error:
        if mo.app_meta().mode not in {"run", "edit"}:
            raise
        mo.stop(True, mo.callout(printable(str(error)), kind="warn"))


def table(mo: Any, rows: pd.DataFrame, **options: Any) -> Any:
    """A marimo table of rows whose text is shown as text.

    marimo shows the address of an image as that image: a log message could make the reader's
    browser fetch it, and so report to the author of the message. An invisible character after the
    scheme prevents that. Control characters are shown as escapes.

    Args:
        mo: The module marimo.
        rows: The rows; missing text is shown empty.
        options: Further arguments of ``mo.ui.table``.
    """
    shown = {
        str(name): [_plain(value) for value in column]
        for name, column in rows.items()
        if pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)
    }
    return mo.ui.table(rows.assign(**shown), **{"show_column_summaries": False} | options)


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return "" if value is None or value is pd.NA or value != value else value  # noqa: PLR0124 - NaN
    lines = "\n".join(map(printable, value.splitlines()))
    return _IMAGE.sub(rf"\1{_WORD_JOINER}", lines)


def task_choices(names: Mapping[str, str]) -> dict[str, str]:
    """Choices for a drop-down: task ids by name, all tasks first; equal names get an id."""
    choices = {"all tasks": ""}
    for task_id, name in sorted(names.items(), key=lambda item: item[1]):
        label = name if len(name) <= _LONGEST_CHOICE else f"{name[:_LONGEST_CHOICE]}…"
        choices[f"{label} ({task_id[:8]})" if label in choices else label] = task_id
    return choices


def heading(text: str) -> str:
    """A heading for ``mo.md``, in which names and messages are plain text."""
    return f"<h2>{html.escape(printable(text))}</h2>"


def paragraph(text: str) -> str:
    """A paragraph for ``mo.md``, likewise."""
    return f"<p>{html.escape(printable(text))}</p>"


def columns(*parts: Any) -> str:
    """HTML that shows parts of a notebook side by side, or one below the other on small screens."""
    cells = "".join(f'<div style="min-width:0">{part.text}</div>' for part in parts)
    grid = (
        "display:grid;gap:2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr))"
    )
    return f'<div style="{grid}">{cells}</div>'
