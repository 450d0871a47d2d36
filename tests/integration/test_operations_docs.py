"""The tables, queries and examples in docs/operations.md, health.md and scheduling.md."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from komos_source.analytics import checks
from komos_source.tables import KOMOS_LOADS
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
SCHEDULING = (DOCS / "scheduling.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def section(title: str) -> str:
    return OPERATIONS.split(f"## {title}\n")[1].split("\n## ")[0]


def test_operations_documents_each_column_of_komos_loads() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("komos_loads"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == KOMOS_LOADS.schema.names


def test_health_documents_each_check() -> None:
    page = (DOCS / "health.md").read_text("utf-8")
    parts = {part.partition("\n")[0]: part for part in page.split("\n## ")}
    documented = re.findall(r"^\| `(\w+)` \|", parts["The checks"], re.MULTILINE)
    assert documented == [*checks.CHECKS]


def test_queries_of_operations_run(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    home.load()
    (queries,) = blocks(OPERATIONS, "sql")
    last_load, last_day, problems = (home.rows(each) for each in queries.split(";") if each.strip())
    assert [name for name, _ in last_load] == ["komos_task_run_logs"]
    assert [row[:3] for row in last_day] == [(0, 1, 2)]
    assert problems == []


def test_examples_of_scheduling_can_be_parsed() -> None:
    for workflow in blocks(SCHEDULING, "yaml"):
        assert yaml.safe_load(workflow)["jobs"]
