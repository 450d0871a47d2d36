"""`komos_source.text`: text that a database can store, and text that is safe to print."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.text import json_text, printable, storable
from tests.decoding.test_parse import values


@given(values)
def test_json_text_is_the_storable_value_as_utf_8_json(value: Any) -> None:
    text = json_text(value)
    assert json.loads(text, parse_constant=lambda name: "refused") == storable(value)
    assert "\0" not in str(storable(value))
    text.encode()  # raises on halves of surrogate pairs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, Ünïcödé, 日本語, שלום", "plain text, Ünïcödé, 日本語, שלום"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("first\nkomos: forged\r\n\tlast", "first\\nkomos: forged\\r\\n\\tlast"),
        ("\x9b2J\x7f\x85", "\\x9b2J\\x7f\\x85"),
        ("\u202egpj.exe\u2066\u200b\u2028", "\\u202egpj.exe\\u2066\\u200b\\u2028"),
        ("\ud800", "\\ud800"),
        ("5\xa0%", "5\xa0%"),
    ],
)
def test_printable_escapes_control_characters_only(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_characters="\xa0")))
def test_printable_result_has_no_control_character(text: str) -> None:
    assert printable(text).isprintable()
