"""Configuration: the fallbacks of dlt's configuration, and checks of the URL, key and time zone."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import dlt
from dlt.common.configuration.providers.provider import ConfigProvider

from komos_source import settings
from komos_source.exceptions import ConfigurationError
from komos_source.settings import FALLBACK_API_KEY_VARIABLE, PIPELINE_NAME, SOURCE_NAME


class FallbackProvider(ConfigProvider):
    """Asked by dlt after all other providers: the key by Komos' own name for it, and our defaults.

    Only values of this source and of its pipelines are answered, so that other pipelines in the
    same process are left alone.
    """

    def __init__(self) -> None:
        self.pipeline_names = {PIPELINE_NAME}

    def get_value(
        self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str
    ) -> tuple[Any | None, str]:
        """See `ConfigProvider.get_value`."""
        where = ".".join((*sections, key))
        if where == f"sources.{SOURCE_NAME}.api_key":
            return os.environ.get(FALLBACK_API_KEY_VARIABLE) or None, FALLBACK_API_KEY_VARIABLE
        if where in _WRITER_DEFAULTS:
            return _WRITER_DEFAULTS[where], where
        # dlt asks once with the pipeline's name as the outermost section and once without.
        if pipeline_name in self.pipeline_names and where in _DEFAULTS:
            return _DEFAULTS[where], f"{pipeline_name}.{where}"
        return None, where

    @property
    def name(self) -> str:
        """What dlt calls this provider in its messages."""
        return "komos_source"

    @property
    def supports_secrets(self) -> bool:
        """It may answer with the API key."""
        return True

    @property
    def supports_sections(self) -> bool:
        """It is asked for every combination of sections."""
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
    # Arrived rows are counted by the load's id.
    "normalize.parquet_normalizer.add_dlt_load_id": True,
    # What has been merged is of no use any more.
    "load.truncate_staging_dataset": True,
    # Seconds; dlt waits so long at the beginning and the end of each extraction.
    "extract.futures_poll_interval": 0.002,
}
_last_resort = FallbackProvider()


def register_fallback_provider() -> None:
    """Adds the provider to dlt's, at the end."""
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

    providers = Container()[PluggableRunContext].providers
    if _last_resort.name not in providers:
        dlt.config.register_provider(_last_resort)


def use_defaults_for(pipeline_name: str) -> None:
    """Gives a pipeline of another name the same defaults."""
    _last_resort.pipeline_names.add(pipeline_name)


def time_zone() -> str:
    """The time zone that analyses count days in: ``SOURCES__KOMOS__TIME_ZONE``, else UTC.

    Raises:
        ConfigurationError: There is no such time zone.
    """
    name = str(dlt.config.get(f"sources.{SOURCE_NAME}.time_zone") or "UTC")
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
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, where plain http harms nobody."""
    return bool(_LOOPBACK.fullmatch(host))


def check_base_url(base_url: str) -> str:
    """Returns the URL's host; refuses a URL that would not reach Komos, or not safely.

    Raises:
        ConfigurationError: Not a URL, plain http to another machine, or more than scheme and host.
    """
    where = "Set SOURCES__KOMOS__BASE_URL to scheme and host, such as https://api.komos.ai."
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"base_url {base_url!r} is not a URL ({error}). {where}"
        ) from error
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"base_url {base_url!r} is not an http(s) URL. {where}")
    if parts.username or parts.password or parts.query or parts.path.strip("/"):
        raise ConfigurationError(f"base_url has more than scheme and host. {where}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url {base_url!r} would send the API key unencrypted: use https. "
            "Plain http is for this machine only (localhost)."
        )
    return host


def check_api_key(api_key: str) -> str:
    """Returns the key without surrounding white space.

    Raises:
        ConfigurationError: Empty, or with characters that no header can carry. The message does
            not repeat the key.
    """
    key = api_key.strip()
    if not key:
        raise ConfigurationError(NO_API_KEY)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError(
            "the API key has characters that no key has (a line break, a blank, a "
            f"quotation mark pasted along?): look at {settings.API_KEY_VARIABLE} or "
            ".dlt/secrets.toml ([sources.komos] api_key)."
        )
    return key
