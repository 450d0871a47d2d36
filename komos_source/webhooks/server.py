"""``komos webhooks serve``: the receiver on a socket, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

from komos_source.exceptions import SpoolError
from komos_source.extras import requires_extra
from komos_source.text import printable
from komos_source.webhooks import settings
from komos_source.webhooks.config import spool_reserve, spool_url, webhook_secrets
from komos_source.webhooks.open_spool import open_spool

_log = logging.getLogger(__name__)
_GRACE = 30
"""Seconds that requests in progress have left when the receiver is stopped."""
_MAX_DESCRIPTORS = 65_536


def run_receiver(host: str, port: int, spool: str | None, listening: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; then answers the requests in progress and ends.

    Args:
        host: Address to listen on.
        port: 0 for any free one.
        spool: URL of the spool; as configured if None.
        listening: Called with the receiver's URL once it accepts connections.

    Raises:
        ConfigurationError: There is no secret, or something that cannot be used.
        SpoolError: The spool cannot be reached.
        OSError: The address cannot be used.
    """
    with requires_extra("webhooks", "webhooks"):
        import uvicorn

        from komos_source.webhooks.http_protocol import BoundedH11Protocol, uvicorn_options
        from komos_source.webhooks.receiver import create_app

    opened = open_spool(spool or spool_url(), reserve=spool_reserve())
    app = create_app(spool=opened)
    _warn(opened.check_free_space)
    BoundedH11Protocol.max_connections = min(
        settings.WEBHOOK_MAX_CONNECTIONS, _raise_descriptor_limit()
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as server_socket:
        config = uvicorn.Config(
            app,
            lifespan="on",
            access_log=False,
            log_level="error",  # refused requests have their own, bounded log
            server_header=False,
            proxy_headers=False,  # senders are authenticated by signature, not by address
            timeout_graceful_shutdown=_GRACE,
            **uvicorn_options(),
        )
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{server_socket.getsockname()[1]}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                listening(url)  # not before: a signal before uvicorn handles it could get lost

        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again at its end
            Server(config).run(sockets=[server_socket])


def _warn(check_free_space: Callable[[], None]) -> None:
    """Logs settings with which the receiver starts, but should not be run."""
    if settings.DEMO_WEBHOOK_SECRET in webhook_secrets():
        _log.warning(
            "the webhook secret is %s, which is public: use it for trying only",
            settings.DEMO_WEBHOOK_SECRET,
        )
    try:
        check_free_space()
    except SpoolError as error:
        _log.warning("deliveries will be answered with 503: %s", printable(str(error)))


def _raise_descriptor_limit() -> int:
    """Raises the soft limit on open files to the hard one; returns how many connections it allows.

    The usual soft limit of 1,024 is the number of idle connections that would shut out all senders.
    """
    try:
        import resource
    except ImportError:  # Windows
        return settings.WEBHOOK_MAX_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses more than it allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    usable = _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return max(1, usable - settings.WEBHOOK_SPARE_DESCRIPTORS)
