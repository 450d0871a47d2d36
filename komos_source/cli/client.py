"""The client of commands that read the API directly, configured as the source is."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.configuration import with_config
from dlt.common.configuration.specs import known_sections

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.config import settings_of
from komos_source.metrics import LoadMetrics
from komos_source.redaction.config import configured_redactor
from komos_source.redaction.redactor import Redactor
from komos_source.source import configuration_errors


def configured_client(metrics: LoadMetrics) -> KomosClient:
    """A client with the key, the URL and the limits that `komos load` would use.

    Args:
        metrics: Where requests and delays are counted.

    Raises:
        ConfigurationError: A setting is missing or cannot be used; no request has been made.
    """
    with configuration_errors(), settings_of(settings.PIPELINE_NAME):
        redact: Any = configured_redactor().text
        client: KomosClient = _client(metrics=metrics, redact=redact)
    return client


def redactor_in_use() -> Redactor:
    """The rules that `komos load` would use.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    with settings_of(settings.PIPELINE_NAME):
        return configured_redactor()


@with_config(sections=(known_sections.SOURCES, settings.SOURCE_NAME))
def _client(
    api_key: str = dlt.secrets.value,
    base_url: str = settings.BASE_URL,
    max_concurrency: int = settings.MAX_CONCURRENCY,
    backoff: float = settings.BACKOFF,
    max_body: int = settings.MAX_BODY,
    metrics: Any = None,
    redact: Any = str,
) -> KomosClient:
    return KomosClient(
        api_key,
        base_url,
        max_concurrency=max_concurrency,
        backoff=backoff,
        max_body=max_body,
        metrics=metrics,
        redact=redact,
    )
