"""``komos emulate``: an emulated Komos API with sample data."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import click

from komos_source.cli.options import PORT, FiniteRange
from komos_source.cli.output import echo
from komos_source.exceptions import ConfigurationError
from komos_source.webhooks.settings import DEMO_WEBHOOK_SECRET


@click.command()
@click.option("--port", type=PORT, default=8765, show_default=True, help="Port on this machine.")
@click.option("--seed", default=7, show_default=True, help="Seed of the sample data.")
@click.option(
    "--pace",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Emulated seconds per second.",
)
@click.option(
    "--latency",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds to delay each answer.",
)
@click.option("--webhook-url", help="Send webhooks to this address.")
@click.option(
    "--webhook-secret",
    envvar="SOURCES__KOMOS__WEBHOOK_SECRET",
    show_envvar=True,
    default=DEMO_WEBHOOK_SECRET,
    show_default=True,
    help="Secret to sign webhooks with; other users of this machine can read options, but not the "
    "environment.",
)
def emulate(
    port: int, seed: int, pace: float, latency: float, webhook_url: str | None, webhook_secret: str
) -> None:
    """Serve an emulated Komos API with sample data on this machine, for trying clients."""
    from komos_source.testing import Emulator, Webhooks, make_sample_data

    now = datetime.now(UTC)
    komos = make_sample_data(seed, end=now + timedelta(days=7), days=35, pace=pace)
    komos.clock.set(now)
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
    with contextlib.ExitStack() as stack:
        if webhook_url:
            secret = webhook_secret.split(",", 1)[0].strip()  # of several, the current one
            stack.enter_context(Webhooks(komos, webhook_url, secret))
        emulator.serve_forever()
