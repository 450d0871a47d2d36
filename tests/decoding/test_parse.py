"""All ways of decoding agree, and nothing of a log is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.decoding.documented import rows_of
from komos_source.decoding.heads import Head
from komos_source.decoding.lenient import _TOGETHER, _as_columns, _one_by_one, parse_leniently
from komos_source.decoding.parse import Body, RunLog, parse_body, parse_logs
from komos_source.decoding.sanitize import json_text, json_texts, storable
from komos_source.exceptions import AnswerError, NotJsonError

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
SEEN = datetime(2025, 10, 14, tzinfo=UTC)

timestamps = st.one_of(
    st.none(),
    st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 30)).map(
        lambda moment: moment.isoformat() + "Z"
    ),
    st.sampled_from(
        [
            "",
            "2025-10-14",
            "2025-10-14T18:22:03.1234567Z",
            "2025-10-14 18:22-0930",
            "2025-10-14T18:22:60Z",
            "0001-01-01T00:00:00+09:00",
            "9999-12-31T23:59:59-09:00",
        ]
    ),
    st.text(max_size=8),
)
odd = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([1]))
tidy_entries = st.fixed_dictionaries(
    {"id": st.uuids().map(str)},
    optional={
        "timestamp": timestamps,
        "level": st.sampled_from(["info", "warning", "error", "fatal"]),
        "message": st.text(),
        "nodeId": st.none() | st.text(max_size=5),
    },
)
odd_entries = st.one_of(
    odd,
    st.dictionaries(
        st.sampled_from(["id", "timestamp", "level", "message", "nodeId", "new", "id2"]), odd
    ),
)
# All that JSON can spell, also what a text of several values is parted at.
texts = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(
    ["\0", "a\0", "\ud83d", "\\u0000", '","\\u0000","', "{}"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
new_fields = st.dictionaries(texts, values, max_size=3)
entries_of_a_newer_api = st.builds(lambda new, entry: {**new, **entry}, new_fields, tidy_entries)
logs = st.lists(st.one_of(tidy_entries, odd_entries), max_size=8)


def body_of(entries: list[Any], run_id: str = RUN, **more: Any) -> bytes:
    return json.dumps({"runId": run_id, "logEntries": entries, **more}).encode()


def compact_of(entries: list[Any]) -> bytes:
    answer = {"runId": RUN, "logEntries": entries}
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def decode(body: bytes, known: Head | None = None) -> RunLog:
    return parse_body(Body(body, RUN, SEEN, known))


def damaged(body: bytes, damages: list[tuple[int, int, bytes]]) -> bytes:
    for place, cut, token in damages:
        body = body[:place] + token + body[place + cut :]
    return body


@given(st.lists(tidy_entries, max_size=8))
def test_what_the_quick_way_accepts_the_careful_way_reads_alike(entries: list[Any]) -> None:
    quick = rows_of([body_of(entries)], [RUN], [0])
    _, rows, rejected = parse_leniently(body_of(entries), RUN, SEEN)
    if quick is not None:
        assert quick[0].equals(rows)
        assert not len(rejected)


@given(st.lists(entries_of_a_newer_api | odd_entries, min_size=1, max_size=6))
def test_entries_as_columns_are_what_each_is_by_itself(entries: list[Any]) -> None:
    columns = _as_columns(entries, RUN, 3)
    if columns is not None:
        unusable: dict[int, str] = {}
        assert columns.equals(_one_by_one(entries, RUN, 3, unusable))
        assert not unusable


def test_fields_that_are_not_documented_do_not_make_an_entry_odd() -> None:
    entries = [
        {"id": "a", "new": {"deep": [1.5, "ü", None]}, "timestamp": "2025-10-14T18:22:03.1234567Z"},
        {"id": "b", "timestamp": "2025-10-14T18:22:03"},
        {"id": "c", "new": 10**30, "message": ""},
    ]
    assert _as_columns(entries, RUN, 0) is not None


@given(st.lists(new_fields))
def test_json_texts_made_together_are_what_each_is_by_itself(values: list[Any]) -> None:
    try:
        together = json_texts(values)
    except ValueError:
        looks_odd = "\\u0000" in json.dumps(values)
        assert looks_odd or any(storable(value) != value for value in values)
    else:
        halves = [text for text in together if any("\ud800" <= c <= "\udfff" for c in text)]
        if not halves:
            assert together == [json_text(value) for value in values]


def test_an_odd_entry_in_a_long_log_changes_no_other() -> None:
    entries: list[Any] = [{"id": f"{n}", "message": f"m{n}"} for n in range(3 * _TOGETHER)]
    entries[_TOGETHER + 5] = {"id": "odd", "message": "cut \ud83d"}
    entries[_TOGETHER + 7] = {"id": "odder", "message": 5}
    entries[_TOGETHER + 9] = {"message": "no id"}
    entries[-2] = entries[0]
    entries[-1] = {"id": "1", "message": "other"}
    log = decode(body_of(entries))
    usable = [at for at in range(len(entries) - 2) if at not in {_TOGETHER + 7, _TOGETHER + 9}]
    assert log.rows["position"].to_pylist() == usable
    assert log.rows["message"].to_pylist() == [
        entries[at]["message"].replace("\ud83d", "\ufffd") for at in usable
    ]
    assert log.rejected["position"].to_pylist() == [
        _TOGETHER + 7,
        _TOGETHER + 9,
        len(entries) - 1,
    ]


tokens = [
    b"null",
    b"{}",
    b"[1]",
    b"}",
    b"]",
    b",",
    b'"',
    b"\\",
    b"\\ud800",
    b"\xff",
    b"\n",
    b"1e999",
]


damages = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 9), st.sampled_from(tokens)), max_size=4
)


@given(st.lists(tidy_entries, max_size=2), damages)
def test_a_damaged_body_is_never_read_otherwise_than_the_careful_way_reads_it(
    entries: list[Any], found: list[tuple[int, int, bytes]]
) -> None:
    body = damaged(body_of(entries), found)
    quick = rows_of([body], [RUN], [0])
    if quick is not None:
        assert quick[0].equals(parse_leniently(body, RUN, SEEN)[1])


def outcome(body: Body) -> RunLog | str:
    try:
        return parse_body(body)
    except AnswerError as error:
        return repr(error)


def assert_same(log: RunLog | str, other: RunLog | str) -> None:
    if isinstance(log, str) or isinstance(other, str):
        assert log == other
    else:
        assert log.rows.equals(other.rows)
        assert log.rejected.equals(other.rejected)
        assert (log.run_id, log.entries, log.head) == (other.run_id, other.entries, other.head)
        assert log.continues == other.continues


@given(st.lists(st.tuples(st.lists(tidy_entries, max_size=3), damages), max_size=4))
def test_bodies_decoded_together_are_what_each_is_by_itself(many: list[Any]) -> None:
    run_ids = [str(UUID(int=number)) for number in range(len(many))]
    bodies = [
        Body(damaged(body_of(entries, run_id), found), run_id, SEEN)
        for run_id, (entries, found) in zip(run_ids, many, strict=True)
    ]
    for body, log in zip(bodies, parse_logs(bodies), strict=True):
        assert_same(repr(log) if isinstance(log, AnswerError) else log, outcome(body))


def test_a_body_cannot_run_into_the_next() -> None:
    other = str(UUID(int=1))
    first = body_of([{"id": "a"}]) + body_of([{"id": "b"}], other)[: -len("]}")]
    bodies = [Body(first, RUN, SEEN), Body(b'{"id":"c"}]}', other, SEEN)]
    assert all(isinstance(log, NotJsonError) for log in parse_logs(bodies))


@given(st.lists(tidy_entries, max_size=5), st.integers(0, 5), damages)
def test_a_log_that_goes_on_is_the_rest_of_the_whole(
    entries: list[Any], before: int, found: list[tuple[int, int, bytes]]
) -> None:
    known = decode(compact_of(entries[:before]))
    body = Body(damaged(compact_of(entries), found), RUN, SEEN, known.head)
    log, whole = outcome(body), outcome(replace(body, known=None))
    if isinstance(log, str) or not log.continues:
        assert_same(log, whole)
    else:
        assert isinstance(whole, RunLog)
        assert whole.rows.equals(pa.concat_tables([known.rows, log.rows]))
        assert whole.entries == known.entries + log.entries
        assert whole.head == log.head
        assert not len(whole.rejected)


UUIDS = [str(UUID(int=number)) for number in range(9)]
KNOWN = [{"id": identity, "message": 'said "id":"x"'} for identity in UUIDS[:4]]


@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_log_that_has_only_grown_is_read_from_there(more: int) -> None:
    head = decode(compact_of(KNOWN)).head
    entries = KNOWN + [{"id": identity} for identity in UUIDS[4 : 4 + more]]
    log = decode(compact_of(entries), head)
    assert log.continues
    assert log.rows["position"].to_pylist() == list(range(4, 4 + more))
    assert decode(compact_of(entries), log.head).entries == 0


@pytest.mark.parametrize(
    "body",
    [
        compact_of([{"id": UUIDS[8]}, *KNOWN]),
        compact_of([KNOWN[0] | {"message": "changed"}, *KNOWN[1:], {"id": UUIDS[4]}]),
        compact_of(KNOWN[:3]),
        compact_of([*KNOWN, {"id": UUIDS[2], "message": "again, and other"}]),
        compact_of([*KNOWN, {"id": "short"}]),
        compact_of([*KNOWN, {"id": UUIDS[4], "new": 1}]),
        compact_of([*KNOWN, {"id": UUIDS[4]}]) + b"\n",
    ],
    ids=["came late", "changed", "shrunk", "id again", "short id", "odd entry", "line break"],
)
def test_a_log_that_has_done_more_than_grow_is_read_as_a_whole(body: bytes) -> None:
    head = decode(compact_of(KNOWN)).head
    assert not decode(body, head).continues
    assert_same(decode(body, head), decode(body))


def test_an_id_that_is_spelled_otherwise_in_the_head_is_not_overlooked() -> None:
    before = compact_of(KNOWN).replace(UUIDS[1].encode(), UUIDS[1][:-1].encode() + b"\\u0031")
    head = decode(before).head
    again = before[: -len("]}")] + b',{"id":"%s","message":"other"}]}' % UUIDS[1].encode()
    log = decode(again, head)
    assert not log.continues
    assert log.rejected["position"].to_pylist() == [4]


@pytest.mark.parametrize("rest", [b",", b", ", b'{"id":"a"}', b',{"id":"a"},'])
def test_what_is_no_list_is_none_behind_a_known_head_either(rest: bytes) -> None:
    before = compact_of(KNOWN)
    with pytest.raises(NotJsonError):
        decode(before[: -len("]}")] + rest + b"]}", decode(before).head)


@given(logs)
def test_every_entry_is_a_row_or_is_rejected_with_its_raw_json(entries: list[Any]) -> None:
    log = decode(body_of(entries))
    positions = log.rows["position"].to_pylist() + log.rejected["position"].to_pylist()
    repeated = len(entries) - len(positions)
    assert log.entries == len(entries)
    assert repeated == sum(
        entry in entries[:at]
        for at, entry in enumerate(entries)
        if at not in positions  # only a true repetition may be left out
    )
    for rejected in log.rejected.to_pylist():
        assert json.loads(rejected["raw"]) == entries[rejected["position"]]
        assert rejected["reason"]


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_in_another_way_than_announced(body: bytes) -> None:
    with pytest.raises((NotJsonError, AnswerError)):
        decode(body)


@given(st.integers(min_value=0))
def test_a_body_cut_short_anywhere_is_not_json(cut: int) -> None:
    body = body_of([{"id": "a"}, {"id": "b", "message": "ü"}])
    with pytest.raises(NotJsonError):
        decode(body[: cut % len(body)])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "the entry is not an object"),
        ({"message": "x"}, "'id' is missing"),
        ({"id": ""}, "'id' is empty"),
        ({"id": 5}, "'id' is not a string"),
        ({"id": "a", "level": 3}, "'level' is not a string"),
        ({"id": "a", "timestamp": "soon"}, "'timestamp' is not ISO 8601"),
        ({"id": "a", "timestamp": 1760466123}, "'timestamp' is not a string"),
    ],
)
def test_an_entry_that_cannot_be_a_row_says_why(entry: Any, reason: str) -> None:
    log = decode(body_of([entry]))
    assert log.rejected["reason"].to_pylist()[0].startswith(reason)


def test_an_id_with_other_content_is_rejected_and_a_repetition_is_not() -> None:
    entry = {"id": "a", "message": "first"}
    log = decode(body_of([entry, entry, {"id": "a", "message": "second"}]))
    assert log.rows["message"].to_pylist() == ["first"]
    assert log.rejected["position"].to_pylist() == [2]


def test_unknown_fields_are_kept_in_extra() -> None:
    log = decode(body_of([{"id": "a", "new": {"deep": [1, "x"]}}, {"id": "b"}]))
    assert log.rows["extra"].to_pylist() == ['{"new":{"deep":[1,"x"]}}', None]


@pytest.mark.parametrize("depth", [100, 600, 900])
def test_an_entry_nested_deeply_is_loaded_or_says_that_it_is(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for more in ("", ',"message":"\\u0000"'):
        body = f'{{"runId":"{RUN}","logEntries":[{{"id":"a","new":{nested}{more}}},{{"id":"b"}}]}}'
        log = decode(body.encode())
        assert "b" in log.rows["id"].to_pylist()
        assert log.rows["extra"].to_pylist()[0] == f'{{"new":{nested}}}' or log.rejected[
            "reason"
        ].to_pylist() == ["it is nested too deeply"]


def test_a_body_nested_beyond_reading_is_an_error_of_ours() -> None:
    body = f'{{"runId":"{RUN}","logEntries":[{{"id":"a","new":{"[" * 100_000}{"]" * 100_000}}}]}}'
    with pytest.raises(AnswerError, match="nested too deeply"):
        decode(body.encode())


def test_numbers_beyond_doubles_are_kept_in_extra_as_json() -> None:
    body = b'{"runId":"%s","logEntries":[{"id":"a","new":[1e999,-1e999,%d]}]}'
    log = decode(body % (RUN.encode(), 10**30))
    assert log.rows["extra"].to_pylist() == [f'{{"new":["Infinity","-Infinity",{10**30}]}}']


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00"])
@pytest.mark.parametrize("more", [{}, {"new": 1}])
def test_a_moment_that_no_database_knows_is_rejected(moment: str, more: dict[str, Any]) -> None:
    log = decode(body_of([{"id": "a", "timestamp": moment, **more}]))
    assert log.rejected["position"].to_pylist() == [0]


def test_half_an_emoji_and_nul_become_replacement_characters() -> None:
    body = (
        b'{"runId":"%s","logEntries":[{"id":"a","message":"cut \\ud83d"},' % RUN.encode()
        + b'{"id":"b","message":"nul \\u0000"},{"id":"c","message":"\xff"}]}'
    )
    messages = decode(body).rows["message"].to_pylist()
    assert messages == ["cut \ufffd", "nul \ufffd", "\ufffd"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b" null",
        b'{"runId":"%s"}' % RUN.encode(),
        b'{"runId":"x","logEntries":[]}',
    ],
)
def test_an_answer_of_another_shape_is_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError):
        decode(body)


def test_a_new_field_beside_the_entries_is_no_trouble() -> None:
    assert decode(body_of([{"id": "a"}], nextPage=None)).entries == 1
