"""Text from outside, made safe to store in a database and to show to a person.

JSON may hold NUL and halves of surrogate pairs (a client that cuts a message in the middle of an
emoji writes such a half), but Arrow and most databases refuse both. They become U+FFFD.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MAY_BE_UNSTORABLE = re.compile(r"\\u0000|NaN|Infinity|[\ud800-\udfff]")


def storable_text(text: str) -> str:
    """The same text without characters that databases refuse."""
    return _UNSTORABLE.sub("\ufffd", text)


def storable(value: Any) -> Any:
    """The same JSON value without such characters at any depth.

    A number beyond the range of a double becomes text, as JSON has no infinity.
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable_text(name): storable(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def json_text(value: Any) -> str:
    """A JSON value as the text of a JSON column."""
    text = _encode(value)  # nearly always storable, and copying the value first takes twice as long
    return _encode(storable(value)) if _MAY_BE_UNSTORABLE.search(text) else text


def parse_integer(digits: str) -> int | str:
    """An integer of JSON; one with more digits than Python converts is kept as text."""
    try:
        return int(digits)
    except ValueError:
        return digits


def printable(text: str) -> str:
    r"""Replaces every character that controls how text is shown by its escape sequence.

    Messages of an API, names and log entries may hold terminal escapes, line breaks that forge
    further lines, or marks that reverse the reading direction. They are shown as ``\x1b``, ``\n``,
    ``\u202e`` and so on.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    if char == "\N{NO-BREAK SPACE}":  # common in prose, and harmless
        return char
    return char.encode("unicode_escape").decode("ascii")


def without_quotes(text: str) -> str:
    """The text without blanks, line breaks and a pair of quotation marks around it.

    `docker run --env-file` keeps quotation marks as part of the value.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].strip()
    return text
