"""The API's tasks and runs as typed values. Pure; lenient where the documentation is vague."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.settings import MAX_ID_LENGTH, TERMINAL_STATUSES
from komos_source.text import json_text, parse_integer, storable
from komos_source.timestamps import parse_timestamp

T = TypeVar("T")

_TASK_FIELDS = {"id", "name", "status"}
_RUN_FIELDS = {
    *("id", "taskId", "status", "triggerType", "timestamps", "progress", "inputs", "outputs"),
    *("logsUrl", "error", "cancelReason"),
}
_TIMESTAMPS = {"createdAt", "startedAt", "finishedAt"}
_PROGRESS = {"currentStep", "stepsTotal"}


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decoded answer and when it was given.

    Attributes:
        value: What the API answered.
        served_at: The server's clock (its ``Date`` header, less ``Age``); None if it sent none.
        skipped: Which parts of it cannot be used, and why, in sentences.
    """

    value: T
    served_at: datetime | None
    skipped: list[str]


@dataclass(frozen=True, slots=True)
class Task:
    """A task as `tables.TASKS` keeps it.

    Attributes:
        id: Its id.
        name: Its name.
        status: Its status.
        extra: JSON text of all other fields; None if there are none.
    """

    id: str
    name: str | None
    status: str | None
    extra: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A task run as `tables.TASK_RUNS` keeps it; JSON columns hold their text.

    `extra` holds all fields that are not documented; None if there are none.
    """

    id: str
    task_id: str | None
    status: str | None
    trigger_type: str | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress_current_step: int | None
    progress_steps_total: int | None
    inputs: str | None
    outputs: str | None
    logs_url: str | None
    error: str | None
    cancel_reason: str | None
    extra: str | None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, so that only late entries can still join its log."""
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the organisation's tasks.

    Attributes:
        tasks: The tasks that can be loaded.
        total: How many there are on all pages; None if the API did not say.
        skipped: Why others, or the rest of the list, cannot be used, in sentences.
    """

    tasks: list[Task]
    total: int | None
    skipped: list[str]


def parse_json(body: bytes | bytearray) -> Any:
    """Decodes a body; raises `NotJsonError` if it is not JSON."""
    try:
        return json.loads(body, parse_int=parse_integer)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(
            f"the answer is not JSON ({error}); it begins {bytes(body[:60])!r}"
        ) from None  # the cause would keep the whole body


def is_task_id(value: Any) -> bool:
    """Whether a value can be a task's id: in a URL, and in an index of a database."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_LENGTH
        and value not in {".", ".."}
        and storable(value) == value
    )


def parse_task_page(body: bytes | bytearray) -> TaskPage:
    """Reads the answer to ``GET /tasks``."""
    answer = _object(parse_json(body), "the answer")
    tasks, skipped = _usable(_list(answer, "tasks"), _task, "a task")
    return TaskPage(tasks, _integer(answer.get("total")), skipped)


def parse_runs(body: bytes | bytearray, task_id: str) -> tuple[list[Run], list[str]]:
    """Reads the answer to ``GET /tasks/{task_id}/runs``: newest first, at most 50.

    Returns:
        The runs that can be loaded, and what is wrong with the others, in sentences.
    """
    runs = _list(_object(parse_json(body), "the answer"), "runs")
    return _usable(runs, lambda run: _run(run, task_id), f"a run of task {task_id}")


def parse_run(body: bytes | bytearray, run_id: str) -> Run:
    """Reads the answer to ``GET /task-runs/{run_id}``."""
    run = _run(_object(parse_json(body), "the answer").get("run"), None)
    if run.id != run_id.lower():
        raise AnswerError(f"the answer is another run: its id is {run.id!r}")
    return run


def _usable(values: list[Any], parse: Callable[[Any], T], what: str) -> tuple[list[T], list[str]]:
    """Parses the members of a list; a member that cannot be used does not affect the others."""
    usable, skipped = [], []
    for value in values:
        try:
            usable.append(parse(value))
        except AnswerError as error:
            skipped.append(f"{what} has been skipped: {error}")
    return usable, skipped


def _task(value: Any) -> Task:
    task = _object(value, "it")
    if not is_task_id(task.get("id")):
        raise AnswerError(f"its id cannot be used: {reprlib.repr(task.get('id'))}")
    return Task(
        id=task["id"],
        name=_text(task.get("name")),
        status=_text(task.get("status")),
        extra=_json(_rest(task, _TASK_FIELDS) or None),
    )


def _run(value: Any, task_id: str | None) -> Run:
    run = _object(value, "the run")
    try:
        run_id = str(UUID(run.get("id")))  # one spelling for each run, however it was found
    except (ValueError, AttributeError, TypeError):
        raise AnswerError(f"its id is not a UUID: {reprlib.repr(run.get('id'))}") from None
    extra, parts = _rest(run, _RUN_FIELDS), {}
    for name, documented in (("timestamps", _TIMESTAMPS), ("progress", _PROGRESS)):
        part = run.get(name)
        parts[name] = part if isinstance(part, dict) else {}
        if rest := _rest(parts[name], documented):
            extra[name] = rest
    timestamps, progress = parts.values()
    return Run(
        id=run_id,
        task_id=_text(run.get("taskId")) or task_id,
        status=_text(run.get("status")),
        trigger_type=_text(run.get("triggerType")),
        created_at=_timestamp(timestamps.get("createdAt")),
        started_at=_timestamp(timestamps.get("startedAt")),
        finished_at=_timestamp(timestamps.get("finishedAt")),
        progress_current_step=_integer(progress.get("currentStep")),
        progress_steps_total=_integer(progress.get("stepsTotal")),
        inputs=_json(run.get("inputs")),
        outputs=_json(run.get("outputs")),
        logs_url=_text(run.get("logsUrl")),
        error=_json(run.get("error")),
        cancel_reason=_text(run.get("cancelReason")),
        extra=_json(extra or None),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{what} is not an object")
    return value


def _list(answer: dict[str, Any], field: str) -> list[Any]:
    value = answer.get(field, "missing")
    if value is None:
        return []
    if not isinstance(value, list):
        raise AnswerError(f"the answer has no list {field!r}")
    return value


def _rest(value: dict[str, Any], documented: set[str]) -> dict[str, Any]:
    return {name: value[name] for name in value if name not in documented}


def _text(value: Any) -> str | None:
    return str(storable(value)) if isinstance(value, str) else _json(value)


def _json(value: Any) -> str | None:
    try:
        return None if value is None else json_text(value)
    except RecursionError:
        return '"(nested too deeply to be kept)"'


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def _timestamp(value: Any) -> datetime | None:
    try:
        timestamp = parse_timestamp(value)
    except (ValueError, TypeError):
        return None
    return timestamp if timestamp.year > 1 else None  # Go and .NET write year 1 for no time
