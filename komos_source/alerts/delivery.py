"""Sends what is new since the last message to each target.

At least once: a target that has accepted a message is noted after it has accepted it. A process
that is killed in between has the next call send the same message again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from komos_source.alerts.evidence import Evidence, find_evidence
from komos_source.alerts.lifecycle import plan
from komos_source.alerts.message import compose, shown_findings
from komos_source.alerts.store import AlertStore
from komos_source.alerts.targets import configured_targets, parse_targets
from komos_source.analytics.checks.result import CheckResult, Finding, counted
from komos_source.analytics.database import Database
from komos_source.settings import REMIND_AFTER, RESOLVE_AFTER


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the message to one target.

    Attributes:
        target: The target, without secrets.
        sent: Findings, and findings that are resolved, in the message.
        accepted: Whether the target has accepted it; also if there was nothing to send.
    """

    target: str
    sent: int
    accepted: bool

    def __str__(self) -> str:
        """What happened, in a sentence."""
        if not self.accepted:
            return f"{self.target} did not accept the message: the next call tries again"
        if not self.sent:
            return f"{self.target}: nothing new to send"
        return f"{self.target}: sent {counted(self.sent, 'finding')} in one message"


def notify(
    database: Database,
    results: Sequence[CheckResult],
    urls: Sequence[str] | None = None,
    *,
    remind_after: timedelta = timedelta(seconds=REMIND_AFTER),
    now: datetime | None = None,
) -> list[Delivery]:
    """Sends each target one message with what is new, due again, or resolved.

    Args:
        database: Where the checks have looked; what was sent is stored in its ``komos_alerts``.
        results: What `run_checks` returned.
        urls: URLs of Apprise; as configured in ``SOURCES__KOMOS__NOTIFY`` if None.
        remind_after: After that long, a finding that is still there is sent again.
        now: The time; for tests and simulations.

    Returns:
        What became of each message. A target that did not accept one gets it from the next call.

    Raises:
        UsageError: Apprise does not know a URL.
        LockedError: Another process has been sending for a minute.
        KomosError: The database cannot be read or written.
    """
    targets = parse_targets(configured_targets() if urls is None else urls)
    if not targets:
        return []
    store = AlertStore(database.pipeline)
    deliveries = []
    evidence: dict[Finding, Evidence] = {}
    with store.lock():
        store.create()
        for target in targets:
            moment = now or datetime.now(UTC)
            stored = store.read()
            planned = plan(
                stored,
                results,
                target.id,
                moment,
                remind_after,
                timedelta(seconds=RESOLVE_AFTER),
            )
            accepted = True
            if planned.has_news:
                for finding in shown_findings(planned):
                    if finding not in evidence:
                        evidence[finding] = find_evidence(database, finding, moment)
                accepted = target.send(*compose(planned, evidence))
            store.write(planned.if_sent if accepted else planned.if_not_sent, stored)
            sent = len(planned.new) + len(planned.again) + len(planned.resolved)
            deliveries.append(Delivery(target.shown, sent, accepted))
    return deliveries
