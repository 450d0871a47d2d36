"""Both decoders agree, and no entry of a log is lost."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from komos_source.decoding.documented import read_documented
from komos_source.decoding.lenient import read_leniently
from komos_source.exceptions import AnswerError, NotJsonError
from komos_source.tables import TASK_RUN_LOGS
from tests.decoding.logs import RUN, SEEN_AT, body_of, body_of_text, parse

iso_timestamps = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 30)).map(
    lambda time: time.isoformat() + "Z"
)
two_digits = st.integers(0, 61).map("{:02}".format)
timestamp_spellings = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["2025-10-14", "2025-12-31", "0000-01-01", "0001-01-01", "0002-12-31"])
        | st.sampled_from(
            ["0001-12-31", "9999-12-31", "20251014", "2025-287", "2025-W42-2", "2025-10", ""]
        ),
        st.sampled_from(["T", " ", "t", ""]),
        st.sampled_from(["18", "00", "23", "24", ""]),
        two_digits.map(":{}".format) | st.just(""),
        two_digits.map(":{}".format) | st.just(""),
        st.sampled_from(["", ".", ".5", ".489", ".123456", ".1234567", ",5"]),
        st.sampled_from(["", "Z", "z", "+02:00", "-0930", "+14", "+24:00", "-00:00", " UTC"]),
    ),
)
timestamps = st.none() | iso_timestamps | timestamp_spellings | st.text(max_size=8)
ids = (
    st.uuids().map(str)
    | st.sampled_from("abc")
    | st.builds(
        lambda letter, length: letter * length, st.sampled_from("xü"), st.integers(254, 257)
    )
)
texts = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(
    ["\0", "a\0", "\ud83d", "\\u0000", "NaN", "{}"]
)
fields = {
    "timestamp": timestamps,
    "level": st.none() | st.sampled_from(["info", "warning", "error", "fatal"]),
    "message": st.none() | texts,
    "nodeId": st.none() | st.text(max_size=5),
}
documented_entries = st.fixed_dictionaries(
    {"id": st.uuids().map(str), "timestamp": st.none() | st.just("2025-10-14T18:22:03.489Z")},
    optional={"level": st.just("info"), "message": st.text(st.characters(codec="utf-8"))},
)
entries = st.fixed_dictionaries({"id": ids}, optional=fields)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
unusual_entries = values | st.dictionaries(st.sampled_from(["id", "new", *fields]), values)
logs = st.lists(entries | unusual_entries, max_size=8)
tokens = b'null {} [1] } ] , " \\ \\ud800 \xff \n 1e999 \0 \xef\xbb\xbf'.split(b" ")
damages = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 9), st.sampled_from(tokens)), max_size=4
)


@given(st.lists(entries, max_size=8), damages)
def test_read_documented_rows_are_those_of_read_leniently(
    entries: list[Any], damages: list[tuple[int, int, bytes]]
) -> None:
    body = body_of(entries)
    for start, length, token in damages:
        body = body[:start] + token + body[start + length :]
    rows = read_documented(body, RUN)
    if rows is not None:
        count, lenient_rows, rejected = read_leniently(body, RUN, SEEN_AT)
        assert rows.equals(lenient_rows)
        assert (count, len(rejected)) == (len(rows), 0)


@given(timestamps)
@example("0001-12-31T23:00:00-05:00")
def test_read_documented_timestamp_is_that_of_read_leniently(timestamp: str | None) -> None:
    body = body_of([{"id": "a", "timestamp": timestamp}])
    rows = read_documented(body, RUN)
    if rows is not None:
        assert rows.equals(read_leniently(body, RUN, SEEN_AT)[1])


@given(st.lists(documented_entries, max_size=5, unique_by=lambda entry: entry["id"]))
def test_read_documented_log_as_documented_is_accepted(entries: list[Any]) -> None:
    holds_nul = any("\0" in entry.get("message", "") for entry in entries)
    assert (read_documented(body_of(entries), RUN) is None) == holds_nul


@given(logs)
def test_parse_log_every_entry_is_a_row_or_rejected_with_its_json(entries: list[Any]) -> None:
    log = parse(body_of(entries))
    positions = log.rows["position"].to_pylist() + log.rejected["position"].to_pylist()
    assert log.entries == len(entries)
    spelled = [json.dumps(entry, sort_keys=True) for entry in json.loads(json.dumps(entries))]
    for position in set(range(len(entries))) - set(positions):  # only repetitions are left out
        assert spelled[position] in spelled[:position]
    for rejected in log.rejected.to_pylist():
        assert rejected["raw"] == json.dumps(entries[rejected["position"]])
        assert rejected["reason"]


@given(st.lists(entries, max_size=4), unusual_entries, st.integers(0, 4))
def test_parse_log_unusual_entry_changes_no_other(
    entries: list[Any], unusual: Any, position: int
) -> None:
    if isinstance(unusual, dict):
        unusual = {**unusual, "id": "of the unusual one only"}
    before = parse(body_of(entries))
    after = parse(body_of([*entries[:position], unusual, *entries[position:]]))
    others = [row for row in after.rows.to_pylist() if row["id"] != "of the unusual one only"]
    columns = [name for name in TASK_RUN_LOGS.schema.names if name != "position"]
    assert [{name: row[name] for name in columns} for row in others] == before.rows.select(
        columns
    ).to_pylist()


@given(st.binary(max_size=60))
def test_parse_log_any_bytes_raise_documented_errors_only(body: bytes) -> None:
    with pytest.raises(AnswerError):  # NotJsonError is one
        parse(body)


@given(st.integers(min_value=0))
def test_parse_log_truncated_body_raises_not_json_error(length: int) -> None:
    body = body_of([{"id": "a"}, {"id": "b", "message": "ü"}])
    with pytest.raises(NotJsonError):
        parse(body[: length % len(body)])


def test_parse_log_two_answers_in_one_body_raise_not_json_error() -> None:
    with pytest.raises(NotJsonError):
        parse(body_of([{"id": "a"}]) + body_of([{"id": "b"}]))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b" null",
        b'{"runId":"%s"}' % RUN.encode(),
        b'{"runId":"%s","logEntries":{}}' % RUN.encode(),
        b'{"runId":"x","logEntries":[]}',
        b'{"runId":"x","logEntries":null}',
        b'{"logEntries":null}',
    ],
)
def test_parse_log_other_shape_or_run_raises_answer_error(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse(body)


def test_parse_log_body_nested_too_deeply_raises_answer_error() -> None:
    nested = "[" * 100_000 + "]" * 100_000
    with pytest.raises(AnswerError, match="nested too deeply"):
        parse(body_of_text(f'{{"id":"a","new":{nested}}}'))


def test_parse_log_null_entries_are_an_empty_log() -> None:
    log = parse(body_of(None))
    assert (log.entries, len(log.rows), len(log.rejected)) == (0, 0, 0)


@pytest.mark.parametrize("entries", [None, [], [{"id": "a"}], [{"id": "a", "new": 1}]])
def test_parse_log_byte_order_mark_is_skipped(entries: Any) -> None:
    marked = parse(b"\xef\xbb\xbf" + body_of(entries))
    assert marked.rows.equals(parse(body_of(entries)).rows)


def test_parse_log_new_field_beside_the_entries_is_ignored() -> None:
    assert parse(body_of([{"id": "a"}], nextPage=None)).entries == 1


def test_parse_log_run_id_in_other_case_is_the_same_run() -> None:
    log = parse(body_of([{"id": "a"}], runId=RUN.upper()))
    assert log.rows["run_id"].to_pylist() == [RUN]
