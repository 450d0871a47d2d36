"""Log lines for refused requests: one per kind and minute, so that no attack fills the log."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from komos_source.text import printable
from komos_source.webhooks.settings import REFUSAL_LOG_INTERVAL

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Suppressed:
    """Refusals of one kind since the last line.

    Attributes:
        count: How many there were.
        peer: Who sent the last of them.
        detail: Why it was refused.
    """

    count: int = 0
    peer: str = ""
    detail: str = ""


class RefusalLog:
    """Logs the first refusal of a kind at once, and the number of further ones after a while.

    Only for the event loop's thread.

    Args:
        interval: Seconds between two lines of a kind.
    """

    def __init__(self, interval: float = REFUSAL_LOG_INTERVAL) -> None:
        self._interval = interval
        self._suppressed: dict[str, _Suppressed] = {}

    def note(self, kind: str, peer: str, detail: str) -> None:
        """Logs or counts one refusal.

        Args:
            kind: What failed; a fixed set of short names.
            peer: Who sent the request.
            detail: Why it was refused.
        """
        # A sender, or the database of the spool, may have chosen the text.
        peer, detail = printable(peer), printable(detail)
        if suppressed := self._suppressed.get(kind):
            suppressed.count += 1
            suppressed.peer, suppressed.detail = peer, detail
            return
        _log.warning("refused a request of %s (%s): %s", peer, kind, detail)
        self._start_interval(kind)

    def _start_interval(self, kind: str) -> None:
        self._suppressed[kind] = _Suppressed()
        asyncio.get_running_loop().call_later(self._interval, self._end_interval, kind)

    def _end_interval(self, kind: str) -> None:
        suppressed = self._suppressed.pop(kind)
        if suppressed.count:
            _log.warning(
                "refused %d more requests in %.0f s (%s); the last one, of %s: %s",
                suppressed.count,
                self._interval,
                kind,
                suppressed.peer,
                suppressed.detail,
            )
            self._start_interval(kind)
