"""What to load, checked before any request is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from komos_source.api.models import is_task_id
from komos_source.exceptions import UsageError
from komos_source.shard import Shard
from komos_source.timestamps import parse_timestamp


class SourceOptions(TypedDict, total=False):
    """Arguments of `komos_source.komos_source` that `komos_source.load` passes on to it."""

    since: str | None
    full_refresh: bool
    api_key: str | None
    base_url: str | None
    settle_after: float | None
    give_up_after: float | None
    max_concurrency: int | None
    backoff: float | None
    max_body: int | None
    max_bytes: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runs to load: those named, those of some tasks, or (both None) all.

    Attributes:
        run_ids: Canonical UUIDs, each once, in the order given.
        task_ids: Task ids, each once.
        tracked_only: No task is listed, but all runs that are tracked are read.
        since: Runs created before are left for a later load.
    """

    run_ids: Sequence[str] | None
    task_ids: Sequence[str] | None
    since: datetime | None
    tracked_only: bool = False


def check_selection(
    run_ids: Iterable[str] | None,
    task_ids: Iterable[str] | None,
    since: str | None,
    shard: Shard | None = None,
) -> Choice:
    """Checks what to load; of ids that are named, a shard keeps those in its bucket.

    Raises:
        UsageError: An id that is not one, a time that is not one, or a choice that contradicts
            itself.
    """
    if run_ids is not None and (task_ids is not None or since is not None):
        raise UsageError(
            "run ids name the runs to load; task ids and 'since' choose among runs that are "
            "discovered: give one or the other"
        )
    # Each id once, in the order given.
    runs = None if run_ids is None else list(dict.fromkeys(map(_run_id, run_ids)))
    tasks = None if task_ids is None else list(dict.fromkeys(map(_task_id, task_ids)))
    return Choice(
        run_ids=shard.only(runs) if shard else runs,
        task_ids=shard.only(tasks) if shard else tasks,
        since=None if since is None else _since(since),
        tracked_only=tasks == [],
    )


def read_runs_file(path: Path) -> list[str]:
    """Reads run ids from a file, one a line; blank lines and what follows ``#`` are passed over.

    Raises:
        UsageError: The file cannot be read or a line is no run id; names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the file with run ids cannot be read: {path}: {error}") from error
    run_ids = []
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            try:
                run_ids.append(_run_id(text))
            except UsageError as error:
                raise UsageError(f"{path}, line {number}: {error}") from error
    if not run_ids:
        raise UsageError(f"{path} holds no run ids (one UUID a line is expected)")
    return run_ids


def _run_id(text: Any) -> str:
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{text!r} is not a run id: a UUID such as 9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94 is"
            " expected"
        ) from error


def _task_id(text: Any) -> str:
    task_id = text.strip() if isinstance(text, str) else text
    if not is_task_id(task_id):
        raise UsageError(f"{text!r} is not a task id")
    return str(task_id)


def _since(text: str) -> datetime:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise UsageError(
            f"'since' is not an ISO 8601 date or time: {text!r} (2025-10-14 or "
            "2025-10-14T18:00:00Z is expected)"
        ) from error
