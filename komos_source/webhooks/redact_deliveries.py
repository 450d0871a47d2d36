"""Redacts the bodies of deliveries before they are stored. Pure.

Ids, times, levels and statuses stay as they are: a load finds entries and runs by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from komos_source.redaction.redactor import Redactor
from komos_source.text import json_text
from komos_source.timestamps import parse_timestamp
from komos_source.webhooks.signature import Delivery

_KEPT = {"id", "runId", "taskId", "status", "triggerType"}
_KEPT_OF_ENTRY = {"id", "nodeId", "level"}
_TIMES = {"timestamp", "createdAt", "startedAt", "finishedAt"}


def redact_deliveries(deliveries: Sequence[Delivery], redactor: Redactor) -> list[Delivery]:
    """Deliveries, redacted; the digest of one that has changed is that of its body now."""
    bodies = redact_bodies([each.body for each in deliveries], redactor)
    return [
        each
        if body is each.body
        # The digest of the body as it was would confirm whoever guesses what has been redacted.
        else replace(each, body=body, digest=hashlib.sha256(body).hexdigest())
        for each, body in zip(deliveries, bodies, strict=True)
    ]


def redact_bodies(bodies: Sequence[bytes], redactor: Redactor) -> list[bytes]:
    """Bodies of deliveries, redacted; one in which nothing is found stays the same object.

    Args:
        bodies: JSON in UTF-8.
        redactor: The rules.
    """
    redacted = list(bodies)
    if not redactor.rules:
        return redacted
    values: dict[int, Any] = {}
    for number, body in enumerate(bodies):
        try:
            values[number] = json.loads(body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            redacted[number] = redactor.text(body.decode(errors="replace")).encode()
    places = [(number, *place) for number in values for place in _redacted_parts(values, number)]
    parts = [container[name] for _, container, name in places]
    changed: set[int] = set()
    for (number, container, name), part, is_changed in zip(
        places, parts, redactor.redact_in_place(parts), strict=True
    ):
        if is_changed:
            container[name] = part
            changed.add(number)
    for number in changed:
        redacted[number] = json_text(values[number]).encode()
    return redacted


def _redacted_parts(bodies: dict[int, Any], number: int) -> Iterator[tuple[Any, Any]]:
    """The parts of a body that are redacted: objects or lists, and names or indexes in them."""
    body = bodies[number]
    if not isinstance(body, dict):
        yield bodies, number
        return
    for name, value in body.items():
        if name == "logEntries" and isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield from _redacted_fields(entry, _KEPT_OF_ENTRY)
                else:
                    yield value, index
        elif name == "timestamps" and isinstance(value, dict):
            yield from _redacted_fields(value, set())
        elif not _is_kept(name, value, _KEPT):
            yield body, name


def _redacted_fields(part: dict[str, Any], kept: set[str]) -> Iterator[tuple[Any, Any]]:
    return ((part, name) for name, value in part.items() if not _is_kept(name, value, kept))


def _is_kept(name: str, value: Any, kept: set[str]) -> bool:
    if not isinstance(value, str):
        return False
    if name not in _TIMES:
        return name in kept
    try:
        parse_timestamp(value)
    except ValueError:
        return False
    return True
