"""`komos_source.load_result`: one table of outcomes and exit codes."""

from __future__ import annotations

import pytest

from komos_source import exceptions
from komos_source.load_result import (
    ExitCode,
    LoadResult,
    exit_code_of_error,
    exit_code_of_run,
    exit_code_of_status,
)

OTHER_ERRORS = [
    error
    for error in vars(exceptions).values()
    if isinstance(error, type) and error is not exceptions.UsageError
]


def test_exit_code_of_status_is_distinct_per_status() -> None:
    assert exit_code_of_status("ok") == ExitCode.DONE == 0
    assert exit_code_of_status("failed") == ExitCode.FAILED == 1
    assert exit_code_of_status("partial") == ExitCode.PARTIAL == 3


def test_exit_code_of_error_is_2_for_usage_and_130_for_interrupts() -> None:
    assert exit_code_of_error(exceptions.UsageError("no")) == ExitCode.USAGE == 2
    assert exit_code_of_error(KeyboardInterrupt()) == ExitCode.INTERRUPTED == 130


def test_exit_code_of_error_is_141_for_a_closed_output() -> None:
    assert exit_code_of_error(BrokenPipeError()) == ExitCode.OUTPUT_CLOSED == 141


def test_exit_code_of_run_is_4_if_it_failed_or_was_cancelled() -> None:
    statuses = ("FAILED", "CANCELLED", "COMPLETED", "RUNNING", None)
    assert [exit_code_of_run(status) for status in statuses] == [4, 4, 0, 0, 0]


@pytest.mark.parametrize("error", [e for e in OTHER_ERRORS if issubclass(e, exceptions.KomosError)])
def test_exit_code_of_any_other_error_is_1(error: type[Exception]) -> None:
    assert exit_code_of_error(error("no")) == ExitCode.FAILED


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        ({}, "ok", 0),
        ({"failures": {"run": "500"}}, "partial", 3),
        ({"problems": ["no view"]}, "partial", 3),
        ({"problems": ["tasks cannot be listed"], "requests": 5, "runs_seen": 0}, "failed", 1),
    ],
)
def test_load_result_has_the_exit_code_of_its_status(
    outcome: dict[str, object], status: str, code: int
) -> None:
    counts = ("runs_seen", "runs_fetched", "entries_loaded", "entries_rejected", "runs_failed")
    counts += ("window_gaps", "requests")
    result = LoadResult(**{**dict.fromkeys(counts, 1), "seconds": 0.1, **outcome})
    assert (result.status, result.exit_code) == (status, code)
