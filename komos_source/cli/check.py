"""``komos check``: reports what is not configured, and where to configure it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from komos_source.cli.options import destination_options, pipeline_name_option
from komos_source.cli.output import echo

if TYPE_CHECKING:
    from komos_source.redaction.redactor import Redactor

_LEAST_FREE = 100 * 2**20
"""Bytes of disk without which even a small load may fail."""


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
@pipeline_name_option
def check(destination: str, dataset_name: str, pipeline_name: str) -> None:
    """Check all that a load needs, from settings to disk; print what to do where a check fails."""
    from komos_source.config import settings_of
    from komos_source.destinations.pipeline import check_names

    check_names(pipeline_name, dataset_name)
    ok = True
    with settings_of(pipeline_name):
        for result in check_setup(destination, dataset_name, pipeline_name):
            ok = ok and result.ok
            echo(f"{'ok    ' if result.ok else 'failed'}  {result.name}: {result.detail}")
    sys.exit(0 if ok else 1)


def check_setup(destination: str, dataset_name: str, pipeline_name: str) -> Iterator[SetupCheck]:
    """Checks configuration, key, API, disk, locks, destination and spool, as a load needs them."""
    from komos_source import settings
    from komos_source.config import check_api_key, check_base_url, setting
    from komos_source.exceptions import KomosError
    from komos_source.redaction.config import configured_redactor

    base_url = str(setting("base_url") or settings.BASE_URL)
    api_key, where = _find_key(pipeline_name)
    usable = True
    try:
        base_url = check_base_url(base_url)
        yield SetupCheck("base url", True, base_url)
    except KomosError as error:
        usable = False
        yield SetupCheck("base url", False, str(error))
    try:
        api_key = check_api_key(api_key)
        yield SetupCheck("api key", True, f"found in {where}")
    except KomosError as error:
        usable = False
        yield SetupCheck("api key", False, str(error))
    redactor = None
    try:
        redactor = configured_redactor()
        if redactor.rules:
            names = ", ".join(rule.name for rule in redactor.rules)
            found = f"{names} by {redactor.mode}; version {redactor.version} of the rules"
            yield SetupCheck("redaction", True, found)
    except KomosError as error:
        yield SetupCheck("redaction", False, str(error))
    # Without rules that can be used, what the API says cannot be shown.
    if usable and redactor is not None:
        yield from _check_other_settings()
        yield _check_api(api_key, base_url, redactor)
    yield _check_working_directory(pipeline_name)
    yield _check_destination(destination, dataset_name, pipeline_name)
    yield from _check_spool()


def _find_key(pipeline_name: str) -> tuple[str, str]:
    """The API key and where it was found; empty if there is none."""
    from dlt.common.typing import TSecretStrValue

    from komos_source import settings
    from komos_source.config import register_fallback_provider
    from komos_source.settings_files import configuration_providers

    register_fallback_provider()  # as the source does
    hint: Any = TSecretStrValue  # files in /run/secrets are read for secrets only
    for name in (pipeline_name, None):
        for provider in configuration_providers():
            value, where = provider.get_value(
                "api_key", hint, name, "sources", settings.SOURCE_NAME
            )
            if value:
                return str(value), f"{where} ({provider.name})"
    return "", ""


def _check_other_settings() -> Iterator[SetupCheck]:
    """Reports the first setting that a load or the receiver would refuse."""
    from komos_source.config import time_zone
    from komos_source.exceptions import KomosError
    from komos_source.metrics import LoadMetrics
    from komos_source.source import build_source
    from komos_source.webhooks.config import spool_max_bytes, spool_reserve

    try:
        time_zone()
        spool_reserve()
        spool_max_bytes()
        build_source(LoadMetrics())  # makes no request
    except KomosError as error:
        yield SetupCheck("settings", False, str(error))


def _check_api(api_key: str, base_url: str, redactor: Redactor) -> SetupCheck:
    from komos_source.api.client import KomosClient
    from komos_source.exceptions import KomosError

    async def first_page() -> int | None:
        async with KomosClient(api_key, base_url, redact=redactor.text) as client:
            async for page in client.tasks():
                return page.total if page.total is not None else len(page.tasks)
        return 0

    try:
        return SetupCheck("api", True, f"answers; {asyncio.run(first_page())} tasks are visible")
    except KomosError as error:
        return SetupCheck("api", False, str(error))


def _check_working_directory(pipeline_name: str) -> SetupCheck:
    """Takes the lock of the pipeline, and looks for free disk."""
    from dlt.common.pipeline import get_dlt_pipelines_dir

    from komos_source.destinations.locking import lock_pipeline
    from komos_source.exceptions import KomosError

    directory = Path(get_dlt_pipelines_dir())
    try:
        with lock_pipeline(directory, pipeline_name, 0):
            return _check_disk("working directory", directory, f"{directory} can be written")
    except KomosError as error:
        return SetupCheck("working directory", False, str(error))


def _check_disk(name: str, directory: Path, found: str) -> SetupCheck:
    """Reports what was found if the disk of the directory has room for a small load."""
    free = shutil.disk_usage(directory).free
    if free < _LEAST_FREE:
        detail = f"the disk of {directory} has only {free / 2**20:,.0f} MiB free: free some space"
        return SetupCheck(name, False, detail)
    return SetupCheck(name, True, f"{found}; {free / 2**30:,.1f} GiB of disk are free")


def _check_destination(destination: str, dataset_name: str, pipeline_name: str) -> SetupCheck:
    from komos_source.destinations.error_messages import describe_error
    from komos_source.destinations.loading_path import loading_path
    from komos_source.destinations.locking import lock_dataset
    from komos_source.destinations.pipeline import duckdb_file, make_pipeline, temporary_directory
    from komos_source.exceptions import KomosError

    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(temporary_directory())
            pipeline = make_pipeline(destination, dataset_name, pipeline_name, directory)
            if file := duckdb_file(pipeline):
                return _check_duckdb(Path(file), loading_path(pipeline))
            with pipeline.destination_client(), lock_dataset(pipeline, 0):
                if destination == "postgres":
                    from komos_source.destinations.postgres import missing_right

                    if missing := missing_right(pipeline):
                        return SetupCheck("destination", False, missing)
            return SetupCheck("destination", True, f"{destination} ({dataset_name}) is reachable")
        except KomosError as error:
            return SetupCheck("destination", False, str(error))
        except Exception as error:  # noqa: BLE001 - each destination has errors of its own
            return SetupCheck("destination", False, describe_error(error, destination))


def _check_duckdb(file: Path, path: str) -> SetupCheck:
    """Opens the file for reading and reads from each table; creates nothing."""
    import duckdb

    from komos_source.destinations.error_messages import describe_cause
    from komos_source.destinations.locking import connect_when_unlocked

    if not file.exists():
        if not file.parent.is_dir():
            todo = f"the directory {file.parent} does not exist: create it"
            return SetupCheck("destination", False, todo)
        if not os.access(file.parent, os.W_OK):
            todo = f"this user cannot write to {file.parent}, where {file.name} would be created"
            return SetupCheck("destination", False, todo)
        todo = f"there is no {file} yet: the first load creates it (loading path: {path})"
        return _check_disk("destination", file.parent, todo)
    damaged = f"{file} is damaged: restore it from a copy, or load into a new file"
    name = f"the DuckDB file {file}"
    reading = functools.partial(duckdb.connect, str(file), read_only=True)
    with connect_when_unlocked(reading, 2.0, name) as client:
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
            return SetupCheck("destination", False, f"{damaged} ({describe_cause(error)})")
    if not os.access(file, os.W_OK):
        return SetupCheck("destination", False, f"{file} cannot be written by this user")
    with connect_when_unlocked(lambda: duckdb.connect(str(file)), 2.0, name):
        pass  # writing needs a lock, which some file systems lack
    found = f"{file} can be read and written (loading path: {path})"
    return _check_disk("destination", file.parent, found)


def _check_spool() -> Iterator[SetupCheck]:
    from komos_source.exceptions import KomosError
    from komos_source.redaction.redactor import NO_RULES
    from komos_source.webhooks.config import spool_in_use, spool_url, webhook_secrets
    from komos_source.webhooks.open_spool import open_spool

    url = spool_in_use()
    if url is None:
        if webhook_secrets():
            yield SetupCheck(
                "webhook spool",
                False,
                f"a webhook secret is set, but there is no {_absolute(spool_url())}, so that a "
                "load loads no deliveries: start `komos webhooks serve` in this directory, or set "
                "SOURCES__KOMOS__SPOOL to the spool of the receiver",
            )
        return
    try:
        # It stores nothing, so it needs no rules of redaction, which are checked above.
        with contextlib.closing(open_spool(url, redactor=NO_RULES)) as spool:
            stats = spool.stats()
            detail = f"{stats.waiting} deliveries wait in {_absolute(spool.name)}"
            if stats.set_aside:
                detail += (
                    f"; {stats.set_aside} that the destination refused are in "
                    "komos_deliveries_failed there"
                )
            yield SetupCheck("webhook spool", True, detail)
    except KomosError as error:
        yield SetupCheck("webhook spool", False, str(error))


def _absolute(spool: str) -> str:
    """The path of a SQLite spool, which depends on the current directory; else what was given."""
    prefix = "sqlite:///"
    return os.path.abspath(spool.removeprefix(prefix)) if spool.startswith(prefix) else spool
