"""``komos check``: tells what is not configured yet, and where to configure it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from komos_source.cli.options import destination_options
from komos_source.cli.output import echo


@dataclass(frozen=True, slots=True)
class SetupCheck:
    """One line of the output.

    Attributes:
        name: What was checked.
        ok: Whether a load can use it.
        detail: What was found, or what to do.
    """

    name: str
    ok: bool
    detail: str


@click.command()
@destination_options
def check(destination: str, dataset_name: str) -> None:
    """Check configuration, key, API, destination and spool; print what to do where one fails."""
    ok = True
    for result in check_setup(destination, dataset_name):
        ok = ok and result.ok
        echo(f"{'ok    ' if result.ok else 'failed'}  {result.name}: {result.detail}")
    sys.exit(0 if ok else 1)


def check_setup(destination: str, dataset_name: str) -> Iterator[SetupCheck]:
    """Checks configuration, key, API, destination and spool, in the order a load needs them."""
    from komos_source import settings
    from komos_source.config import NO_API_KEY, check_api_key, check_base_url, setting
    from komos_source.exceptions import KomosError
    from komos_source.webhooks.config import spool_in_use

    base_url = str(setting("base_url") or settings.BASE_URL)
    api_key, where = _find_key()
    usable = True
    try:
        base_url = check_base_url(base_url)
        yield SetupCheck("base url", True, base_url)
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
    yield _check_destination(destination, dataset_name)
    if url := spool_in_use():
        yield _check_spool(url)


def _find_key() -> tuple[str | None, str]:
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

    from komos_source import settings
    from komos_source.config import register_fallback_provider

    register_fallback_provider()  # as the source does
    for provider in Container()[PluggableRunContext].providers.providers:
        value, where = provider.get_value("api_key", str, None, "sources", settings.SOURCE_NAME)
        if value:
            return str(value), f"{where} ({provider.name})"
    return None, ""


def _check_api(api_key: str, base_url: str) -> SetupCheck:
    from komos_source.api.client import KomosClient
    from komos_source.exceptions import KomosError

    async def first_page() -> int | None:
        async with KomosClient(api_key, base_url) as client:
            async for page in client.tasks():
                return page.total if page.total is not None else len(page.tasks)
        return 0

    try:
        return SetupCheck("api", True, f"answers; {asyncio.run(first_page())} tasks are visible")
    except KomosError as error:
        return SetupCheck("api", False, str(error))


def _check_destination(destination: str, dataset_name: str) -> SetupCheck:
    from komos_source.destinations.loading_path import loading_path
    from komos_source.destinations.pipeline import duckdb_file, make_pipeline
    from komos_source.exceptions import KomosError

    with TemporaryDirectory(prefix="komos-") as directory:
        try:
            pipeline = make_pipeline(destination, dataset_name, pipelines_dir=directory)
            if file := duckdb_file(pipeline):
                return _check_duckdb(Path(file), loading_path(pipeline))
            with pipeline.destination_client():
                pass
            return SetupCheck("destination", True, f"{destination} ({dataset_name}) is reachable")
        except KomosError as error:
            return SetupCheck("destination", False, str(error))
        except Exception as error:  # noqa: BLE001 - each destination has errors of its own
            return SetupCheck("destination", False, f"{destination} cannot be reached: {error}")


def _check_duckdb(file: Path, path: str) -> SetupCheck:
    """Opens the file for reading and reads from each table; creates nothing."""
    import duckdb

    from komos_source.destinations.locking import connect_when_unlocked

    if not file.exists():
        usable = os.access(file.parent, os.W_OK)
        todo = "the first load creates it" if usable else f"{file.parent} is not writable"
        return SetupCheck(
            "destination", usable, f"there is no {file} yet: {todo} (loading path: {path})"
        )
    damaged = f"{file} is damaged: restore it from a copy, or load into a new file"
    with connect_when_unlocked(lambda: duckdb.connect(str(file), read_only=True), 2.0) as client:
        try:
            ((size,),) = client.execute(
                "SELECT total_blocks * block_size FROM pragma_database_size()"
            ).fetchall()
            if file.stat().st_size < size:
                return SetupCheck("destination", False, f"{damaged} (it has been cut off)")
            tables = client.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
            ).fetchall()
            for schema, table in tables:
                client.execute(f'FROM "{schema}"."{table}" LIMIT 1').fetchall()
        except duckdb.Error as error:
            return SetupCheck("destination", False, f"{damaged} ({error})")
    if not os.access(file, os.W_OK):
        return SetupCheck("destination", False, f"{file} cannot be written by this user")
    return SetupCheck("destination", True, f"{file} can be read and written (loading path: {path})")


def _check_spool(url: str) -> SetupCheck:
    from komos_source.exceptions import KomosError
    from komos_source.webhooks._optional import open_spool

    try:
        with contextlib.closing(open_spool(url)) as spool:
            stats = spool.stats()
            detail = f"{stats.waiting} deliveries wait in {spool.name}"
            if stats.set_aside:
                detail += (
                    f"; {stats.set_aside} that the destination refused are in "
                    "komos_deliveries_failed there"
                )
            return SetupCheck("webhook spool", True, detail)
    except KomosError as error:
        return SetupCheck("webhook spool", False, str(error))
