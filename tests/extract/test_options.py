from pathlib import Path

import pytest

from komos_source.exceptions import UsageError
from komos_source.extract.options import check_selection, read_runs_file

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"


def test_check_selection_with_a_run_id_that_is_no_uuid_names_it() -> None:
    with pytest.raises(UsageError, match="'oops' is not a run id"):
        check_selection(["oops"], None, None)


def test_check_selection_with_a_run_id_in_upper_and_lower_case_keeps_one() -> None:
    assert check_selection([RUN, RUN.upper()], None, None).run_ids == [RUN]


def test_check_selection_with_run_ids_and_task_ids_is_refused() -> None:
    with pytest.raises(UsageError, match="one or the other"):
        check_selection([RUN], ["t"], None)


def test_read_runs_file_ignores_comments_and_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    file.write_text(f"# kept\n\n{RUN}  # the one\n")
    assert read_runs_file(file) == [RUN]


def test_read_runs_file_with_an_invalid_line_names_it(tmp_path: Path) -> None:
    file = tmp_path / "runs.txt"
    file.write_text(f"{RUN}\nnonsense\n")
    with pytest.raises(UsageError, match=r"runs\.txt, line 2: 'nonsense'"):
        read_runs_file(file)


def test_read_runs_file_of_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        read_runs_file(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("task_id", ["", " ", ".", "..", " .. ", "x" * 256, "a\ud800"])
def test_check_selection_refuses_task_ids_that_no_path_can_hold(task_id: str) -> None:
    with pytest.raises(UsageError, match="is not a task id"):
        check_selection(None, [task_id], None)
