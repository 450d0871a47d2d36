"""Text that every database can store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

# No JSON is `Infinity`, which Python writes for what it reads of 1e999: here it is a ValueError.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """The same JSON value with NUL and halves of surrogate pairs replaced by U+FFFD, at any depth.

    JSON may hold both (a client that cuts a message in the middle of an emoji writes such a half),
    but Arrow and most databases refuse them. A number beyond what a double holds becomes text.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def json_text(value: Any) -> str:
    """A JSON value as the text of a JSON column."""
    return _encode(storable(value))


def json_texts(values: Sequence[Any]) -> list[str]:
    """`json_text` of each of some values that are storable as they are, in a third of the time.

    Raises:
        ValueError: One of them is not, or looks so. Halves of surrogate pairs are left for Arrow
            to refuse.
    """
    if not values:
        return []
    # All in one pass, with a NUL between two: as there is none within, the text parts there.
    parted = ["\0"] * (2 * len(values) - 1)
    parted[::2] = values
    text = _encode(parted)
    if text.count("\\u0000") >= len(values):
        raise ValueError("a text holds NUL, or what NUL is spelled as")
    return text[1:-1].split(',"\\u0000",')
