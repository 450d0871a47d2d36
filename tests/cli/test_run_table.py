"""`komos_source.cli.run_table`: the table of runs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from rich.cells import cell_len

from komos_source.api.models import Run, parse_runs
from komos_source.cli.run_table import listed_runs, table_lines, unique_beginnings
from komos_source.testing import FakeKomos

WORLD = FakeKomos()
NOW = WORLD.clock.now()


def run(minutes_ago: float, **fields: Any) -> Run:
    world = FakeKomos(WORLD.clock, seed=round(minutes_ago * 60))
    task = world.add_task("any")
    world.add_run(task, created_at=NOW - timedelta(minutes=minutes_ago), **fields)
    (parsed,), _ = parse_runs(json.dumps({"runs": world.runs(task)}).encode(), task)
    return parsed


def test_listed_runs_are_newest_first_over_all_tasks() -> None:
    new, middle, old = run(1), run(5), run(9)
    found = listed_runs({"a": [middle], "b": [new, old]}, {"a": "Orders"})
    assert [each.run for each in found] == [new, middle, old]
    assert [each.task_name for each in found] == [None, "Orders", None]


def test_listed_run_to_json_parses_json_columns() -> None:
    (listed,) = listed_runs({"a": [run(1, inputs={"account": 7})]}, {})
    row = json.loads(json.dumps(listed.to_json()))
    assert row["inputs"] == {"account": 7}
    assert row["created_at"] == (NOW - timedelta(minutes=1)).isoformat()


def table(runs: list[Run], width: int | None) -> list[str]:
    return table_lines(listed_runs({"t": runs}, {"t": "A long name of a task"}), NOW, width)


def test_table_lines_for_a_program_have_whole_ids_and_durations() -> None:
    ended = run(9, status="FAILED", finished_at=NOW - timedelta(minutes=8))
    header, running, failed = table([run(2), ended], None)
    assert header.split() == ["when", "task", "status", "duration", "trigger", "id"]
    assert "RUNNING  2 min 0 s  schedule" in running
    assert "FAILED   1 min 0 s  schedule" in failed
    assert failed.endswith(ended.id)


def test_table_lines_of_80_cells_shorten_ids_to_unique_beginnings() -> None:
    runs = [run(2), run(3)]
    lines = table(runs, 80)
    assert max(map(cell_len, lines)) <= 80
    assert [line.split()[-1] for line in lines[1:]] == [each.id[:8] for each in runs]
    assert table(runs, 200)[1].endswith(runs[0].id)


def test_table_lines_show_control_characters_as_escapes() -> None:
    hostile = run(1, status="\x1b[2J")
    assert not any("\x1b" in line for line in table([hostile], None))


def test_table_lines_without_runs_are_none() -> None:
    assert table([], 80) == []


def test_unique_beginnings_are_as_long_as_needed() -> None:
    ids = ["12345678-0000-1", "12345678-0000-2", "9999999999"]
    assert unique_beginnings(ids) == [*ids[:2], "99999999"]
