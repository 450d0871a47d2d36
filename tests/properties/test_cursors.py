"""A log that grows in any way is loaded exactly, by any number of looks at it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from komos_source.cursors import RunCursor, is_settled, unseen
from komos_source.entries import RunLog, decode_log

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
START = datetime(2025, 10, 14, tzinfo=UTC)


def read(entries: list[dict[str, Any]]) -> RunLog:
    return decode_log(json.dumps({"runId": RUN, "logEntries": entries}).encode(), RUN, START)


def entry(number: int, second: int | None) -> dict[str, Any]:
    moment = None if second is None else (START + timedelta(seconds=second)).isoformat()
    return {"id": f"e{number}", "timestamp": moment, "message": str(number)}


# A step adds one entry at some place (or an unusable one), and perhaps the log is looked at.
steps = st.lists(
    st.tuples(
        st.integers(0, 20), st.none() | st.integers(0, 5), st.booleans(), st.sampled_from("eeex")
    ),
    max_size=25,
)


@given(steps)
def test_however_a_log_grows_the_rows_emitted_make_up_the_log_with_positions(steps: Any) -> None:
    entries: list[dict[str, Any]] = []
    table: dict[str, dict[str, Any]] = {}
    rejected: set[str] = set()
    cursor: RunCursor | None = None
    for number, (place, second, look, kind) in enumerate([*steps, (0, 0, True, "e")]):
        entries.insert(
            min(place, len(entries)), entry(number, second) if kind == "e" else {"no": number}
        )
        if look:
            log = read(entries)
            rows, refused = unseen(log, cursor)
            table |= {row["id"]: row for row in rows.to_pylist()}
            rejected |= set(refused["id"].to_pylist())
            cursor = RunCursor.from_state(json.loads(json.dumps(RunCursor.of(log).to_state())))
    final = read(entries)
    wanted = {row["id"]: row for row in final.rows.to_pylist()}
    assert table.keys() == wanted.keys()
    assert rejected == set(final.rejected["id"].to_pylist())
    sorted_log = [e for e in entries if e.get("timestamp")]
    if sorted_log == sorted(sorted_log, key=lambda e: e["timestamp"]):
        assert table == wanted  # the API answers in order; then positions are exact too


def test_an_unchanged_log_emits_nothing() -> None:
    log = read([entry(1, 1), entry(2, None), entry(3, 2)])
    rows, rejected = unseen(log, RunCursor.of(log))
    assert len(rows) == len(rejected) == 0


def test_a_tail_is_emitted_without_what_came_before_it() -> None:
    before = [entry(number, number) for number in range(10)]
    rows, _ = unseen(read([*before, entry(10, 10)]), RunCursor.of(read(before)))
    assert rows["id"].to_pylist() == ["e9", "e10"]  # e9 shares the cursor's timestamp


def test_a_late_entry_makes_the_whole_log_be_emitted() -> None:
    before = [entry(number, number) for number in range(10)]
    late = [*before[:3], entry(99, 2), *before[3:]]
    rows, _ = unseen(read(late), RunCursor.of(read(before)))
    assert len(rows) == 11


def test_a_run_settles_by_the_servers_clock_only() -> None:
    ten_minutes = timedelta(minutes=10)
    assert is_settled(START, START + ten_minutes, ten_minutes)
    assert not is_settled(START, START + ten_minutes - timedelta(seconds=1), ten_minutes)
    assert not is_settled(START, None, ten_minutes)
    assert not is_settled(None, START, ten_minutes)
