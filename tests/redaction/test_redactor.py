"""Redactors: texts, columns and JSON values; modes; redacted again, nothing changes."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komos_source.redaction.redactor import Mode, Redactor
from komos_source.redaction.rules import BUILT_IN, Rule
from tests.redaction.test_rules import FOUND

OWN = Rule("customer", r"(?i)cust-(\d)\d{3}")
MASK = Redactor((*BUILT_IN.values(), OWN))
HASH = replace(MASK, mode="hash", key=b"a key of the tests")
PARTIAL = replace(MASK, mode="partial")
TEXTS = [text for texts in FOUND.values() for text in texts]


def test_text_of_several_secrets_has_each_replaced_by_its_rule() -> None:
    text = "anna@example.com paid with 4242424242424242 from 10.0.0.1 (CUST-1234, cust-9999)"
    assert MASK.text(text) == "[email] paid with [credit_card] from [ip] ([customer], [customer])"


@pytest.mark.parametrize("redactor", [MASK, HASH, PARTIAL], ids=lambda each: each.mode)
def test_text_redacted_again_stays_as_it_is(redactor: Redactor) -> None:
    once = redactor.texts(TEXTS)
    again = redactor.texts(once)
    assert all(new is old for new, old in zip(again, once, strict=True))
    assert MASK.texts(once) == once


@settings(max_examples=50)
@given(st.lists(st.sampled_from([*TEXTS, " ", "\n", "x", "4", "[email]", "@", "::", "="])))
def test_any_text_redacted_again_stays_as_it_is(parts: list[str]) -> None:
    once = HASH.text("".join(parts))
    assert HASH.text(once) == once


def test_replacement_of_another_mode_or_rule_is_left_alone() -> None:
    texts = ["[email:0123456789]", "[credit_card:…4242]", "[iban]", "[phone:1234567890]"]
    rules = (*BUILT_IN.values(), Rule("digits", r"\d+"), Rule("words", r"\w+"))
    assert Redactor(rules).texts(texts) == texts


def test_hash_is_the_same_for_each_spelling_and_differs_by_value_rule_and_key() -> None:
    spellings = ["4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242"]
    (digest,) = set(HASH.texts(spellings))
    others = [
        HASH.text("5555555555554444"),
        replace(HASH, key=b"another key").text(spellings[0]),
        Redactor((Rule("own", r"\d+"),), "hash", HASH.key).text(spellings[0]),
    ]
    assert digest.startswith("[credit_card:")
    assert len({digest, *others}) == 4
    assert HASH.text("Anna@Example.com") == HASH.text("anna@example.com")


def test_partial_keeps_little() -> None:
    assert PARTIAL.texts(["anna@example.com", "4242 4242 4242 4242", "10.0.0.1"]) == [
        "[email:…@example.com]",
        "[credit_card:…4242]",
        "[ip]",
    ]


@pytest.mark.parametrize("chunks", [[[]], [["a@b.io", None, "x"], [], [None], ["y", "4\0 a@b.io"]]])
def test_column_keeps_type_nulls_and_order(chunks: list[list[str | None]]) -> None:
    column = pa.chunked_array(chunks, pa.string())
    redacted = MASK.column(column)
    assert redacted.type == column.type
    wanted = {"a@b.io": "[email]", "4\0 a@b.io": "4\ufffd [email]"}
    assert redacted.to_pylist() == [wanted.get(each, each) for each in column.to_pylist()]


def test_column_in_which_nothing_is_found_is_the_same_object() -> None:
    column = pa.chunked_array([["a", None]], pa.string())
    assert MASK.column(column) is column
    assert Redactor().column(column) is column


def test_json_texts_redacts_texts_and_numbers_at_any_depth_and_keeps_names() -> None:
    value = {
        "a@b.io": [{"x": ["anna@example.com", 4242424242424242, 1.5, True, None, "CUST-1234"]}],
        "nested": json.dumps({"card": "4242424242424242", "iban": "DE89370400440532013000"}),
        "deep": json.dumps({"text": "first\nanna@example.com\n4242424242424242"}),
    }
    (redacted,) = MASK.json_texts([json.dumps(value)])
    assert json.loads(redacted or "") == {
        "a@b.io": [{"x": ["[email]", "[credit_card]", 1.5, True, None, "[customer]"]}],
        "nested": json.dumps({"card": "[credit_card]", "iban": "[iban]"}),
        "deep": json.dumps({"text": "first\n[email]\n[credit_card]"}),
    }


def test_json_texts_without_a_find_stay_as_they_are_spelled() -> None:
    texts = [None, '{"a":  1.50}', "[1e400, 123456789012345678901234567890]", '"\\ud800"', "not {"]
    assert MASK.json_texts(texts) == texts
    assert MASK.json_texts(["not { a@b.io", '"\\ud800 a@b.io"']) == [
        "not { [email]",
        '"\ufffd [email]"',
    ]


def test_json_texts_that_are_nested_deeply_are_redacted() -> None:
    for depth in (500, 100_000):
        text = "[" * depth + '"a@b.io"' + "]" * depth
        assert MASK.json_texts([text]) == [text.replace("a@b.io", "[email]")]


def test_json_values_are_redacted_in_place() -> None:
    values = ["a@b.io", 4242424242424242, None, {"a": ["a@b.io"]}, []]
    assert MASK.redact_in_place(values) == [True, True, False, True, False]
    assert values == ["[email]", "[credit_card]", None, {"a": ["[email]"]}, []]


def test_version_changes_with_rules_mode_and_key() -> None:
    versions = [
        MASK.version,
        HASH.version,
        PARTIAL.version,
        replace(HASH, key=b"another key").version,
        Redactor(MASK.rules[:-1]).version,
        Redactor((*MASK.rules[:-1], Rule("customer", "other"))).version,
    ]
    assert len({*versions}) == len(versions)
    assert Redactor(MASK.rules).version == MASK.version
    assert Redactor().version is None


@pytest.mark.parametrize("mode", ["mask", "hash"])
def test_redactor_without_rules_changes_nothing(mode: Mode) -> None:
    redactor = Redactor(mode=mode)
    assert redactor.texts(TEXTS) == TEXTS
    assert redactor.json_texts(['{"a": "a@b.io"}', None]) == ['{"a": "a@b.io"}', None]
    assert redactor.redact_in_place(["a@b.io"]) == [False]
