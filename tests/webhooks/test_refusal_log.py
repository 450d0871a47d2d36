from __future__ import annotations

import asyncio
import logging

import pytest

from komos_source.webhooks.refusal_log import RefusalLog


def test_note_logs_the_first_refusal_of_a_kind_and_then_a_count_per_interval(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        log = RefusalLog(interval=0.05)
        for number in range(3):
            log.note("signature", f"peer {number}", "wrong")
        log.note("timestamp", "peer", "late")
        assert [record.message for record in caplog.records] == [
            "refused a request of peer 0 (signature): wrong",
            "refused a request of peer (timestamp): late",
        ]
        while len(caplog.records) < 3:
            await asyncio.sleep(0.01)
        last = caplog.records[-1].message
        assert last.startswith(
            "refused 2 more requests in 0 s (signature); the last one, of peer 2"
        )
        while log._suppressed:  # a quiet interval ends it
            await asyncio.sleep(0.01)
        assert len(caplog.records) == 3
        log.note("signature", "peer 4", "wrong")
        assert len(caplog.records) == 4

    asyncio.run(scenario())


def test_note_logs_control_characters_as_escapes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        log = RefusalLog(interval=0.01)
        for _ in range(2):
            log.note("spool", "peer\x9b", "\x1b]0;pwned\x07\nforged line")
        while len(caplog.records) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
    for record in caplog.records:
        assert r"\x1b]0;pwned\x07\nforged line" in record.message
        assert record.message.isprintable()
