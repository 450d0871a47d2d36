"""When a finding is sent: new, again, resolved, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from komos_source.alerts.lifecycle import Alert, Plan, plan
from komos_source.analytics.checks import CheckResult, Finding

_START = datetime(2025, 10, 14, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_SILENT = Finding("silent_tasks", "t", "no run for 6 days", "usually 4 h", "t", "Orders")
_SLOW = Finding("duration", "u", "runs take 2.0 times as long", "60 s before", "u", "Prices")


class _Target:
    """A target, and the rows that are stored about it."""

    def __init__(self, name: str = "slack") -> None:
        self.name = name
        self.rows: dict[str, Alert] = {}

    def look(
        self,
        hour: float,
        found: Sequence[Finding] = (),
        known: Sequence[Finding] = (),
        covered: Sequence[Finding] = (),
        *,
        accepts: bool = True,
        ran: Sequence[str] = ("silent_tasks", "duration"),
    ) -> Plan:
        results = [
            CheckResult(
                name,
                "task_runs",
                "",
                {},
                [each for each in found if each.check == name],
                [each for each in known if each.check == name],
                [each for each in covered if each.check == name],
            )
            for name in ran
        ]
        now = _START + hour * _HOUR
        week, two_hours = timedelta(days=7), 2 * _HOUR
        planned = plan(self.rows.values(), results, self.name, now, week, two_hours)
        rows = planned.if_sent if accepts else planned.if_not_sent
        self.rows |= {alert.fingerprint: alert for alert in rows}
        return planned


def test_finding_is_sent_once_and_again_after_the_reminder() -> None:
    target = _Target()
    assert target.look(0, [_SILENT]).new == [_SILENT]
    assert not target.look(1, [_SILENT]).has_news
    assert not target.look(7 * 24 - 1, [_SILENT]).has_news
    assert target.look(7 * 24, [_SILENT]).again == [_SILENT]
    assert not target.look(7 * 24 + 1, [_SILENT]).has_news
    (row,) = target.rows.values()
    assert (row.first_seen, row.last_seen) == (_START, _START + (7 * 24 + 1) * _HOUR)


def test_finding_that_is_gone_for_two_hours_is_resolved_once() -> None:
    target = _Target()
    target.look(0, [_SILENT])
    assert not target.look(1).has_news
    assert [each.title for each in target.look(2).resolved] == ["Orders: no run for 6 days"]
    assert not target.look(3).has_news


def test_finding_that_comes_and_goes_is_not_sent_each_time() -> None:
    target = _Target()
    sent = [target.look(hour, [_SILENT] if hour % 2 == 0 else []).has_news for hour in range(8)]
    assert sent == [True] + 7 * [False]


def test_finding_that_comes_back_after_it_was_resolved_is_new() -> None:
    target = _Target()
    target.look(0, [_SILENT])
    target.look(2)
    assert target.look(5, [_SILENT]).new == [_SILENT]
    (row,) = target.rows.values()
    assert (row.first_seen, row.resolved) == (_START + 5 * _HOUR, None)


def test_message_that_was_not_accepted_is_sent_again_by_the_next_look() -> None:
    target = _Target()
    assert target.look(0, [_SILENT], accepts=False).new == [_SILENT]
    assert target.look(1, [_SILENT, _SLOW], accepts=False).new == [_SILENT, _SLOW]
    assert target.look(2, [_SILENT, _SLOW]).new == [_SILENT, _SLOW]
    assert not target.look(3, [_SILENT, _SLOW]).has_news
    assert len(target.look(5, [], accepts=False).resolved) == 2
    assert len(target.look(6, []).resolved) == 2
    assert not target.look(7, []).has_news


def test_finding_that_was_never_accepted_is_resolved_silently() -> None:
    target = _Target()
    target.look(0, [_SILENT], accepts=False)
    assert not target.look(2).has_news
    (row,) = target.rows.values()
    assert row.resolved == _START + 2 * _HOUR


def test_finding_that_another_check_covers_is_resolved_once_it_is_over() -> None:
    target = _Target()
    assert target.look(0, [_SLOW]).new == [_SLOW]
    assert target.look(1, [_SILENT], covered=[_SLOW]).new == [_SILENT]
    assert not target.look(9, [_SILENT], covered=[_SLOW]).has_news
    (resolved,) = target.look(10, [_SILENT]).resolved
    assert resolved.kind == "duration"


def test_known_problem_is_neither_sent_nor_resolved_until_its_end() -> None:
    target = _Target()
    assert not target.look(0, known=[_SILENT]).has_news
    assert target.look(1, [_SILENT]).new == [_SILENT]
    assert not target.look(9, known=[_SILENT]).has_news
    assert not target.look(10, [_SILENT]).has_news
    assert target.look(20).resolved


def test_check_that_did_not_run_resolves_nothing() -> None:
    target = _Target()
    target.look(0, [_SILENT])
    assert not target.look(9, ran=["duration"]).has_news
    assert target.look(10).resolved


def test_targets_do_not_share_what_they_were_sent() -> None:
    first, second = _Target("slack"), _Target("mail")
    first.look(0, [_SILENT])
    second.rows = first.rows
    assert second.look(1, [_SILENT]).new == [_SILENT]
    assert not first.look(2, [_SILENT]).has_news


def test_finding_that_grows_old_is_not_sent_as_resolved() -> None:
    target, checks = _Target(), ("new_fields",)
    field = Finding("new_fields", "entry field/newField", "a new entry field: newField", "")
    assert target.look(0, [field], ran=checks).new == [field]
    assert not target.look(48, ran=checks).has_news
    (row,) = target.rows.values()
    assert row.resolved
