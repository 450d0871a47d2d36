"""`komos.toml`: which findings are known, until when, and what is wrong with a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from komos_source.analytics.checks import Finding, run_checks
from komos_source.analytics.known_problems import KnownProblem, match, read_known_problems
from komos_source.exceptions import ConfigurationError

_NOW = datetime(2025, 10, 14, 12, tzinfo=UTC)
_FINDING = Finding("regressions", "t-1/login", "fails", "", "t-1", "Order sync", "login")


@pytest.mark.parametrize(
    ("patterns", "is_known"),
    [
        ({}, True),
        ({"check": "regressions", "task": "Order *", "node": "log?n"}, True),
        ({"task": "t-1"}, True),
        ({"check": "volume"}, False),
        ({"task": "order sync"}, False),
        ({"node": "logout"}, False),
    ],
)
def test_match_compares_check_task_and_node(patterns: dict[str, str], is_known: bool) -> None:
    problem = KnownProblem("redesign", _NOW + timedelta(days=1), **patterns)
    assert match(_FINDING, [problem], _NOW) == (problem if is_known else None)


def test_match_ends_with_the_end_of_the_problem() -> None:
    assert match(_FINDING, [KnownProblem("redesign", _NOW)], _NOW) is None


def test_read_known_problems_returns_the_entries_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "komos.toml"
    assert read_known_problems(file) == []
    file.write_text(
        '[[known_problem]]\ntask = "Order sync"\nreason = "redesign"\nuntil = 2025-12-24\n'
        '[[known_problem]]\nreason = "all"\nuntil = 2025-10-15T08:00:00+02:00\n'
    )
    first, second = read_known_problems(file)
    assert first == KnownProblem("redesign", datetime(2025, 12, 24, tzinfo=UTC), task="Order sync")
    assert second.until == datetime(2025, 10, 15, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[known_problem]]\nuntil = 2025-12-24", "reason is missing"),
        ('[[known_problem]]\nreason = "x"', "until is missing"),
        ('[[known_problem]]\nreason = "x"\nuntil = "soon"', "until is missing or wrong"),
        ('[[known_problem]]\nreason = ""\nuntil = 2025-12-24', "reason must be a text"),
        ('[[known_problem]]\nreason = "x"\nuntil = 2025-12-24\nnodes = "a"', "has 'nodes'"),
        ('[known]\nreason = "x"', r"it holds tables \[\[known_problem\]\] only"),
        ("[[known_problem]]\nreason = x", "line 2"),
    ],
)
def test_read_known_problems_refuses_a_wrong_file_with_what_to_do(
    content: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "komos.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_known_problems(file)


def test_run_checks_refuses_a_known_problem_of_a_check_that_does_not_exist() -> None:
    problem = KnownProblem("reason", datetime(2030, 1, 1, tzinfo=UTC), check="silent_task")
    with pytest.raises(ConfigurationError, match="'silent_task', which does not exist; there are"):
        run_checks(None, known=[problem])  # type: ignore[arg-type] # is not read
