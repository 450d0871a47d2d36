import math
from pathlib import Path
from typing import Any

import pytest

from komos_source.exceptions import UsageError
from komos_source.extract.options import (
    check_client_options,
    check_patience,
    check_selection,
    read_runs_file,
)

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"


def test_a_run_id_that_is_no_uuid_is_named() -> None:
    with pytest.raises(UsageError, match="'oops' is not a run id"):
        check_selection(["oops"], None, None)


def test_a_run_given_twice_is_loaded_once_however_it_is_spelt() -> None:
    assert check_selection([RUN, RUN.upper()], None, None).run_ids == [RUN]


def test_run_ids_and_task_ids_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="one or the other"):
        check_selection([RUN], ["t"], None)


def test_a_runs_file_may_have_comments_and_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    file.write_text(f"# kept\n\n{RUN}  # the one\n")
    assert read_runs_file(file) == [RUN]


def test_a_bad_line_of_a_runs_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    file.write_text(f"{RUN}\nnonsense\n")
    with pytest.raises(UsageError, match=r"runs\.txt, line 2: 'nonsense'"):
        read_runs_file(file)


def test_a_missing_runs_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        read_runs_file(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("task_id", ["", " ", ".", "..", " .. ", "x" * 256, "a\ud800"])
def test_check_selection_refuses_task_ids_that_no_path_can_hold(task_id: str) -> None:
    with pytest.raises(UsageError, match="is not a task id"):
        check_selection(None, [task_id], None)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_concurrency", 0),
        ("max_concurrency", math.inf),
        ("backoff", math.nan),
        ("backoff", -1.0),
        ("max_body", 0),
        ("max_body", math.inf),
    ],
)
def test_check_client_options_refuses_numbers_out_of_range(option: str, value: Any) -> None:
    options: Any = {"max_concurrency": 1, "backoff": 1.0, "max_body": 1, option: value}
    with pytest.raises(UsageError, match=f"{option} must be from"):
        check_client_options("sk_live_test", "https://api.komos.ai", **options)


def test_check_client_options_returns_the_normalised_url() -> None:
    options = check_client_options("sk_live_test", "HTTPS://api.komos.ai/", 1, 1.0, 1)
    assert options["base_url"] == "https://api.komos.ai"


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, -1_000_000.0, 1e300])
@pytest.mark.parametrize("name", ["settle_after", "give_up_after"])
def test_check_patience_refuses_numbers_out_of_range(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} must be from 0"):
        check_patience(**{"settle_after": 0.0, "give_up_after": 0.0, name: value})
