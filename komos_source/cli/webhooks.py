"""``komos webhooks serve``: receives webhook deliveries."""

from __future__ import annotations

import click

from komos_source.cli.options import PORT
from komos_source.cli.output import echo
from komos_source.exceptions import ConfigurationError


@click.group()
def webhooks() -> None:
    """Receive webhooks."""


@webhooks.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address to listen on."
)
@click.option(
    "--port", type=PORT, default=8766, show_default=True, metavar="PORT", help="Port to listen on."
)
@click.option(
    "--spool",
    metavar="URL",
    show_default="SOURCES__KOMOS__SPOOL, else sqlite:///komos_spool.db",
    help="SQLAlchemy URL of the spool; put a URL with a password into SOURCES__KOMOS__SPOOL "
    "instead: other users of this machine can read options.",
)
def serve(host: str, port: int, spool: str | None) -> None:
    """Receive task-run.* deliveries into the spool, from which `komos load` loads them.

    \b
    Examples:
      SOURCES__KOMOS__WEBHOOK_SECRET=wh_… komos webhooks serve
      SOURCES__KOMOS__SPOOL=postgresql+psycopg://komos@db/komos komos webhooks serve --port 9000
    """
    from komos_source.webhooks.server import run_receiver

    try:
        run_receiver(host, port, spool, lambda url: echo(f"listening on {url}"))
    except OSError as error:
        raise ConfigurationError(f"{host}, port {port} cannot be used: {error}") from error
