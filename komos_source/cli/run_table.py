"""The table of runs that `komos runs` prints. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size

from komos_source.api.models import Run
from komos_source.cli.log_entries import describe_duration
from komos_source.tables import TASK_RUNS
from komos_source.text import printable

_HEADER = ("when", "task", "status", "duration", "trigger", "id")
_TASK = 1
_LEAST_TASK = 12
"""Cells of a task's name at least, however narrow the terminal is."""
_LEAST_ID = 8
"""Characters of an id that is shortened at least."""

_JSON = {column.name for column in TASK_RUNS.columns if column.data_type == "json"}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run and the name of its task; None if it is not known."""

    run: Run
    task_name: str | None

    def to_json(self) -> dict[str, Any]:
        """The run as one JSON object."""
        row = {"task_name": self.task_name, **asdict(self.run)}
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.isoformat()
            elif value is not None and name in _JSON:
                row[name] = json.loads(value)
        return row


def listed_runs(
    listed: Mapping[str, Iterable[Run]], task_names: Mapping[str, str | None]
) -> list[ListedRun]:
    """All listed runs, newest first; a run without a time of creation is last.

    Args:
        listed: The runs in each task's list, by task id.
        task_names: Names by task id.
    """
    runs = [ListedRun(run, task_names.get(id_)) for id_, each in listed.items() for run in each]
    return sorted(
        runs,
        key=lambda each: each.run.created_at.timestamp() if each.run.created_at else 0.0,
        reverse=True,
    )


def table_lines(runs: Sequence[ListedRun], now: datetime, width: int | None) -> list[str]:
    """The lines of the table, with a header; none if there are no runs.

    Args:
        runs: The rows.
        now: When the runs were listed; one that goes on has run until then.
        width: Cells of the terminal: ids are shortened and task names cut off to fit; None for a
            file or a program.
    """
    if not runs:
        return []
    ids = [each.run.id for each in runs]
    lines = _aligned([_cells(each, id_, now) for each, id_ in zip(runs, ids, strict=True)], width)
    if width is not None and max(map(cell_len, lines)) > width:
        shorter = unique_beginnings(ids)
        rows = [_cells(each, id_, now) for each, id_ in zip(runs, shorter, strict=True)]
        lines = _aligned(rows, width)
    return lines


def unique_beginnings(ids: Sequence[str]) -> list[str]:
    """The shortest beginning of each id, of at least 8 characters, that no other begins with."""
    ordered = sorted(set(ids))
    common: dict[str, int] = dict.fromkeys(ordered, 0)
    for one, other in itertools.pairwise(ordered):
        shared = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        common[one], common[other] = max(common[one], shared), max(common[other], shared)
    return [id_[: max(_LEAST_ID, common[id_] + 1)] for id_ in ids]


def _cells(each: ListedRun, id_: str, now: datetime) -> tuple[str, ...]:
    run = each.run
    when = run.created_at.astimezone().isoformat(" ", "minutes")[:16] if run.created_at else "-"
    duration = "-"
    if run.started_at and (run.finished_at or not run.is_terminal):
        duration = describe_duration((run.finished_at or now) - run.started_at)
    cells = (when, each.task_name or run.task_id, run.status, duration, run.trigger_type, id_)
    return tuple(printable(cell or "-") for cell in cells)


def _aligned(rows: Sequence[tuple[str, ...]], width: int | None) -> list[str]:
    table = [_HEADER, *rows]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(_HEADER))]
    if width is not None:
        others = sum(widths) - widths[_TASK] + 2 * (len(widths) - 1)
        widths[_TASK] = min(widths[_TASK], max(_LEAST_TASK, width - others))
    return ["  ".join(map(_fit, row, widths)).rstrip() for row in table]


def _fit(cell: str, width: int) -> str:
    return set_cell_size(
        cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…", width
    )
