"""The receiver's metrics, in the text format of Prometheus."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import Counter, Gauge, Histogram

from komos_source.webhooks.spool_tables import SpoolStats


class ReceiverMetrics:
    """Counters of one receiver, and the state of its spool.

    Attributes:
        outcomes: Requests, by what became of them.
        new: Deliveries stored that were not in the spool already.
        commit_seconds: How long commits into the spool took.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.outcomes = Counter(
            "komos_webhook_deliveries", "Requests by outcome", ["outcome"], registry=registry
        )
        self.new = Counter(
            "komos_webhook_spooled",
            "Deliveries stored that were not in the spool already",
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "komos_webhook_commit_seconds", "Commits into the spool", registry=registry
        )
        self._waiting = Gauge(
            "komos_webhook_spool_waiting", "Deliveries in the spool", registry=registry
        )
        self._bytes = Gauge(
            "komos_webhook_spool_bytes", "Bytes of the deliveries in the spool", registry=registry
        )
        self._oldest = Gauge(
            "komos_webhook_spool_oldest_seconds",
            "Age of the oldest delivery in the spool; 0 if it is empty",
            registry=registry,
        )

    def text(self, stats: SpoolStats | None) -> bytes:
        """All metrics as text.

        Args:
            stats: How full the spool is; None if it cannot be read.
        """
        if stats is None:
            for gauge in (self._waiting, self._bytes, self._oldest):
                gauge.set(float("nan"))
        else:
            self._waiting.set(stats.waiting)
            self._bytes.set(stats.bytes)
            age = datetime.now(UTC) - stats.oldest if stats.oldest else None
            self._oldest.set(max(0.0, age.total_seconds()) if age else 0.0)
        return generate_latest(self._registry)
