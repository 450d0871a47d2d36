"""What a person sees while a load runs and when it has ended."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from komos_source.load_result import LoadResult
from komos_source.metrics import LoadMetrics

_REFRESH = 0.1
_MAX_LISTED = 20


@contextlib.contextmanager
def watched(metrics: LoadMetrics, *, quiet: bool = False) -> Iterator[None]:
    """Shows a load's progress on the error output: a bar on a terminal, else a line a stage."""
    if quiet:
        yield
        return
    ended = threading.Event()
    show = _show_bar if sys.stderr.isatty() else _show_lines
    watcher = threading.Thread(target=show, args=(metrics, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
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
    stage = ""
    while not ended.wait(_REFRESH):
        if metrics.stage != stage:
            stage = metrics.stage
            print(f"komos: {stage}", file=sys.stderr, flush=True)  # noqa: T201 - it is a command


def line(report: LoadResult, *, polled: bool) -> str:
    """One load among many, in a line."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    did = f"{report.runs_fetched} logs read" if polled else "webhooks drained"
    failed = f", {report.runs_failed} runs failed" if report.runs_failed else ""
    return f"{now} {did}, {report.entries_loaded:,} entries loaded{failed}, {report.seconds:.1f} s"


def print_result(report: LoadResult) -> None:
    """Prints the closing summary, and what could not be fetched."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in report.to_json().items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console = Console(highlight=False)
    console.print(table)
    for run_id, reason in list(report.failures.items())[:_MAX_LISTED]:
        console.print(f"not fetched: run {run_id}: {reason}", markup=False)
    if len(report.failures) > _MAX_LISTED:
        console.print(f"and {len(report.failures) - _MAX_LISTED} more: see task_run_log_loads")
    for problem in report.problems:
        console.print(f"problem: {problem}", markup=False)
    if report.window_gaps:
        console.print(
            f"{report.window_gaps} tasks started 50 runs or more since the last load: some may be "
            "missing (task_run_window_gaps). Load more often."
        )
