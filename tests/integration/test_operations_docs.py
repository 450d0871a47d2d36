"""What `docs/operations.md` shows is what is there."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import yaml

from komos_source.analytics import checks
from komos_source.tables import KOMOS_LOADS
from komos_source.testing import FakeKomos
from tests.conftest import LoadEnv

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_column_of_komos_loads_is_described() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Reading `komos_loads`"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == KOMOS_LOADS.schema.names


def test_every_question_is_described() -> None:
    asked = re.findall(r"^\| `(\w+)` \|", section("Data-quality checks"), re.MULTILINE)
    assert asked == [*checks.CHECKS]


def test_the_queries_run(home: LoadEnv, world: FakeKomos) -> None:
    world.append(world.add_run(world.add_task("Orders")), {}, {})
    home.load()
    (queries,) = blocks("sql")
    last_load, last_day, problems = (home.rows(each) for each in queries.split(";") if each.strip())
    assert [name for name, _ in last_load] == ["komos_task_run_logs"]
    assert [row[:3] for row in last_day] == [(0, 1, 2)]
    assert problems == []


def test_the_examples_can_be_parsed() -> None:
    for unit in blocks("ini"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(unit)
        assert parser.sections()
    for workflow in blocks("yaml"):
        assert yaml.safe_load(workflow)["jobs"]
    for program in blocks("python"):
        compile(program, "operations.md", "exec")
