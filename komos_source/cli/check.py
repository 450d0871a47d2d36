"""``komos check``: what a newcomer still has to set, and where."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from komos_source import settings
from komos_source.api.client import KomosClient
from komos_source.config import (
    NO_API_KEY,
    check_api_key,
    check_base_url,
    register_fallback_provider,
    setting,
)
from komos_source.destinations.locking import duckdb_held
from komos_source.destinations.pipeline import duckdb_file, make_pipeline
from komos_source.exceptions import KomosError
from komos_source.webhooks._optional import open_spool
from komos_source.webhooks.config import spool_in_use


@dataclass(frozen=True, slots=True)
class SetupCheck:
    """One line of the answer.

    Attributes:
        name: What was looked at.
        ok: Whether it will do.
        detail: What was found, or what to do.
    """

    name: str
    ok: bool
    detail: str


def check_setup(destination: str, dataset: str) -> Iterator[SetupCheck]:
    """Looks at configuration, key, API and destination, in the order a load needs them."""
    base_url = str(setting("base_url") or settings.BASE_URL)
    api_key, where = _find_key()
    usable = True
    try:
        yield SetupCheck("base url", True, check_base_url(base_url))
    except KomosError as error:
        usable = False
        yield SetupCheck("base url", False, str(error))
    if api_key is None:
        usable = False
        yield SetupCheck("api key", False, NO_API_KEY)
    else:
        try:
            check_api_key(api_key)
            yield SetupCheck("api key", True, f"found in {where}")
        except KomosError as error:
            usable = False
            yield SetupCheck("api key", False, str(error))
    if usable and api_key:
        yield _check_api(api_key, base_url)
    yield _check_destination(destination, dataset)
    if url := spool_in_use():
        yield _check_spool(url)


def _find_key() -> tuple[str | None, str]:
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

    register_fallback_provider()  # which else the source does
    for provider in Container()[PluggableRunContext].providers.providers:
        value, where = provider.get_value("api_key", str, None, "sources", settings.SOURCE_NAME)
        if value:
            return str(value), f"{where} ({provider.name})"
    return None, ""


def _check_api(api_key: str, base_url: str) -> SetupCheck:
    async def first_page() -> int | None:
        async with KomosClient(api_key, base_url) as client:
            async for page in client.tasks():
                return page.total if page.total is not None else len(page.tasks)
        return 0

    try:
        return SetupCheck("api", True, f"answers; {asyncio.run(first_page())} tasks are visible")
    except KomosError as error:
        return SetupCheck("api", False, str(error))


def _check_spool(url: str) -> SetupCheck:
    try:
        with contextlib.closing(open_spool(url)) as spool:
            detail = f"{spool.waiting()} deliveries wait in {spool.name}"
            return SetupCheck("webhooks' spool", True, detail)
    except KomosError as error:
        return SetupCheck("webhooks' spool", False, str(error))


def _check_destination(destination: str, dataset: str) -> SetupCheck:
    try:
        pipeline = make_pipeline(destination, dataset)
        file = duckdb_file(pipeline)
        with duckdb_held(file, timeout=2.0):
            if file is None:
                with pipeline.destination_client():
                    pass
        return SetupCheck("destination", True, f"{destination} ({file or dataset}) can be opened")
    except KomosError as error:
        return SetupCheck("destination", False, str(error))
    except Exception as error:  # noqa: BLE001 - every destination has its own
        return SetupCheck("destination", False, f"{destination} cannot be reached: {error}")
