from pathlib import Path

import pytest

from komos_source.config import check_api_key, check_base_url
from komos_source.exceptions import ConfigurationError, UsageError
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


@pytest.mark.parametrize(
    "url",
    [
        "http://api.komos.ai",
        "http://127.0.0.1.evil.example",
        "api.komos.ai",
        "https://api.komos.ai/public/v1",
        "https://user:password@api.komos.ai",
        "ftp://api.komos.ai",
        "https://api.komos.ai:port",
        "",
    ],
)
def test_a_base_url_that_would_leak_or_miss_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_base_url(url)


@pytest.mark.parametrize("url", ["https://api.komos.ai", "http://localhost:80", "http://[::1]:1/"])
def test_https_and_loopback_are_accepted(url: str) -> None:
    check_base_url(url)


@pytest.mark.parametrize("key", ["", "  ", "sk_live_a b", "sk_live_a\nX: y", "sk_live_…"])
def test_a_key_no_header_can_carry_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, -1_000_000.0, 1e300])
@pytest.mark.parametrize("name", ["settle_after", "give_up_after"])
def test_check_patience_with_a_number_that_makes_no_sense_names_it(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} must be from 0"):
        check_patience(**{"settle_after": 0.0, "give_up_after": 0.0, name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
def test_check_client_options_with_a_backoff_that_makes_no_sense_names_it(value: float) -> None:
    with pytest.raises(UsageError, match="backoff must be from 0"):
        check_client_options("sk_live_test", "https://api.komos.ai", 8, value)


@pytest.mark.parametrize("value", [0, -1])
def test_check_client_options_without_any_request_at_once_is_refused(value: int) -> None:
    with pytest.raises(UsageError, match="max_concurrency must be from 1"):
        check_client_options("sk_live_test", "https://api.komos.ai", value, 0.5)
