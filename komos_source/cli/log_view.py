"""Shows what was read of a log: as lines for a file or a program, or on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from komos_source.cli.log_entries import LogEntry, describe_state
from komos_source.cli.log_follow import LogReading
from komos_source.cli.log_lines import terminal_lines
from komos_source.cli.output import check_reader
from komos_source.metrics import LoadMetrics
from komos_source.text import printable

Show = Callable[[LogReading], None]
"""Shows a reading; its entries are those that are to be shown."""

_LINES_AT_ONCE = 1_000


@contextlib.contextmanager
def line_view(line: Callable[[LogEntry], str]) -> Iterator[Show]:
    """Prints one line for each entry; failures go to standard error.

    Args:
        line: Returns the line of an entry.
    """

    def show(reading: LogReading) -> None:
        if reading.failure:
            click.echo(f"komos: {printable(reading.failure)}", err=True)
        if reading.entries:
            click.echo("\n".join(map(line, reading.entries)))
        check_reader()

    yield show


@contextlib.contextmanager
def terminal_view(zone: tzinfo | None, metrics: LoadMetrics, *, follow: bool) -> Iterator[Show]:
    """Prints entries in colour, wrapped; below them the state of a run that is followed.

    Args:
        zone: The time zone of times; this machine's if None.
        metrics: Those of the client, for the time until a throttled one asks again.
        follow: Whether the run is followed.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    last = LogReading()

    def state() -> Text:
        if last.run is None:
            return Text("")
        now = last.now or datetime.now(UTC)
        text = describe_state(last.run, last.ended_at, now)
        if metrics.pause:
            text += f" · the API asks to wait {metrics.pause:.0f} s"
        return Text(printable(text), "reverse", no_wrap=True, overflow="ellipsis")

    def show(reading: LogReading) -> None:
        nonlocal last
        if reading.failure:
            console.print(Text(printable(f"komos: {reading.failure}"), "yellow"))
            return
        last = reading
        width = console.width
        lines = [line for entry in reading.entries for line in terminal_lines(entry, zone, width)]
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            console.print(Text("\n").join(some), soft_wrap=True)

    if not follow:
        yield show
        return
    with Live(
        console=console,
        get_renderable=state,
        refresh_per_second=1,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:

        def show_and_refresh(reading: LogReading) -> None:
            show(reading)
            live.refresh()

        yield show_and_refresh
    console.print(state())
