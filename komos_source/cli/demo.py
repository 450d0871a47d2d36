"""``komos demo``: the main job on made history, over real HTTP, without a key."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from komos_source.analytics.database import open_database
from komos_source.cli.progress import print_result, watched
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import ConfigurationError
from komos_source.load_result import LoadResult
from komos_source.loading.load import load
from komos_source.metrics import LoadMetrics
from komos_source.report import write_report

_DAYS = 28
_STEP = 4
_SQL = """
SELECT COALESCE(tasks.name, health.task_id), health.node_id, health.runs, health.warning_rate,
    health.error_rate, health.error_rate_low, health.error_rate_high
FROM node_health AS health
LEFT JOIN tasks ON tasks.id = health.task_id
ORDER BY health.error_rate DESC, health.warning_rate DESC, 1, 2
LIMIT 15
"""


def run_demo(directory: Path) -> None:
    """Loads four weeks like a job every four days, once more, and prints rates per node."""
    from komos_source.testing import Emulator, make_sample_data

    directory.mkdir(parents=True, exist_ok=True)
    file = (directory / "komos-demo.duckdb").resolve()
    file.unlink(missing_ok=True)
    os.environ["DESTINATION__DUCKDB__CREDENTIALS"] = f"duckdb:///{file}"
    pipelines_dir = str(file.parent / ".pipelines")
    console = Console(highlight=False)
    world = make_sample_data(days=_DAYS)
    end = world.clock.now()
    with Emulator(world) as emulator:

        def load_once() -> LoadResult:
            metrics = LoadMetrics()
            with watched(metrics, quiet=not sys.stderr.isatty()):
                return load(
                    api_key=emulator.api_key,
                    base_url=emulator.base_url,
                    pipeline_name="komos_demo",
                    pipelines_dir=pipelines_dir,
                    metrics=metrics,
                )

        console.print(
            f"Komos emulator on {emulator.base_url}: {len(world.tasks())} tasks, {_DAYS} days"
        )
        for day in range(_STEP, _DAYS + 1, _STEP):
            world.clock.set(end - timedelta(days=_DAYS - day) + timedelta(minutes=15))
            report = load_once()
            console.print(
                f"day {day:2}: {report.runs_fetched} logs read, {report.entries_loaded:,} entries "
                f"loaded, {report.requests} requests, {report.seconds:.1f} s"
            )
        console.print("\nAnd once more, nothing being new:")
        print_result(load_once())
        expected = sum(1 for _ in world.entries())
    pipeline = make_pipeline(pipeline_name="komos_demo", pipelines_dir=pipelines_dir)
    with pipeline.sql_client() as client:
        rows = client.execute_sql("SELECT COUNT(*), COUNT(DISTINCT id) FROM task_run_logs") or []
        rates = client.execute_sql(_SQL) or []
    count, distinct = rows[0]
    console.print(
        f"\nworld {expected:,} entries = table {count:,} rows = {distinct:,} distinct ids"
    )
    table = Table(
        title="Nodes by error rate, as a share of the runs that visited them: the first 15",
        title_justify="left",
        box=None,
    )
    for heading in ("task", "node", "runs", "warnings", "errors", "(95 % sure)"):
        is_name = heading in {"task", "node"}
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    for task, node, runs, warning, error, low, high in rates:
        table.add_row(
            task, node, str(runs), f"{warning:.1%}", f"{error:.1%}", f"{low:.0%} – {high:.0%}"
        )
    console.print(table)
    page = file.with_name("report.html")
    try:
        write_report(open_database(database=file), page)
        console.print(f"Node health is in {page}: open it in a browser.", soft_wrap=True)
    except ConfigurationError as error:  # a plain installation, without the extra for analyses
        console.print(f"No page of node health: {error}", markup=False, soft_wrap=True)
    console.print(f"To explore it: komos notebook --database {file}", soft_wrap=True)
    console.print(f"The data is in {file}: try  duckdb {file} -c 'USE komos.komos; SHOW TABLES'")
