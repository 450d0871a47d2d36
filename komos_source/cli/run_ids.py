"""Finds a run by the beginning of its id, and completes ids in a shell.

The DuckDB file is read where there is one; it is neither created nor waited for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click
from click.shell_completion import CompletionItem

from komos_source import settings
from komos_source.exceptions import KomosError, NotVisibleError, UsageError

if TYPE_CHECKING:
    from komos_source.api.client import KomosClient

_BEGINNING = re.compile(r"[0-9a-f][0-9a-f-]{0,35}")
_RUNS = """
    SELECT id, MAX(detail) FROM (
        SELECT id, status AS detail, created_at AS moment FROM task_runs
        UNION ALL SELECT run_id, NULL, NULL FROM task_run_log_loads
    ) WHERE starts_with(id, ?) GROUP BY id ORDER BY MAX(moment) DESC NULLS LAST LIMIT ?
"""
_TASKS = "SELECT id, name FROM tasks WHERE starts_with(id, ?) ORDER BY name LIMIT ?"


def run_id_or_beginning(text: str) -> str:
    """Returns a run's id, or the beginning of one, in the spelling of the API.

    Raises:
        UsageError: It is neither.
    """
    with contextlib.suppress(ValueError):
        return str(UUID(text))
    beginning = text.strip().lower()
    if not _BEGINNING.fullmatch(beginning):
        raise UsageError(
            f"{text!r} is neither a run id (a UUID) nor the beginning of one: `komos runs` lists "
            "them"
        )
    return beginning


def is_whole(run_id: str) -> bool:
    """Whether what `run_id_or_beginning` returned is a whole id."""
    return len(run_id) == len(str(UUID(int=0)))


def the_only(beginning: str, found: Sequence[str], where: str) -> str | None:
    """The only run id found; None if there is none.

    Args:
        beginning: How the id begins.
        found: The ids that begin so.
        where: Where they were found.

    Raises:
        UsageError: There are several; the message lists them.
    """
    if len(found) > 1:
        listed = ", ".join(found[: settings.MAX_CANDIDATES])
        more = "" if len(found) <= settings.MAX_CANDIDATES else " and more"
        raise UsageError(
            f"{len(found)} run ids {where} begin with {beginning!r}: {listed}{more}. Type more of "
            "the one that is meant."
        )
    return found[0] if found else None


async def find_run(client: KomosClient, beginning: str) -> str:
    """Returns the id of the run that is meant: by the DuckDB file, or by the lists of the API.

    Args:
        client: Asked only if the file names no such run.
        beginning: What `run_id_or_beginning` returned.

    Raises:
        UsageError: Several runs are meant.
        NotVisibleError: None is.
        RequestError: The tasks cannot be listed.
    """
    if is_whole(beginning):
        return beginning
    stored = [run_id for run_id, _ in stored_runs(beginning)]
    if run_id := the_only(beginning, stored, "in the database"):
        return run_id
    from komos_source.extract.discovery import discover
    from komos_source.extract.options import Choice
    from komos_source.extract.state import State

    found = await discover(client, State(), Choice(None, None, None))
    ids = [run.id for runs in found.listed.values() for run in runs]
    matching = sorted(run_id for run_id in ids if run_id.startswith(beginning))
    if run_id := the_only(beginning, matching, "that the API lists"):
        return run_id
    problems = f" ({'; '.join(found.problems)})" if found.problems else ""
    raise NotVisibleError(
        f"no run in the database or in the API's lists begins with {beginning!r}{problems}: type "
        "the whole id, or see `komos runs`"
    )


def stored_runs(beginning: str) -> list[tuple[str, str | None]]:
    """Ids and statuses of runs in the DuckDB file, newest first, one more than are listed."""
    return _stored(_RUNS, beginning)


def complete_run_id(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Completes the id of a run; see `click.Parameter`."""
    return _items(stored_runs(incomplete.lower()))


def complete_task_id(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Completes the id of a task, for Click's `shell_complete`."""
    return _items(_stored(_TASKS, incomplete))


def _items(found: Sequence[tuple[str, str | None]]) -> list[CompletionItem]:
    from komos_source.text import printable

    return [CompletionItem(printable(id_), help=printable(text or "")) for id_, text in found]


def _stored(query: str, beginning: str) -> list[tuple[str, str | None]]:
    """Runs a query in the configured DuckDB file; nothing is found where it cannot be read now."""
    import duckdb

    from komos_source.config import settings_of
    from komos_source.destinations.pipeline import (
        duckdb_file,
        make_pipeline,
        temporary_directory,
    )

    with contextlib.suppress(KomosError, duckdb.Error), temporary_directory() as directory:
        with settings_of(settings.PIPELINE_NAME):
            file = duckdb_file(make_pipeline(pipelines_dir=directory))
        if file and Path(file).exists():
            with duckdb.connect(file, read_only=True) as connection:
                connection.execute(f'USE "{settings.DATASET_NAME}"')
                limit = settings.MAX_CANDIDATES + 1
                rows: list[tuple[str, str | None]] = connection.execute(
                    query, [beginning, limit]
                ).fetchall()
                return rows
    return []
