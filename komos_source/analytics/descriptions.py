"""Descriptions of views and their columns, read from the comments above each query."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).parent
_FIRST = re.compile(r"--   (\w+)  +(.*)")
_NEXT = re.compile(r"--     +(.*)")
_BY_DAY = {"node_health_daily": "node_health"}
"""A query by day has the columns of the query without days, and describes only what differs."""


def view_description(view: str) -> str:
    """What the query answers, in a sentence."""
    title = " ".join(line[3:] for line in _comment(view).split("--\n")[0].splitlines())
    return _sentence(title.partition(": ")[2])


@cache
def column_descriptions(view: str) -> dict[str, str]:
    """By column of a view, what it holds."""
    found: dict[str, str] = {}
    name = None
    for line in _comment(view).splitlines():
        if first := _FIRST.fullmatch(line):
            name = first[1]
            found[name] = first[2]
        elif name and (more := _NEXT.fullmatch(line)):
            found[name] += f" {more[1]}"
        else:
            name = None
    described = {name: _sentence(text) for name, text in found.items()}
    return column_descriptions(_BY_DAY[view]) | described if view in _BY_DAY else described


def _comment(view: str) -> str:
    text = (_DIRECTORY / f"{view}.sql").read_text("utf-8")
    comment = re.match(r"(--.*\n)+", text)
    return comment[0] if comment else ""


def _sentence(text: str) -> str:
    text = text.strip().removesuffix(".")
    return f"{text[:1].upper()}{text[1:]}."
