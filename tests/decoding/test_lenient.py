"""Unusual entries are rows or are rejected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.decoding.logs import body_of, body_of_text, parse


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "the entry is not an object"),
        ({"message": "x"}, "'id' is missing"),
        ({"id": ""}, "'id' is empty"),
        ({"id": 5}, "'id' is not a string"),
        ({"id": "x" * 256}, "'id' is longer than 255 characters"),
        ({"id": "ü" * 6_000}, "'id' is longer than 255 characters"),
        ({"id": "a", "level": 3}, "'level' is not a string"),
        ({"id": "a", "timestamp": "soon"}, "'timestamp' is not ISO 8601"),
        ({"id": "a", "timestamp": 1760466123}, "'timestamp' is not a string"),
        ({"id": "a", "timestamp": "9999-12-31T23:59:59-09:00"}, "'timestamp' is not ISO 8601"),
        ({"id": "a", "timestamp": "9999-12-31T24:00:00Z"}, "'timestamp' is not ISO 8601"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"new": 1}])
def test_unusable_entry_is_rejected_with_reason(
    entry: Any, reason: str, more: dict[str, Any]
) -> None:
    entry = {**entry, **more} if isinstance(entry, dict) else entry
    log = parse(body_of([entry, {"id": "b"}]))
    assert log.rejected["position"].to_pylist() == [0]
    assert log.rejected["reason"][0].as_py().startswith(reason)
    assert log.rows["id"].to_pylist() == ["b"]


@pytest.mark.parametrize("entry_id", ["x" * 255, "ü" * 255])
def test_id_of_255_characters_is_a_row(entry_id: str) -> None:
    assert parse(body_of([{"id": entry_id}])).rows["id"].to_pylist() == [entry_id]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2025-10-14T24:00:00Z", datetime(2025, 10, 15, tzinfo=UTC)),
        ("2025-10-14t18:22:03z", datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)),
        ("2025-10-14T18:22:03.1234567Z", datetime(2025, 10, 14, 18, 22, 3, 123456, UTC)),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+09:00", None),
    ],
)
@pytest.mark.parametrize("more", [{}, {"new": 1}])
def test_unusual_timestamp_is_a_row(
    text: str, expected: datetime | None, more: dict[str, Any]
) -> None:
    log = parse(body_of([{"id": "a", "timestamp": text, **more}]))
    assert log.rows["timestamp"].to_pylist() == [expected]


def test_repeated_id_with_other_content_is_rejected_and_exact_repetition_is_not() -> None:
    entry = {"id": "a", "message": "first"}
    log = parse(body_of([entry, entry, {"id": "a", "message": "second"}]))
    assert log.rows["message"].to_pylist() == ["first"]
    assert log.rejected["position"].to_pylist() == [2]


def test_repeated_id_with_true_for_1_is_rejected() -> None:
    log = parse(body_of([{"id": "a", "new": 1}, {"new": 1, "id": "a"}, {"id": "a", "new": True}]))
    assert log.rejected["position"].to_pylist() == [2]


def test_equal_rejected_entries_have_ids_of_their_own() -> None:
    assert len(set(parse(body_of([7, 7, 7])).rejected["id"].to_pylist())) == 3


def test_unknown_fields_are_kept_in_extra() -> None:
    log = parse(body_of([{"id": "a", "new": {"deep": [1, "ü", 1.5, None]}}, {"id": "b"}]))
    assert log.rows["extra"].to_pylist() == ['{"new":{"deep":[1,"ü",1.5,null]}}', None]


def test_numbers_beyond_ranges_are_kept_in_extra() -> None:
    digits = "9" * 5_000
    log = parse(body_of_text(f'{{"id":"a","new":[1e999,-1e999,NaN,{10**30},{digits}]}}'))
    assert log.rows["extra"].to_pylist() == [
        f'{{"new":["Infinity","-Infinity","NaN",{10**30},"{digits}"]}}'
    ]


def test_nan_in_a_documented_field_rejects_that_entry_only() -> None:
    log = parse(body_of_text('{"id":"a","message":NaN},{"id":"b"}'))
    assert log.rejected["reason"].to_pylist() == ["'message' is not a string"]
    assert log.rows["id"].to_pylist() == ["b"]


@pytest.mark.parametrize("depth", [100, 600, 900])
def test_entry_nested_deeply_is_a_row_or_rejected(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for more in ("", ',"message":"\\u0000"', ',"new2":"\\u0000"'):
        log = parse(body_of_text(f'{{"id":"a","new":{nested}{more}}},{{"id":"b"}}'))
        assert "b" in log.rows["id"].to_pylist()
        assert log.rows["extra"].to_pylist()[0] or log.rejected["reason"].to_pylist() == [
            "it is nested too deeply"
        ]


@pytest.mark.parametrize("spelled", [b"\\ud83d", b"\\u0000", b"\xff"])
def test_characters_that_databases_refuse_become_replacement_characters(spelled: bytes) -> None:
    log = parse(body_of_text('{"id":"a","message":"cut ?"}').replace(b"?", spelled))
    assert log.rows["message"].to_pylist() == ["cut \ufffd"]
    log = parse(body_of_text('{"id":"a","new ?":"cut ?"}').replace(b"?", spelled))
    assert log.rows["extra"].to_pylist() == ['{"new \ufffd":"cut \ufffd"}']
