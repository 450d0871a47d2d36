"""When a finding is sent: once, again after a while, and once more when it is resolved. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from komos_source.analytics.checks.result import CheckResult, Finding

_EVENTS = frozenset({"window_gaps", "new_error_templates", "new_fields"})
"""Checks whose findings happen once and grow old: nothing is resolved that could be sent."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of ``komos_alerts``: a finding and one target that it is sent to.

    Attributes:
        fingerprint: Identifies the row; see `fingerprint_of`.
        kind: Name of the check.
        subject: What the finding is about.
        target: Id of the target that it is sent to, after its scheme and host.
        title: What was found, for the message that it is resolved.
        first_seen: When it was first found.
        last_seen: When it was last found.
        notified: When the target last accepted a message about it; None if it never has.
        resolved: When it was gone; None while it is not.
    """

    fingerprint: str
    kind: str
    subject: str
    target: str
    title: str
    first_seen: datetime
    last_seen: datetime
    notified: datetime | None = None
    resolved: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What one target has to be sent, and the rows to store.

    Attributes:
        new: Findings that it has not been sent.
        again: Findings that it was sent so long ago that it is reminded.
        resolved: Alerts whose findings are gone.
        if_sent: All rows that change if the target accepts the message.
        if_not_sent: All rows that change if it does not: the next call sends the same again.
    """

    new: Sequence[Finding]
    again: Sequence[Finding]
    resolved: Sequence[Alert]
    if_sent: Sequence[Alert]
    if_not_sent: Sequence[Alert]

    @property
    def has_news(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.new or self.again or self.resolved)


def fingerprint_of(finding: Finding, target: str) -> str:
    """Identifies a finding and the target that it is sent to."""
    parts = (finding.check, finding.subject, target)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def plan(
    alerts: Iterable[Alert],
    results: Sequence[CheckResult],
    target: str,
    now: datetime,
    remind_after: timedelta,
    resolve_after: timedelta,
) -> Plan:
    """Decides what a target is sent.

    Args:
        alerts: All rows; those of other targets are left alone.
        results: What the checks have found. Alerts of checks that did not run are left alone, and
            so are known problems and what another check has found: they are neither sent nor
            resolved.
        target: The target, as in `Alert.target`.
        now: The time.
        remind_after: A finding is sent again if that is so long ago.
        resolve_after: A finding is resolved if it was last seen so long ago: one that comes and
            goes is not sent each time.
    """
    by_fingerprint = {alert.fingerprint: alert for alert in alerts if alert.target == target}
    found = {fingerprint_of(f, target): f for result in results for f in result.findings}
    unsent = {
        fingerprint_of(f, target) for result in results for f in (*result.known, *result.covered)
    }
    ran = {result.name for result in results}
    new, again, unchanged = [], [], []
    to_send = []
    for fingerprint, finding in found.items():
        old = by_fingerprint.get(fingerprint)
        seen = _seen(fingerprint, finding, target, old, now)
        if seen.notified is None:
            new.append(finding)
            to_send.append(seen)
        elif now - seen.notified >= remind_after:
            again.append(finding)
            to_send.append(seen)
        else:
            unchanged.append(seen)
    gone = [
        alert
        for alert in _gone(by_fingerprint, found, unsent, ran)
        if now - alert.last_seen >= resolve_after
    ]
    resolved = [alert for alert in gone if alert.notified and alert.kind not in _EVENTS]
    silent = [alert for alert in gone if not alert.notified or alert.kind in _EVENTS]
    unchanged += [replace(alert, resolved=now) for alert in silent]
    return Plan(
        new,
        again,
        resolved,
        [
            *unchanged,
            *(replace(alert, notified=now) for alert in to_send),
            *(replace(alert, resolved=now) for alert in resolved),
        ],
        [*unchanged, *to_send],
    )


def _seen(
    fingerprint: str, finding: Finding, target: str, old: Alert | None, now: datetime
) -> Alert:
    """The row of a finding; one that had been resolved starts anew."""
    label = finding.task_name or finding.task_id
    node = f"{finding.node_id} " if finding.node_id else ""
    title = f"{label}: {node}{finding.title}" if label else finding.title
    if old and not old.resolved:
        return replace(old, title=title, last_seen=now)
    return Alert(fingerprint, finding.check, finding.subject, target, title, now, now)


def _gone(
    alerts: Mapping[str, Alert],
    found: Collection[str],
    unsent: Collection[str],
    ran: Collection[str],
) -> Iterable[Alert]:
    return (
        alert
        for fingerprint, alert in alerts.items()
        if not alert.resolved
        and alert.kind in ran
        and fingerprint not in found
        and fingerprint not in unsent
    )
