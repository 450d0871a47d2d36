"""`komos_source.cli.log_entries`: which entries are new and shown, and when a log is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source import settings
from komos_source.cli.log_entries import (
    EntryFilter,
    LogEntry,
    describe_duration,
    is_over,
    next_wait,
    parse_since,
    unseen_entries,
)
from komos_source.decoding.parse import RunLog, parse_log
from komos_source.exceptions import UsageError

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
NOON = datetime(2025, 10, 14, 12, tzinfo=UTC)


def log(*entries: Any) -> RunLog:
    return parse_log(json.dumps({"runId": RUN, "logEntries": entries}).encode(), RUN, NOON)


def entry(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "timestamp": None, "level": "info", "message": "", "nodeId": None} | fields


def follow(*answers: RunLog) -> list[list[tuple[str, bool]]]:
    """Id and lateness of the new entries of each answer."""
    seen: set[str] = set()
    found = []
    for answer in answers:
        new = unseen_entries(answer, seen)
        seen |= {each.id for each in new}
        found.append([(each.id, each.late) for each in new])
    return found


def test_unseen_entries_of_the_first_answer_are_all_and_none_is_late() -> None:
    assert follow(log(entry("a"), entry("b"))) == [[("a", False), ("b", False)]]


def test_unseen_entries_before_a_seen_one_are_late() -> None:
    later = log(entry("late"), entry("a"), entry("between"), entry("b"), entry("new"))
    assert follow(log(entry("a"), entry("b")), later, later) == [
        [("a", False), ("b", False)],
        [("late", True), ("between", True), ("new", False)],
        [],
    ]


def test_unseen_entries_after_a_shorter_answer_are_not_repeated() -> None:
    whole = log(entry("a"), entry("b"), entry("c"))
    assert follow(whole, log(entry("a")), log(), whole)[1:] == [[], [], []]


def test_unseen_entries_include_rejected_ones_once_and_in_place() -> None:
    odd = log(entry("a"), 7, entry("b", timestamp="soon"), entry("c"))
    first = unseen_entries(odd, set())
    assert [each.position for each in first] == [0, 1, 2, 3]
    assert [each.rejected is not None for each in first] == [False, True, True, False]
    assert first[1].message == "7"
    assert unseen_entries(odd, {each.id for each in first}) == []


def shown(condition: EntryFilter, **fields: Any) -> bool:
    return condition.shows(LogEntry(RUN, "id", 0, **fields))


def test_entry_filter_level_shows_graver_and_undocumented_levels() -> None:
    warnings = EntryFilter(level="warning")
    assert [shown(warnings, level=level) for level in ("info", "warning", "error")] == [0, 1, 1]
    assert shown(warnings, level="fatal")
    assert shown(warnings, level=None)


def test_entry_filter_node_shows_its_entries_and_rejected_ones() -> None:
    login = EntryFilter(nodes=("login", "pay"))
    assert shown(login, node_id="pay")
    assert not shown(login, node_id="search")
    assert not shown(login, node_id=None)
    assert shown(login, rejected="'id' is missing")


def test_entry_filter_since_shows_later_entries_and_those_without_a_time() -> None:
    since = EntryFilter(since=NOON)
    assert shown(since, timestamp=NOON)
    assert not shown(since, timestamp=NOON - timedelta(microseconds=1))
    assert shown(since, timestamp=None)


def test_parse_since_reads_times_and_durations() -> None:
    assert parse_since("15m") == timedelta(minutes=15)
    assert parse_since("2025-10-14") == datetime(2025, 10, 14, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "15", "-3m", "9999999999d", "999999999d"])
def test_parse_since_of_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="neither"):
        parse_since(text)


def test_next_wait_grows_to_a_limit_while_nothing_is_new_and_starts_again() -> None:
    waits = [next_wait(None, found_new=False)]
    for _ in range(20):
        waits.append(next_wait(waits[-1], found_new=False))
    assert waits[0] == settings.LOG_WAIT
    assert waits == sorted(waits)
    assert waits[-1] == settings.LOG_MAX_WAIT
    assert next_wait(waits[-1], found_new=True) == settings.LOG_WAIT


QUIET = timedelta(seconds=settings.LOG_QUIET)
NO_TIME = timedelta(0)


def test_is_over_needs_an_ended_run_and_a_quiet_log() -> None:
    assert not is_over(None, None, NOON, 100 * QUIET)
    assert not is_over(NOON, None, NOON, NO_TIME)
    assert is_over(NOON, None, NOON + QUIET, NO_TIME)
    assert not is_over(NOON, NOON + QUIET, NOON + QUIET, NO_TIME)
    assert is_over(NOON, NOON + QUIET, NOON + 2 * QUIET, NO_TIME)


def test_is_over_by_this_clock_if_that_of_the_server_stands_still() -> None:
    assert is_over(NOON, NOON, NOON, QUIET)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_describe_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert describe_duration(timedelta(seconds=seconds)) == text


def test_unseen_entries_that_are_rejected_can_be_late() -> None:
    first = log(entry("a"), entry("b"))
    (new,) = unseen_entries(log(entry("a"), 7, entry("b")), {"a", "b"})
    assert unseen_entries(first, {"a", "b"}) == []
    assert (new.rejected, new.late) == ("the entry is not an object", True)
