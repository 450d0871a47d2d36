"""Reads config.toml and secrets.toml by way of dlt, with messages that name file and line."""

from __future__ import annotations

import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import tomlkit
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider, EnvironProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.run_context import RunContext
from dlt.common.utils import update_dict_nested

from komos_source.exceptions import ConfigurationError


class _RunContext(RunContext):
    """dlt's default context; its settings files may begin with a byte order mark."""

    def initial_providers(self) -> list[ConfigProvider]:
        """The providers that dlt has by default."""
        return [
            EnvironProvider(),
            self._provider("secrets.toml", supports_secrets=True),
            self._provider("config.toml", supports_secrets=False),
        ]

    def _provider(self, name: str, *, supports_secrets: bool) -> ConfigProvider:
        files = [Path(directory, name) for directory in (self.global_dir, self.settings_dir)]

        def load() -> dict[str, Any]:
            values: dict[str, Any] = {}
            for file in filter(Path.is_file, files):
                update_dict_nested(values, tomlkit.parse(file.read_text("utf-8-sig")).unwrap())
            return values

        return CustomLoaderDocProvider(name, load, supports_secrets, [*map(str, files)])


def configuration_providers() -> list[ConfigProvider]:
    """The configuration providers of dlt; the first call reads config.toml and secrets.toml.

    Raises:
        ConfigurationError: A file cannot be read; the message names it and the line.
    """
    container = Container()
    try:
        return container[PluggableRunContext].providers.providers
    except TomlProviderReadException as error:
        if reason := _unreadable_file(error):
            raise ConfigurationError(reason) from error
    # dlt cannot read a byte order mark, and nothing else is wrong.
    container[PluggableRunContext] = context = PluggableRunContext(_RunContext(None))
    return context.providers.providers


def _unreadable_file(error: TomlProviderReadException) -> str | None:
    """Which of the files that dlt could not read is wrong, and what; None if none is."""
    for path in error.full_paths:
        try:
            with open(path, "rb") as file:
                problem = toml_problem(file.read())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as failure:
            return f"{path} cannot be read: {failure.strerror}"
        if problem:
            return f"{path}, {problem}"
    return None


def toml_problem(content: bytes) -> str | None:
    """What is wrong with a TOML file, and in which line; None if nothing is.

    The sentence does not repeat the line, which may hold a secret.
    """
    if content.startswith((BOM_UTF16_BE, BOM_UTF16_LE)):
        return "line 1: the file is in UTF-16; save it in UTF-8"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"line {line}: there is a character that is not in UTF-8; save the file in UTF-8"
    try:
        tomlkit.parse(text)
        return None
    except (ValueError, tomlkit.exceptions.TOMLKitError) as error:
        message = str(error)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)  # names the line in more cases
    found = re.search(r"line (\d+)", message)
    return (
        f"line {found[1] if found else 'unknown'}: this is not TOML; texts are in quotation marks, "
        'as in api_key = "sk_live_…", and each name and [section] is there once'
    )
