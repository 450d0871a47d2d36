"""A log that grows in any way is loaded exactly, by any number of looks at it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from komos_source.decoding.parse import Body, RunLog, parse_body
from komos_source.extract.cursor import RunCursor, advanced, is_settled, unseen

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
START = datetime(2025, 10, 14, tzinfo=UTC)


def read(entries: list[dict[str, Any]], cursor: RunCursor | None = None) -> RunLog:
    text = json.dumps({"runId": RUN, "logEntries": entries}, separators=(",", ":")).encode()
    return parse_body(Body(text, RUN, START, cursor.head if cursor else None))


def entry(number: int, second: int | None) -> dict[str, Any]:
    moment = None if second is None else f"{START + timedelta(seconds=second):%FT%TZ}"
    return {"id": identity(number), "timestamp": moment, "message": str(number)}


def identity(number: int) -> str:
    return str(UUID(int=number))


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
            rows, refused, advance = advanced(read(entries, cursor), cursor)
            table |= {row["id"]: row for row in rows.to_pylist()}
            rejected |= set(refused["id"].to_pylist())
            cursor = RunCursor.from_state(json.loads(json.dumps(advance.to_state())))
            assert cursor == RunCursor.of(read(entries))
    final = read(entries)
    wanted = {row["id"]: row for row in final.rows.to_pylist()}
    assert table.keys() == wanted.keys()
    assert rejected == set(final.rejected["id"].to_pylist())
    sorted_log = [e for e in entries if e.get("timestamp")]
    if sorted_log == sorted(sorted_log, key=lambda e: e["timestamp"]):
        assert table == wanted  # the API answers in order; then positions are exact too


@given(st.lists(st.none() | st.integers(0, 3), max_size=8), st.integers(0, 8))
def test_the_cursor_of_a_log_is_that_of_its_beginning_followed_by_that_of_the_rest(
    seconds: list[int | None], place: int
) -> None:
    entries = [entry(number, second) for number, second in enumerate(seconds)]
    first = RunCursor.of(read(entries[:place]))
    rest = read(entries, first)
    assert rest.continues
    assert first.followed_by(RunCursor.of(rest)) == RunCursor.of(read(entries))


def test_a_cursor_of_an_earlier_version_is_understood() -> None:
    state = RunCursor.of(read([entry(1, 1)])).to_state()
    old = {name: state[name] for name in ("entry_count", "last_timestamp", "before", "span")}
    assert RunCursor.from_state(old).last_timestamp == START + timedelta(seconds=1)


def test_an_unchanged_log_emits_nothing() -> None:
    log = read([entry(1, 1), entry(2, None), entry(3, 2)])
    rows, rejected = unseen(log, RunCursor.of(log))
    assert len(rows) == len(rejected) == 0


def test_a_tail_is_emitted_without_what_came_before_it() -> None:
    before = [entry(number, number) for number in range(10)]
    rows, _ = unseen(read([*before, entry(10, 10)]), RunCursor.of(read(before)))
    assert rows["id"].to_pylist() == [
        identity(9),
        identity(10),
    ]  # the first shares the cursor's timestamp


def test_a_late_entry_makes_the_whole_log_be_emitted() -> None:
    before = [entry(number, number) for number in range(10)]
    late = [*before[:3], entry(99, 2), *before[3:]]
    rows, _ = unseen(read(late), RunCursor.of(read(before)))
    assert len(rows) == 11


def test_is_settled_needs_both_clocks() -> None:
    ten_minutes = timedelta(minutes=10)
    late = START + ten_minutes
    assert is_settled(START, late, late, ten_minutes)
    assert not is_settled(START, late - timedelta(seconds=1), late, ten_minutes)
    assert not is_settled(START, late, late - timedelta(seconds=1), ten_minutes)
    assert not is_settled(START, None, late, ten_minutes)
    assert not is_settled(None, late, late, ten_minutes)
