"""Text from outside, made safe to show on a terminal, in a log or on a page."""

from __future__ import annotations


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
