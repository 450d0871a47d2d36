"""`komos_source.cli.log_lines`: an entry as lines of a file and of a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from komos_source.cli.log_entries import LogEntry
from komos_source.cli.log_lines import plain_line, terminal_lines

ENTRY = LogEntry(
    "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94",
    "a",
    0,
    datetime(2025, 10, 14, 18, 22, 3, 489_000, tzinfo=UTC),
    "warning",
    "Retrying element click after timeout",
    "click_retry",
)


def on_terminal(entry: LogEntry, width: int) -> list[str]:
    return [line.plain for line in terminal_lines(entry, UTC, width)]


def test_plain_line_has_time_level_node_and_message() -> None:
    assert plain_line(ENTRY, UTC) == (
        "2025-10-14T18:22:03.489+00:00 warning click_retry Retrying element click after timeout"
    )


def test_plain_line_of_an_entry_with_nothing_has_a_dash_for_each() -> None:
    assert plain_line(LogEntry("run", "a", 0), UTC).rstrip() == "- - -"


def test_lines_mark_late_and_rejected_entries() -> None:
    marked = replace(ENTRY, late=True, rejected="'id' is missing")
    for line in (plain_line(marked, UTC), " ".join(on_terminal(marked, 200))):
        assert "(late) (cannot be loaded: 'id' is missing) Retrying" in line


def test_terminal_lines_wrap_at_blanks_and_indent() -> None:
    assert on_terminal(ENTRY, 60) == [
        "2025-10-14 18:22:03 ▲ warning click_retry Retrying element",
        "                              click after timeout",
    ]


def test_terminal_lines_of_a_narrow_terminal_put_the_message_below() -> None:
    assert on_terminal(ENTRY, 40)[:2] == [
        "2025-10-14 18:22:03 ▲ warning ",
        "  click_retry Retrying element click",
    ]


def test_terminal_lines_keep_line_breaks_and_indent_what_follows() -> None:
    lines = on_terminal(replace(ENTRY, message="Traceback\n  File x\nkomos: forged"), 80)
    assert lines[1:] == [" " * 30 + "  File x", " " * 30 + "komos: forged"]


def test_terminal_lines_cut_off_a_screenshot_and_say_how_much() -> None:
    lines = on_terminal(replace(ENTRY, message="A" * 1_000_000), 100)
    assert len(lines) < 100
    assert "996,000 more characters" in " ".join(lines[-2:])


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b\u202e\rkomos: all is well"


@pytest.mark.parametrize("field", ["message", "node_id", "level", "rejected"])
def test_lines_show_control_characters_as_escapes(field: str) -> None:
    hostile = replace(ENTRY, **{field: HOSTILE})
    for text in (plain_line(hostile, UTC), *on_terminal(hostile, 80)):
        assert not set(text) & set("\x1b\x07\x9b\u202e\r\n")


@example("\N{NO-BREAK SPACE}0", 1)
@given(st.text(st.characters(codec="utf-8"), max_size=200), st.integers(1, 120))
def test_terminal_lines_fit_and_hold_the_whole_message(message: str, width: int) -> None:
    lines = terminal_lines(replace(ENTRY, node_id="n", message=message), UTC, width)
    body = lines if width - 30 >= 20 else lines[1:]
    indent = 30 if width - 30 >= 20 else 2
    assert all(cell_len(line.plain) <= max(width, indent + 2) for line in body)
    from komos_source.text import printable

    expected = "".join(printable(line) for line in message.splitlines())
    text = "".join(line.plain[indent:] for line in body).removeprefix("n")
    assert text.replace(" ", "") == expected.replace(" ", "")
