"""The commands besides loading: what shows the data, what receives it, what plays the API."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from komos_source.cli.startup import fail

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  nothing could be done (configuration, key refused, API or destination out of reach)
  2  wrong usage
  3  done, but some runs could not be fetched; the next load tries them again
"""


_Command = Callable[..., None]


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


where_to_load = _options(
    click.option("--destination", default="duckdb", show_default=True, help="A dlt destination."),
    click.option(
        "--dataset",
        "dataset_name",
        default="komos",
        show_default=True,
        help="Dataset (schema) to load into.",
    ),
    click.option("--pipeline-name", default="komos_task_run_logs", show_default=True),
    click.option("--views/--no-views", default=True, help="Create missing views for analysis."),
    click.option(
        "--lock-timeout", default=60.0, show_default=True, help="Seconds to wait for locks."
    ),
)
_where_to_read = _options(
    click.option("--destination", default="duckdb", show_default=True, help="What loads use."),
    click.option(
        "--dataset", "dataset_name", default="komos", show_default=True, help="What loads use."
    ),
    click.option("--pipeline-name", default="komos_task_run_logs", show_default=True),
    click.option("--database", type=click.Path(), help="Read this DuckDB file instead."),
)


@click.command(epilog=EXIT_CODES)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("komos-report.html"), show_default=True
)
@click.option(
    "--days", type=click.IntRange(16, 92), default=28, show_default=True, help="Up to the last run."
)
@click.option("--time-zone", help="Days are counted in it: an IANA name such as Europe/Berlin.")
@_where_to_read
def report(out: Path, days: int, time_zone: str | None, **where: Any) -> None:
    """Write node health as one page that needs no network.

    \b
    Examples:
      komos report
      komos report --out health.html --days 56 --time-zone Europe/Berlin
      komos report --database komos-demo/komos-demo.duckdb
    """
    from komos_source.analytics.database import open_database
    from komos_source.report import write_report

    write_report(open_database(**where), out, days=days, time_zone=time_zone)
    click.echo(f"Node health is in {out}: open it in a browser.")


@click.command(epilog=EXIT_CODES)
@click.argument("name", type=click.Choice(["node_health", "run_explorer"]), default="node_health")
@click.option("--port", type=int, default=0, help="Port on this machine; any free one if 0.")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
@click.option("--edit", is_flag=True, help="Open the code too, to change it.")
@_where_to_read
def notebook(name: str, port: int, browser: bool, edit: bool, **where: Any) -> None:
    """Open a notebook as an app on this machine: NAME is node_health or run_explorer.

    \b
    Examples:
      komos notebook
      komos notebook run_explorer --database komos-demo/komos-demo.duckdb
    """
    from komos_source.cli.notebook import serve

    sys.exit(serve(name, port=port, browser=browser, edit=edit, where=where))


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path("komos-demo"))
def demo(directory: Path) -> None:
    """Load weeks of made history from an emulator over real HTTP, and show node rates."""
    from komos_source.cli.demo import run_demo

    run_demo(directory)


@click.command()
@click.option("--port", default=8765, show_default=True, help="Port to listen on (loopback).")
@click.option("--seed", default=7, show_default=True, help="Of the made history.")
@click.option("--pace", default=1.0, show_default=True, help="FakeKomos seconds per real second.")
@click.option("--latency", default=0.0, help="Seconds each answer is delayed.")
@click.option("--webhook-url", help="Send webhooks there, too.")
@click.option("--webhook-secret", default="wh_demo_secret", show_default=True)
def emulate(
    port: int, seed: int, pace: float, latency: float, webhook_url: str | None, webhook_secret: str
) -> None:
    """Serve a made Komos organisation on this machine, for trying clients."""
    from datetime import UTC, datetime, timedelta

    from komos_source.testing import Emulator, Webhooks, make_sample_data

    now = datetime.now(UTC)
    world = make_sample_data(seed, end=now + timedelta(days=7), days=35, pace=pace)
    world.clock.set(now)
    try:
        emulator = Emulator(world, port=port)
    except OSError as error:
        fail(f"port {port} cannot be used: {error}")
    emulator.faults.latency = latency
    click.echo(f"Komos emulator on {emulator.base_url}, key {emulator.api_key}. Try:")
    click.echo(
        f"  SOURCES__KOMOS__BASE_URL={emulator.base_url} "
        f"KOMOS_API_KEY={emulator.api_key} komos load"
    )
    with contextlib.ExitStack() as stack:
        if webhook_url:
            stack.enter_context(Webhooks(world, webhook_url, webhook_secret))
        emulator.serve_forever()


@click.group()
def webhooks() -> None:
    """Receive what Komos pushes."""


@webhooks.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8766, show_default=True, help="Port to listen on.")
@click.option("--spool", help="SQLAlchemy URL of the spool.  [default: sqlite:///komos_spool.db]")
def serve(host: str, port: int, spool: str | None) -> None:
    """Take task-run.* deliveries into the spool, which `komos load` drains.

    \b
    Examples:
      SOURCES__KOMOS__WEBHOOK_SECRET=wh_… komos webhooks serve
      komos webhooks serve --port 9000 --spool postgresql+psycopg://komos@db/komos
    """
    from komos_source.webhooks.server import run_receiver

    try:
        run_receiver(host, port, spool, lambda url: click.echo(f"listening on {url}"))
    except OSError as error:
        fail(f"{host}, port {port} cannot be used: {error}")


ALL: tuple[click.Command, ...] = (report, notebook, demo, emulate, webhooks)
