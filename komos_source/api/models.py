"""The API's other answers as typed values. Pure; lenient where the API's documentation is vague."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dlt.common.json import json as dlt_json

from komos_source.decoding.sanitize import json_text, storable
from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.settings import TERMINAL_STATUSES
from komos_source.timestamps import parse_timestamp


@dataclass(frozen=True, slots=True)
class Run:
    """A task run as `schemas.TASK_RUNS` keeps it; JSON columns hold their text."""

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

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, so that only late entries can still join its log."""
        return self.status in TERMINAL_STATUSES

    def to_row(self) -> dict[str, Any]:
        """The run as a row of ``task_runs``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the organisation's tasks, each as the API shows it.

    Attributes:
        tasks: The tasks; each has a non-empty string ``id``.
        total: How many there are on all pages; None if the API did not say.
    """

    tasks: list[dict[str, Any]]
    total: int | None


def parse_json(body: bytes | bytearray) -> Any:
    """Decodes a body; raises `NotJsonError` if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(
            f"the answer is not JSON ({error}); it begins {bytes(body[:60])!r}"
        ) from error


def parse_task_page(body: bytes | bytearray) -> TaskPage:
    """Reads the answer to ``GET /tasks``."""
    answer = _object(parse_json(body), "the answer")
    tasks = [_loadable(_object(task, "a task")) for task in _list(answer, "tasks")]
    for task in tasks:
        if not isinstance(task.get("id"), str) or not task["id"]:
            raise AnswerError(f"a task has no usable id: {task.get('id')!r}")
    return TaskPage(tasks, _integer(answer.get("total")))


def _loadable(task: dict[str, Any]) -> dict[str, Any]:
    """A task with text in place of what dlt would fail at."""
    return {storable(name): _loadable_value(value) for name, value in task.items()}


def _loadable_value(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    try:
        value = storable(value)
        try:
            dlt_json.dumps(value)
        except (TypeError, ValueError):  # numbers beyond 64 bits, or deep within
            return json_text(value)
        return value
    except RecursionError:
        return "(nested too deeply to be kept)"


def parse_runs(body: bytes | bytearray, task_id: str) -> list[Run]:
    """Reads the answer to ``GET /tasks/{task_id}/runs``: newest first, at most 50."""
    runs = _list(_object(parse_json(body), "the answer"), "runs")
    return [_run(run, task_id) for run in runs]


def parse_run(body: bytes | bytearray, run_id: str) -> Run:
    """Reads the answer to ``GET /task-runs/{run_id}``."""
    run = _run(_object(parse_json(body), "the answer").get("run"), None)
    if run.id != run_id.lower():
        raise AnswerError(f"the answer is another run: its id is {run.id!r}")
    return run


def parse_detail(body: bytes | bytearray) -> str:
    """What an error answer says: its ``detail``, or the beginning of whatever it holds."""
    try:
        detail = parse_json(body)["detail"]
    except (NotJsonError, KeyError, TypeError, IndexError):
        detail = body[:200].decode(errors="replace").strip()
    return detail if isinstance(detail, str) else json.dumps(detail)


def detail_text(body: bytes | bytearray) -> str | None:
    """The text in ``detail`` of an error answer; None if there is none."""
    try:
        detail = parse_json(body)["detail"]
    except (NotJsonError, KeyError, TypeError, IndexError):
        return None
    return detail if isinstance(detail, str) else None


def _run(value: Any, task_id: str | None) -> Run:
    run = _object(value, "a run")
    identity: Any = run.get("id")
    try:
        run_id = str(UUID(identity))  # one spelling for each run, however it was found
    except (ValueError, AttributeError, TypeError) as error:
        raise AnswerError(f"a run has no usable id: {identity!r}") from error
    timestamps = run.get("timestamps")
    timestamps = timestamps if isinstance(timestamps, dict) else {}
    progress = run.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    return Run(
        id=run_id,
        task_id=_text(run.get("taskId")) or task_id,
        status=_text(run.get("status")),
        trigger_type=_text(run.get("triggerType")),
        created_at=_moment(timestamps.get("createdAt")),
        started_at=_moment(timestamps.get("startedAt")),
        finished_at=_moment(timestamps.get("finishedAt")),
        progress_current_step=_integer(progress.get("currentStep")),
        progress_steps_total=_integer(progress.get("stepsTotal")),
        inputs=_json(run.get("inputs")),
        outputs=_json(run.get("outputs")),
        logs_url=_text(run.get("logsUrl")),
        error=_json(run.get("error")),
        cancel_reason=_text(run.get("cancelReason")),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{what} is not an object")
    return value


def _list(answer: dict[str, Any], field: str) -> list[Any]:
    value = answer.get(field)
    if not isinstance(value, list):
        raise AnswerError(f"the answer has no list {field!r}")
    return value


def _text(value: Any) -> str | None:
    return str(storable(value)) if isinstance(value, str) else _json(value)


def _json(value: Any) -> str | None:
    return None if value is None else json_text(value)


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    try:
        moment = parse_timestamp(value)
    except (ValueError, TypeError):
        return None
    return moment if moment.year > 1 else None  # Go and .NET write year 1 for no time
