"""The text of a message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from komos_source.alerts.evidence import Evidence
from komos_source.alerts.lifecycle import Alert, Plan
from komos_source.alerts.message import MAX_SHOWN, compose
from komos_source.analytics.checks import Finding

_WHEN = datetime(2025, 10, 14, 12, tzinfo=UTC)
_WORSE = Finding(
    *("regressions", "t/login", "fails in 85.0% of its runs, up from 2.1%"),
    *("17 of 20 runs (95 % interval: 64% to 95%), 3 of 140 before", "t", "Orders", "login"),
)
_SILENT = Finding(
    "silent_tasks", "t", "no run for 6 days", "half of the pauses last 4 h", "t", "Orders"
)
_STALE = Finding("freshness", "komos", "komos has not loaded for 3 h", "the limit is 1 h")


def _plan(*new: Finding, again: tuple[Finding, ...] = (), resolved: tuple[Alert, ...] = ()) -> Plan:
    return Plan([*new], [*again], [*resolved], [], [])


def test_message_has_the_worst_finding_as_title_and_is_grouped_by_task() -> None:
    evidence = {_WORSE: Evidence("r-1", "Login rejected", "https://app.komos.ai/runs/r-1")}
    resolved = Alert("f", "volume", "u", "slack", "Prices: more runs than usual", _WHEN, _WHEN)
    title, body = compose(_plan(_SILENT, _WORSE, _STALE, resolved=(resolved,)), evidence)
    assert title == "Komos, komos has not loaded for 3 h (and 2 more)"
    assert body == (
        "All tasks\n"
        "- komos has not loaded for 3 h\n"
        "  the limit is 1 h\n"
        "\n"
        "Orders\n"
        "- login fails in 85.0% of its runs, up from 2.1%\n"
        "  17 of 20 runs (95 % interval: 64% to 95%), 3 of 140 before\n"
        "  newest message: Login rejected\n"
        "  run: https://app.komos.ai/runs/r-1\n"
        "  komos logs r-1\n"
        "- no run for 6 days\n"
        "  half of the pauses last 4 h\n"
        "\n"
        "Resolved\n"
        "- Prices: more runs than usual (first seen 2025-10-14 12:00 UTC)"
    )


def test_title_of_one_finding_names_task_and_node() -> None:
    title, _ = compose(_plan(_WORSE), {})
    assert title == "Komos, Orders: login fails in 85.0% of its runs, up from 2.1%"
    title, body = compose(_plan(again=(_WORSE,)), {})
    assert title.startswith("Komos, still: Orders: login fails")
    assert "- still: login fails" in body


def test_text_from_outside_is_one_line_without_control_characters_and_not_too_long() -> None:
    forged = replace(_WORSE, task_name="Orders\n- all is well\x1b[2J")
    _, body = compose(_plan(forged), {forged: Evidence("r", "no\u202e\n" + "x" * 5000)})
    assert body.startswith(r"Orders\n- all is well\x1b[2J")
    assert max(map(len, body.split("\n"))) <= 320
    assert "\u202e" not in body


def test_text_from_outside_mentions_nobody() -> None:
    text = "@everyone @here <@81384788765712384> <@&7> <!channel> <#8> a@example.com a<b"
    _, body = compose(_plan(_WORSE), {_WORSE: Evidence("r", text)})
    j = "\u2060"
    assert (
        f"@{j}everyone @{j}here <{j}@81384788765712384> <{j}@&7> <{j}!channel> <{j}#8> "
        "a@example.com a<b"
    ) in body


def test_message_of_many_findings_shows_some_and_counts_the_rest() -> None:
    many = [replace(_WORSE, subject=f"t/{n}", node_id=f"node_{n}") for n in range(MAX_SHOWN + 5)]
    _, body = compose(_plan(*many), {})
    assert body.endswith("and 5 more: `komos health` shows all")
    assert body.count("- node_") == MAX_SHOWN
