"""``komos emulate``: an emulated Komos API with sample data."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from komos_source.cli.options import PORT, FiniteRange
from komos_source.cli.output import echo
from komos_source.exceptions import ConfigurationError
from komos_source.webhooks.settings import DEMO_WEBHOOK_SECRET

if TYPE_CHECKING:
    from komos_source.testing.sample_data import MadeWorld

_SHORTEST_WAIT = 0.01
"""Seconds between two runs at least, whatever the pace: a run takes a millisecond to make."""
RUNS_PER_DAY = 4.0
"""Of each task: the 50 runs that the API lists are then enough history to tell what changed."""


@click.command()
@click.option(
    "--port",
    type=PORT,
    default=8765,
    show_default=True,
    metavar="PORT",
    help="Port, on the loopback interface.",
)
@click.option("--seed", default=7, show_default=True, metavar="N", help="Seed of the sample data.")
@click.option(
    "--pace",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Emulated seconds per real second.",
)
@click.option(
    "--run-every",
    type=FiniteRange(min=0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Emulated seconds between the starts of two runs; 0 starts none.",
)
@click.option(
    "--latency",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Delay of each answer.",
)
@click.option("--webhook-url", metavar="URL", help="Send webhook deliveries to this address.")
@click.option(
    "--webhook-secret",
    envvar="SOURCES__KOMOS__WEBHOOK_SECRET",
    show_envvar=True,
    default=DEMO_WEBHOOK_SECRET,
    show_default=True,
    metavar="SECRET",
    help="Secret to sign webhooks with; other users of this machine can read options, but not the "
    "environment.",
)
def emulate(
    port: int,
    seed: int,
    pace: float,
    run_every: float,
    latency: float,
    webhook_url: str | None,
    webhook_secret: str,
) -> None:
    """Serve an emulated Komos API with four weeks of sample data that end now, and new runs."""
    from komos_source.testing import Emulator, Webhooks, make_sample_data

    komos = make_sample_data(seed, end=datetime.now(UTC), runs_per_day=RUNS_PER_DAY, pace=pace)
    try:
        emulator = Emulator(komos, port=port)
    except OSError as error:
        raise ConfigurationError(f"port {port} cannot be used: {error}") from error
    emulator.faults.latency = latency
    echo(f"Komos emulator on {emulator.base_url}, key {emulator.api_key}. Try:")
    echo(
        f"  SOURCES__KOMOS__BASE_URL={emulator.base_url} "
        f"KOMOS_API_KEY={emulator.api_key} komos load"
    )
    wait = max(run_every / pace, _SHORTEST_WAIT)
    starts = f"a run starts every {wait:g} s" if run_every else "no run starts by itself"
    usual = "as usual" if pace == 1 else f"{pace:g} times as fast as usual"
    echo(f"Four weeks of runs end now; {starts}, and time passes {usual} (--run-every, --pace).")
    echo("To start a run now:")
    echo(
        f'  curl -X POST -H "Authorization: Bearer {emulator.api_key}" '
        f"{emulator.base_url}/public/v1/tasks/{komos.tasks()[0]['id']}/runs"
    )
    with contextlib.ExitStack() as stack:
        if run_every:
            stack.enter_context(_new_runs(komos, wait))
        if webhook_url:
            secret = webhook_secret.split(",", 1)[0].strip()  # of several, the current one
            stack.enter_context(Webhooks(komos, webhook_url, secret))
        emulator.serve_forever()


@contextlib.contextmanager
def _new_runs(komos: MadeWorld, wait: float) -> Iterator[None]:
    """Starts a run again and again, until the context ends.

    Args:
        komos: Whose runs.
        wait: Real seconds between two.
    """
    ended = threading.Event()

    def start() -> None:
        while not ended.wait(wait):
            komos.start_run()

    thread = threading.Thread(target=start, name="komos-new-runs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
