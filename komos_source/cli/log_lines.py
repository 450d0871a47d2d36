"""Lines that `komos logs` prints for an entry. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from rich.cells import cell_len, chop_cells
from rich.text import Text

from komos_source.cli.log_entries import LogEntry
from komos_source.text import printable

_SYMBOLS = {"info": "·", "warning": "▲", "error": "✗"}
_STYLES = {"info": "", "warning": "yellow", "error": "bold red"}
_LEAST_WIDTH = 20
"""Cells that a message gets beside time and level; in a narrower terminal it goes below them."""
_MOST_CHARACTERS = 4_000
"""Characters of a message on a terminal: a browser automation writes screenshots as base64."""


def plain_line(entry: LogEntry, zone: tzinfo | None) -> str:
    """An entry as one line for a file or another program.

    Args:
        entry: The entry.
        zone: The time zone of times; this machine's if None.
    """
    time = _iso(entry.timestamp, zone, "T", "milliseconds")
    return printable(" ".join((time, entry.level or "-", entry.node_id or "-", _text(entry))))


def terminal_lines(entry: LogEntry, zone: tzinfo | None, width: int) -> list[Text]:
    """An entry as lines of a terminal, its message wrapped and indented.

    A line break in the message begins another line; other control characters are shown as escapes.

    Args:
        entry: The entry.
        zone: The time zone of times; this machine's if None.
        width: Cells of the terminal.
    """
    time = _iso(entry.timestamp, zone, " ", "seconds")[: len("2025-10-14 18:22:03")]
    level, node = printable(entry.level or "-"), printable(entry.node_id or "-")
    style = _STYLES.get(level, "magenta")
    head = Text.assemble(
        (f"{time:<19} ", "dim"), (f"{_SYMBOLS.get(level, '?')} {level:<7} ", style)
    )
    indent = cell_len(head.plain)
    beside = width - indent >= _LEAST_WIDTH
    if not beside:
        indent = 2
    text = _text(entry)
    cut = len(text) - _MOST_CHARACTERS
    if cut > 0:
        text = f"{text[:_MOST_CHARACTERS]}… ({cut:,} more characters: --json shows them)"
    first, *others = text.splitlines() or [""]
    body = [
        Text(piece, style)
        for line in (f"{node} {first}", *others)
        for piece in _wrapped(printable(line), max(1, width - indent))
    ]
    body[0].stylize("cyan", 0, len(node))
    lines = [Text(" " * indent) + line for line in body]
    return [head + body[0], *lines[1:]] if beside else [head, *lines]


def _text(entry: LogEntry) -> str:
    marks = ["(late)"] if entry.late else []
    if entry.rejected:
        marks.append(f"(cannot be loaded: {entry.rejected})")
    return " ".join((*marks, entry.message or ""))


def _iso(time: datetime | None, zone: tzinfo | None, between: str, precision: str) -> str:
    return time.astimezone(zone).isoformat(between, precision) if time else "-"


def _wrapped(line: str, width: int) -> Iterator[str]:
    """Pieces of a line that fit into a width, broken at blanks where there are any."""
    while cell_len(line) > width:
        piece = chop_cells(line[: width + 1], width)[0] or line[0]
        if (blank := piece.rfind(" ") + 1) and line[len(piece)] != " " and piece[:blank].strip():
            piece = piece[:blank]
        yield piece.rstrip(" ")
        line = line[len(piece) :].removeprefix(" ")
    yield line
