"""``komos notebook``: a notebook as an app on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NoReturn

import click

from komos_source.cli.options import EXIT_CODES, PORT, read_options
from komos_source.exceptions import ConfigurationError
from komos_source.extras import install_command

NAMES = ("node_health", "run_explorer")


@click.command(epilog=EXIT_CODES)
@click.argument("name", type=click.Choice(NAMES), default=NAMES[0])
@click.option(
    "--port",
    type=PORT,
    default=0,
    show_default=True,
    metavar="PORT",
    help="Port on this machine; 0 is any free one.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    show_default=True,
    help="Open a browser, or only print the address with its token.",
)
@click.option("--edit", is_flag=True, help="Open the code of the notebook for editing.")
@read_options
def notebook(name: str, port: int, browser: bool, edit: bool, **where: Any) -> None:
    """Open a notebook as an app: NAME is node_health or run_explorer.

    The address that is printed holds a token. Without it the notebook cannot be read: neither by
    other users of this machine nor web pages that are open in the browser.

    \b
    Examples:
      komos notebook
      komos notebook run_explorer --database komos-demo/komos-demo.duckdb
    """
    if not (find_spec("marimo") and find_spec("altair")):
        raise ConfigurationError(
            f"the notebooks need marimo and altair: {install_command('notebooks')}"
        )
    try:
        gettempdir()  # marimo would fail with a traceback
    except OSError as error:
        raise ConfigurationError(
            f"temporary files cannot be written: {error.strerror}. Set TMPDIR to a directory that "
            "this user can write."
        ) from error
    from komos_source.settings_files import configuration_providers

    configuration_providers()  # an error would be shown in the page only
    _replace_process(_marimo_command(name, port=port, browser=browser, edit=edit, where=where))


def notebook_file(name: str) -> Path:
    """The file of a notebook: in the installed package, or else in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "notebooks" / f"{name}.py"
    return installed if installed.exists() else package.parent / "notebooks" / f"{name}.py"


def _marimo_command(
    name: str, *, port: int, browser: bool, edit: bool, where: Mapping[str, Any]
) -> list[str]:
    command = [sys.executable, "-m", "marimo", "edit" if edit else "run"]
    # marimo checks neither Origin nor Host: without a token any web page could read the notebook.
    command += [str(notebook_file(name)), "--no-sandbox", "--token"]
    command += ["--port", str(port)] if port else []
    command += [] if browser else ["--headless"]
    options = {key.replace("_", "-"): str(value) for key, value in where.items() if value}
    return [*command, "--", *(word for key in options for word in (f"--{key}", options[key]))]


def _replace_process(command: list[str]) -> NoReturn:
    """Runs marimo in place of this process, so that it receives the signals."""
    os.environ["MARIMO_SKIP_UPDATE_CHECK"] = "1"  # it would ask a package registry
    # marimo's token is Python's hash of the notebook's text: with a fixed seed it could be guessed.
    os.environ["PYTHONHASHSEED"] = "random"
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell
