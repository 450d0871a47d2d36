"""Configuration: the fallbacks of dlt's configuration, and checks of the URL, key and time zone."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.resolve import inject_section
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.pipeline import PipelineContext

from komos_source import settings
from komos_source.exceptions import ConfigurationError, UsageError
from komos_source.settings import FALLBACK_API_KEY_VARIABLE, PIPELINE_NAME, SOURCE_NAME
from komos_source.settings_files import configuration_providers
from komos_source.text import without_quotes


class FallbackProvider(ConfigProvider):
    """The last of dlt's configuration providers: ``KOMOS_API_KEY``, and defaults of this package.

    It has values for this source and its pipelines only, so that other pipelines in the same
    process are not affected.
    """

    def __init__(self) -> None:
        self.pipeline_names = {PIPELINE_NAME}

    def get_value(
        self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str
    ) -> tuple[Any | None, str]:
        """See `ConfigProvider.get_value`."""
        for name in pipeline_names(pipeline_name)[1:]:
            for provider in configuration_providers():
                if provider is not self and (provider.supports_secrets or not is_secret_hint(hint)):
                    value, found = provider.get_value(key, hint, name, *sections)
                    if value is not None:
                        return value, found
        where = ".".join((*sections, key))
        # dlt looks once with the pipeline's name as the outermost section and once without. What is
        # returned the first time precedes what is configured without the name.
        if not pipeline_name and where == f"sources.{SOURCE_NAME}.api_key":
            return os.environ.get(FALLBACK_API_KEY_VARIABLE) or None, FALLBACK_API_KEY_VARIABLE
        if not pipeline_name and where in _WRITER_DEFAULTS:
            return _WRITER_DEFAULTS[where], where
        if pipeline_name in self.pipeline_names and where in _DEFAULTS:
            return _DEFAULTS[where], f"{pipeline_name}.{where}"
        return None, where

    @property
    def name(self) -> str:
        """What dlt calls this provider in its messages."""
        return "komos_source"

    @property
    def supports_secrets(self) -> bool:
        """One of its values is the API key."""
        return True

    @property
    def supports_sections(self) -> bool:
        """It takes every combination of sections."""
        return True

    @property
    def locations(self) -> list[str]:
        """Where the key may come from, for dlt's messages."""
        return [f"environment variable {FALLBACK_API_KEY_VARIABLE}"]


_WRITER_DEFAULTS = {
    # Rows are written when they are yielded. dlt would first collect 5,000, of any size.
    f"sources.{SOURCE_NAME}.data_writer.buffer_max_items": 1,
    f"sources.{SOURCE_NAME}.data_writer.file_max_bytes": settings.BYTES_PER_FILE,
}
_DEFAULTS = {
    "normalize.data_writer.buffer_max_items": 1,
    # Loaded rows are counted by the id of the load package.
    "normalize.parquet_normalizer.add_dlt_load_id": True,
    # Rows that have been merged are not left behind, neither in the destination nor on disk.
    "load.truncate_staging_dataset": True,
    "load.delete_completed_jobs": True,
    # Seconds; dlt waits so long at the beginning and the end of each extraction.
    "extract.futures_poll_interval": 0.002,
}
_last_resort = FallbackProvider()


def register_fallback_provider() -> None:
    """Adds the provider to dlt's, at the end.

    Raises:
        ConfigurationError: config.toml or secrets.toml cannot be read.
    """
    if _last_resort not in configuration_providers():
        dlt.config.register_provider(_last_resort)


def use_defaults_for(pipeline_name: str) -> None:
    """Gives a pipeline of another name the same defaults.

    Raises:
        ConfigurationError: config.toml or secrets.toml cannot be read.
    """
    register_fallback_provider()
    _last_resort.pipeline_names.add(pipeline_name)


_SUFFIX = re.compile(r"(_\d+_of_\d+|_after_shards)$")


def pipeline_names(pipeline_name: str | None) -> list[str]:
    """Names in front of settings of a pipeline: its own, and that without the suffix of a shard."""
    if not pipeline_name:
        return []
    return list(dict.fromkeys((pipeline_name, _SUFFIX.sub("", pipeline_name))))


def settings_of(pipeline_name: str) -> AbstractContextManager[Any]:
    """Within the context, settings with the name of this pipeline in front are used first.

    A pipeline that is active, which dlt would ask for its name, is deactivated.
    """
    if (active := Container()[PipelineContext]).is_active():
        active.deactivate()
    return inject_section(ConfigSectionContext(pipeline_name=pipeline_name))


def setting(name: str) -> Any:
    """A value of the section ``[sources.komos]``, with or without the pipeline's name in front.

    From a file in ``/run/secrets``, the environment, secrets.toml or config.toml.

    Returns:
        The value, a text without blanks and quotation marks around it; None if it is not set.

    Raises:
        ConfigurationError: config.toml or secrets.toml cannot be read.
    """
    configuration_providers()
    active = Container()[PipelineContext]
    pipeline_name = Container()[ConfigSectionContext].pipeline_name or (
        active.pipeline().pipeline_name if active.is_active() else PIPELINE_NAME
    )
    for section in (*pipeline_names(pipeline_name), None):
        key = ".".join(filter(None, (section, "sources", SOURCE_NAME, name)))
        # `dlt.secrets` looks into /run/secrets, but not into config.toml; `dlt.config` vice versa.
        for read in (dlt.secrets.get, dlt.config.get):
            value: Any = read(key)
            if value is not None:
                return without_quotes(value) if isinstance(value, str) else value
    return None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the section ``[sources.komos]``, declared where it is read.

    Attributes:
        name: Its name in the section, such as ``spool`` or ``redact.mode``.
        meaning: What it is, for docs/configuration.md, which is generated from it.
        default: Its value if none is configured.
    """

    name: str
    meaning: str
    default: Any = None

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"SOURCES__KOMOS__{self.name.replace('.', '__').upper()}"

    def value(self) -> Any:
        """The configured value, as `setting` returns it, or the default.

        Raises:
            ConfigurationError: config.toml or secrets.toml cannot be read.
        """
        configured = setting(self.name)
        return self.default if configured in (None, "") else configured


TIME_ZONE = Setting(
    "time_zone", "IANA name of the time zone in which `node_health_daily` counts days.", "UTC"
)


def time_zone() -> str:
    """The time zone that analyses count days in: ``SOURCES__KOMOS__TIME_ZONE``, else UTC.

    Raises:
        ConfigurationError: There is no such time zone.
    """
    name = str(TIME_ZONE.value())
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"SOURCES__KOMOS__TIME_ZONE is {name!r}, which is no time zone: give an IANA name such "
            "as Europe/Berlin"
        ) from error
    return name


NO_API_KEY = (
    f"no API key: set {settings.API_KEY_VARIABLE} (or {settings.FALLBACK_API_KEY_VARIABLE}), or "
    'put api_key = "sk_live_…" under [sources.komos] in .dlt/secrets.toml'
)


def secret_in_config_toml(key: str) -> str:
    """What to do about a secret in ``config.toml``, which dlt refuses: the file is not ignored."""
    section, _, name = key.rpartition(".")
    return (
        f"{name} is in .dlt/config.toml ([{section}]), which is not for secrets: move it to "
        ".dlt/secrets.toml"
    )


_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that plain http does not reveal the key."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_base_url(base_url: str) -> str:
    """Returns the URL as it is used for every request: scheme, host and port, in lower case.

    Raises:
        ConfigurationError: Not a URL, plain http to another machine, or more than scheme, host and
            port. The message does not repeat the URL, which may hold a password.
    """
    advice = "Set SOURCES__KOMOS__BASE_URL to scheme and host, such as https://api.komos.ai."
    if re.search(r"[^\x21-\x7e]", base_url):
        raise ConfigurationError(
            f"base_url has white space, control or non-ASCII characters. {advice}"
        )
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"base_url is not a URL. {advice}") from None
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        raise ConfigurationError(f"base_url is not an http or https URL. {advice}")
    if "@" in parts.netloc or parts.path.strip("/") or "?" in base_url or "#" in base_url:
        raise ConfigurationError(f"base_url has more than scheme and host. {advice}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url http://{host} would send the API key unencrypted: use https. "
            "Plain http is for this machine only (localhost)."
        )
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def check_api_key(api_key: str) -> str:
    """Returns the key without surrounding white space.

    Raises:
        ConfigurationError: Empty, or with characters that no key has. The message does not repeat
            the key.
    """
    key = api_key.strip()
    if not key:
        raise ConfigurationError(NO_API_KEY)
    if not re.fullmatch(r"[\x21-\x7e]+", key) or '"' in key or "'" in key:
        raise ConfigurationError(
            "the API key has characters that no key has (a line break, a blank, a "
            f"quotation mark pasted along?): look at {settings.API_KEY_VARIABLE} or "
            ".dlt/secrets.toml ([sources.komos] api_key)."
        )
    return key


def check_number(name: str, value: float, minimum: float, maximum: float = 1e9) -> None:
    """Refuses a number that is out of range.

    Raises:
        UsageError: Below the minimum, beyond the maximum, or not a number.
    """
    if not minimum <= value <= maximum:  # never true of NaN
        raise UsageError(f"{name} must be from {minimum:g} to {maximum:g}, not {value}")
