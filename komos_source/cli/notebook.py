"""What the notebooks share: the place they read from, their colours, and how they are opened."""

from __future__ import annotations

import contextlib
import html
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from komos_source.analytics.database import Database, open_database
from komos_source.exceptions import ConfigurationError, KomosError

NAMES = ("node_health", "run_explorer")
COLOURS = {"error": "#bb5566", "warning": "#ddaa33", "info": "#9aa5b1", "accent": "#004488"}
"""Paul Tol's "high contrast" scheme, which colour-blind people and grey printers tell apart
(https://personal.sron.nl/~pault/), and a grey for what is of no concern."""

_LONGEST_CHOICE = 40
LOOK: dict[str, Any] = {"background": "transparent", "axis": {"gridOpacity": 0.25}}
"""For ``configure`` of Altair's charts: the page's ground shows through, light or dark."""


def open_from(mo: Any) -> Database:
    """The history that the notebook's arguments name: those of `open_database`, with dashes.

    Args:
        mo: The module marimo, which is no dependency of ours. In Jupyter it has no arguments.

    Raises:
        KomosError: See `open_database`.
    """
    arguments = mo.cli_args() if mo.app_meta().mode in {"run", "edit", "script"} else {}
    return open_database(**{key.replace("-", "_"): value for key, value in arguments.items()})


@contextlib.contextmanager
def show_errors(mo: Any) -> Iterator[None]:
    """Shows what cannot be done, and what to do, in place of a traceback; a script fails with it.

    Args:
        mo: The module marimo.
    """
    try:
        yield
    except KomosError as error:
        if mo.app_meta().mode not in {"run", "edit"}:
            raise
        mo.stop(True, mo.callout(str(error), kind="warn"))


def task_choices(names: Mapping[str, str]) -> dict[str, str]:
    """What a drop-down offers: ids by name, all tasks first; names that are not unique say more."""
    choices = {"all tasks": ""}
    for task_id, name in sorted(names.items(), key=lambda item: item[1]):
        label = name if len(name) <= _LONGEST_CHOICE else f"{name[:_LONGEST_CHOICE]}…"
        choices[f"{label} ({task_id[:8]})" if label in choices else label] = task_id
    return choices


def heading(text: str) -> str:
    """A heading for ``mo.md``: names and messages in it are text, whatever marks they hold."""
    return f"<h2>{html.escape(text)}</h2>"


def columns(*parts: Any) -> str:
    """Parts of a notebook side by side as HTML, one below the other where there is no room."""
    cells = "".join(f'<div style="min-width:0">{part.text}</div>' for part in parts)
    grid = (
        "display:grid;gap:2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr))"
    )
    return f'<div style="{grid}">{cells}</div>'


def notebook_file(name: str) -> Path:
    """The file of a notebook: beside this one where installed, in the checkout otherwise."""
    here = Path(__file__).parents[1]
    installed = here / "notebooks" / f"{name}.py"
    return installed if installed.exists() else here.parent / "notebooks" / f"{name}.py"


def serve(name: str, *, port: int, browser: bool, edit: bool, where: Mapping[str, Any]) -> NoReturn:
    """Opens a notebook as an app; marimo takes the place of this process, signals and all.

    Args:
        name: One of `NAMES`.
        port: On this machine; marimo's choice if 0.
        browser: Whether to open a browser.
        edit: Whether to show the code, to be changed.
        where: Options of `komos_source.analytics.database.open_database`.

    Raises:
        ConfigurationError: The extra ``notebooks`` is not installed.
    """
    if not (find_spec("marimo") and find_spec("altair")):
        raise ConfigurationError(
            'the notebooks need marimo and altair: pip install "komos-source[notebooks]"'
        )
    command = [sys.executable, "-m", "marimo", "edit" if edit else "run"]
    command += [str(notebook_file(name)), "--no-sandbox"]
    command += [] if edit else ["--no-token"]  # only this machine can reach it, and only to look
    command += ["--port", str(port)] if port else []
    command += [] if browser else ["--headless"]
    options = {key.replace("_", "-"): str(value) for key, value in where.items() if value}
    command += ["--", *(word for key, value in options.items() for word in (f"--{key}", value))]
    os.environ["MARIMO_SKIP_UPDATE_CHECK"] = "1"  # it would ask a registry
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell
