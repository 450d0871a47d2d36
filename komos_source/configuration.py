"""What dlt's configuration falls back to when nobody has set it."""

from __future__ import annotations

import os
from typing import Any
from zoneinfo import ZoneInfo

import dlt
from dlt.common.configuration.providers.provider import ConfigProvider

from komos_source.exceptions import ConfigurationError
from komos_source.settings import LAST_RESORT_API_KEY_VARIABLE, PIPELINE_NAME, SOURCE_NAME


class LastResort(ConfigProvider):
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
            return os.environ.get(
                LAST_RESORT_API_KEY_VARIABLE
            ) or None, LAST_RESORT_API_KEY_VARIABLE
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
        return [f"environment variable {LAST_RESORT_API_KEY_VARIABLE}"]


_DEFAULTS = {
    # Arrived rows are counted by the load's id.
    "normalize.parquet_normalizer.add_dlt_load_id": True,
    # What has been merged is of no use any more.
    "load.truncate_staging_dataset": True,
    # Seconds; dlt waits so long at the beginning and the end of each extraction.
    "extract.futures_poll_interval": 0.002,
}
_last_resort = LastResort()


def register_last_resort() -> None:
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
