"""Text that every database can store."""

from __future__ import annotations

import json
import re
from typing import Any

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """The same JSON value with NUL and halves of surrogate pairs replaced by U+FFFD, at any depth.

    JSON may hold both (a client that cuts a message in the middle of an emoji writes such a half),
    but Arrow and most databases refuse them.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    return value


def json_text(value: Any) -> str:
    """A JSON value as the text of a JSON column."""
    return json.dumps(storable(value), ensure_ascii=False, separators=(",", ":"))
