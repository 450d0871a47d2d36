"""However a log grows and is answered, each of its entries is emitted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.decoding.parse import RunLog, parse_log
from komos_source.extract.cursor import (
    RunCursor,
    is_complete,
    next_cursor,
    unseen,
)

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
START = datetime(2025, 10, 14, tzinfo=UTC)


def log_of(entries: list[dict[str, Any]]) -> RunLog:
    return parse_log(json.dumps({"runId": RUN, "logEntries": entries}).encode(), RUN, START)


def entry(number: int, second: int | None) -> dict[str, Any]:
    timestamp = None if second is None else f"{START + timedelta(seconds=second):%FT%TZ}"
    return {"id": str(number), "timestamp": timestamp, "message": str(number)}


def cursor_of(entries: list[dict[str, Any]]) -> RunCursor:
    return RunCursor.of(log_of(entries))


class Loader:
    """Reads answers one after another, as loads do, and keeps what they emit."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.rejected: set[str] = set()
        self.cursor: RunCursor | None = None

    def load(self, entries: list[dict[str, Any]]) -> None:
        log, known = log_of(entries), self.cursor
        rows, rejected = unseen(log, known)
        self.rows |= {row["id"]: row for row in rows.to_pylist()}
        self.rejected |= set(rejected["id"].to_pylist())
        cursor = next_cursor(log, known)
        assert known is None or cursor.entry_count >= known.entry_count
        assert not len(unseen(log, cursor)[0]) or cursor.reread
        self.cursor = RunCursor.from_state(json.loads(json.dumps(cursor.to_state())))
        assert self.cursor == cursor


# A step adds an entry at some position, perhaps an unusable one. Then the log may be read: as it is
# now, or from a replica that has an earlier state of it, whole or only its beginning.
added = st.tuples(st.integers(0, 20), st.none() | st.integers(0, 5), st.sampled_from("eeex"))
whole_answer = st.just((0, 30))
any_answer = st.tuples(st.integers(0, 4), st.integers(0, 30))


def grow(loader: Loader, steps: Any) -> list[dict[str, Any]]:
    states: list[list[dict[str, Any]]] = [[]]
    for number, ((position, second, kind), answer) in enumerate(steps):
        new = entry(number, second) if kind == "e" else {"no": number}
        states.append([*states[-1][:position], new, *states[-1][position:]])
        if answer is not None:
            steps_back, length = answer
            loader.load(states[max(0, len(states) - 1 - steps_back)][:length])
    loader.load(states[-1])
    return states[-1]


def assert_loaded(loader: Loader, entries: list[dict[str, Any]]) -> None:
    log = log_of(entries)
    expected = {row["id"]: row for row in log.rows.to_pylist()}
    assert loader.rows.keys() == expected.keys()
    assert loader.rejected == set(log.rejected["id"].to_pylist())
    timestamps = [each["timestamp"] for each in entries if each.get("timestamp")]
    if timestamps == sorted(timestamps):  # as the API documents: then positions are right, too
        assert loader.rows == expected


@given(st.lists(st.tuples(added, st.none() | whole_answer), max_size=25))
def test_unseen_log_that_grows_anywhere_is_emitted_exactly(steps: Any) -> None:
    loader = Loader()
    assert_loaded(loader, grow(loader, steps))


@given(st.lists(st.tuples(added, st.none() | whole_answer | any_answer), max_size=25))
def test_unseen_log_answered_by_lagging_replicas_is_emitted_exactly(steps: Any) -> None:
    loader = Loader()
    assert_loaded(loader, grow(loader, steps))


def test_run_cursor_of_docstring_example() -> None:
    entries = [entry(n, second) for n, second in enumerate([0, 60, None, 120, 120])]
    assert cursor_of(entries) == RunCursor(5, START + timedelta(seconds=120), 2, 2)


def test_unseen_unchanged_log_emits_nothing() -> None:
    entries = [entry(1, 1), entry(2, None), entry(3, 2), {"no": "id"}]
    rows, rejected = unseen(log_of(entries), cursor_of(entries))
    assert len(rows) == len(rejected) == 0


def test_unseen_grown_log_emits_its_tail() -> None:
    before = [entry(number, number) for number in range(10)]
    rows, _ = unseen(log_of([*before, entry(10, 10)]), cursor_of(before))
    assert rows["id"].to_pylist() == ["9", "10"]  # entry 9 has the cursor's timestamp


@pytest.mark.parametrize("second", [2, None])
def test_unseen_late_entry_emits_the_whole_log(second: int | None) -> None:
    before = [entry(number, number) for number in range(10)]
    rows, _ = unseen(log_of([*before[:3], entry(99, second), *before[3:]]), cursor_of(before))
    assert len(rows) == 11


def test_unseen_other_entries_of_the_same_count_are_emitted() -> None:
    before = [entry(1, 5), entry(2, None), entry(3, None)]
    after = [entry(1, 5), entry(4, 6), entry(5, 7)]
    rows, _ = unseen(log_of(after), cursor_of(before))
    assert {"4", "5"} <= set(rows["id"].to_pylist())


def test_unseen_answer_without_the_newest_known_entry_is_emitted_whole() -> None:
    loader = Loader()
    known, late = [entry(n, n) for n in (5, 6, 9)], [entry(1, 1), entry(2, 2), entry(3, None)]
    for entries in (known, late, late + known):
        loader.load(entries)
    assert_loaded(loader, late + known)


def test_next_cursor_shorter_answer_keeps_the_count_and_rereads_the_next_answer() -> None:
    full = [entry(number, number) for number in range(120)]
    known = cursor_of(full[:100])
    kept = next_cursor(log_of(full[:60]), known)
    assert not is_complete(log_of(full[:60]), known)
    assert not is_complete(log_of(full[:99]), kept)
    assert kept.entry_count == 100
    assert len(unseen(log_of(full), kept)[0]) == 120
    assert next_cursor(log_of(full), kept) == cursor_of(full)
