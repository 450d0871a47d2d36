"""``komos webhooks serve``: the receiver on a socket, until it is stopped."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from komos_source.webhooks._optional import import_extra, open_spool

_GRACE = 30
"""Seconds that requests under way have left when the receiver is stopped."""


def run_receiver(host: str, port: int, spool: str | None, listening: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; then answers what is under way and ends.

    Args:
        host: Address to listen on.
        port: 0 for any free one.
        spool: URL of the spool; as configured if None.
        listening: Told the URL once connections are taken.

    Raises:
        ConfigurationError: There is no secret, or something that cannot be used.
        SpoolError: The spool cannot be reached.
        OSError: The address cannot be used.
    """
    with import_extra():
        import uvicorn

        from komos_source.webhooks.receiver import make_app
    from komos_source.webhooks.configuration import spool_url, verifier

    app = make_app(verifier(), open_spool(spool or spool_url()))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as server_socket:
        config = uvicorn.Config(
            app,
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # who sends is told by the signature, not by an address
            timeout_graceful_shutdown=_GRACE,
        )
        shown = f"[{host}]" if ":" in host else host
        listening(f"http://{shown}:{server_socket.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal anew at its end
            uvicorn.Server(config).run(sockets=[server_socket])
