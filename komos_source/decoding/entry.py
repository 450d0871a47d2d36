"""One entry of a log: the row it makes, or why it makes none. Pure.

Repaired: characters that no database stores as text (NUL, halves of surrogate pairs, bytes that are
not UTF-8) become U+FFFD. Unusable: an entry that is no object, has no usable id, holds another type
than documented, or is nested beyond what Python follows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from komos_source.decoding.sanitize import json_text, storable
from komos_source.timestamps import parse_timestamp

FIELDS = frozenset({"id", "timestamp", "level", "message", "nodeId"})
"""The documented ones."""


class InvalidEntryError(Exception):
    """This entry cannot be a row; the message says why."""


def row_of(entry: object) -> dict[str, Any]:
    """The row of an entry, but for its run and its position.

    Raises:
        InvalidEntryError: It can be none.
    """
    if not isinstance(entry, dict):
        raise InvalidEntryError("the entry is not an object")
    identity = _text(entry, "id")
    if not identity:
        raise InvalidEntryError("'id' is empty" if identity == "" else "'id' is missing")
    extra = {name: value for name, value in entry.items() if name not in FIELDS}
    return {
        "id": identity,
        "timestamp": timestamp_of(_text(entry, "timestamp")),
        "level": _text(entry, "level"),
        "message": _text(entry, "message"),
        "node_id": _text(entry, "nodeId"),
        "extra": _json(extra) if extra else None,
    }


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidEntryError(f"{field!r} is not a string")
    return None if value is None else str(storable(value))


def timestamp_of(text: str | None) -> datetime | None:
    """The moment in a ``timestamp``.

    Raises:
        InvalidEntryError: It holds none.
    """
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise InvalidEntryError(f"'timestamp' is not ISO 8601: {error}") from error


def _json(extra: dict[str, Any]) -> str:
    try:
        return json_text(extra)
    except RecursionError as error:
        raise InvalidEntryError("it is nested too deeply") from error
