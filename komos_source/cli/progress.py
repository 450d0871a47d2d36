"""Progress of a load, and its summary, for a person."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics
from komos_source.text import printable

_REFRESH = 0.1
_MAX_LISTED = 20


@contextlib.contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Callable[[LoadMetrics], None]]:
    """Shows a load's progress on standard error: a bar on a terminal, else a line per stage.

    Yields:
        What `komos_source.load` takes as ``on_start``.
    """
    ended = threading.Event()
    show = _show_bar if sys.stderr.isatty() else _show_lines
    watchers: list[threading.Thread] = []

    def watch(metrics: LoadMetrics) -> None:
        if not quiet:
            watchers.append(threading.Thread(target=show, args=(metrics, ended), daemon=True))
            watchers[-1].start()

    try:
        yield watch
    finally:
        ended.set()
        for watcher in watchers:
            watcher.join()


def _show_bar(metrics: LoadMetrics, ended: threading.Event) -> None:
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs · {task.fields[entries]:,} entries · {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[wait]}"),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task(metrics.stage, total=None, entries=0, rate=0.0, wait="")
        while not ended.wait(_REFRESH):
            progress.update(
                bar,
                description=metrics.stage,
                total=metrics.logs_due or None,
                completed=metrics.logs_read,
                entries=metrics.entries,
                rate=metrics.entries / (time.monotonic() - started),
                wait=f"throttled, {metrics.pause:.0f} s" if metrics.pause else "",
            )


def _show_lines(metrics: LoadMetrics, ended: threading.Event) -> None:
    stage, has_ended, throttled = "", False, False
    while not has_ended:
        has_ended = ended.wait(_REFRESH)
        if metrics.stage != stage and not has_ended:
            stage = metrics.stage
            click.echo(f"komos: {stage}", err=True)
        if metrics.paused_until and not throttled:
            throttled = True
            click.echo("komos: throttled: the API limits the rate of requests", err=True)


def summary_line(result: LoadResult, *, polled: bool) -> str:
    """A load in one line."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    did = f"{result.runs_fetched} logs read" if polled else "webhooks loaded"
    failed = f", {result.runs_failed} runs failed" if result.runs_failed else ""
    return f"{now} {did}, {result.entries_loaded:,} entries loaded{failed}, {result.seconds:.1f} s"


def print_result(result: LoadResult) -> None:
    """Prints the summary of a load, and what could not be loaded."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in result.to_json().items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    Console(highlight=False).print(table)
    for run_id, reason in list(result.failures.items())[:_MAX_LISTED]:
        click.echo(printable(f"not loaded: run {run_id}: {reason}"))
    if len(result.failures) > _MAX_LISTED:
        click.echo(f"and {len(result.failures) - _MAX_LISTED} more: see task_run_log_loads")
    for problem in result.problems:
        click.echo(printable(f"problem: {problem}"))
    for note in result.notes:
        click.echo(printable(f"note: {note}"))
    if result.window_gaps:
        click.echo(
            f"{result.window_gaps} task{'s' if result.window_gaps > 1 else ''} started 50 runs or "
            "more since the last load: some may be missing (task_run_window_gaps). Load more often."
        )
