"""Decoding of deliveries, without a spool and without a destination."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from komos_source.extract.state import State, TrackedRun, Window
from komos_source.tables import TASK_RUN_LOGS
from komos_source.webhooks.events import batch, decode
from komos_source.webhooks.spool_tables import Spooled

FIRST, SECOND = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94", "0d0f1a2b-7bf4-4e7f-9a20-2c5e7fdf2e94"


def delivery(run_id: str, *ids: str) -> Spooled:
    body = json.dumps({"runId": run_id, "logEntries": [{"id": each} for each in ids]}).encode()
    return Spooled(1, "task-run.log", run_id, datetime(2025, 10, 14, tzinfo=UTC), body)


def test_decode_with_one_entry_id_in_two_runs_keeps_both() -> None:
    pushed = decode([delivery(FIRST, "a", "b"), delivery(SECOND, "a"), delivery(FIRST, "a")])
    keys = list(zip(*(pushed.rows[name].to_pylist() for name in ("run_id", "id")), strict=True))
    assert sorted(keys) == sorted([(FIRST, "a"), (FIRST, "b"), (SECOND, "a")])


def test_new_with_one_entry_known_drops_it_from_its_own_run_only() -> None:
    pushed = decode([delivery(FIRST, "a"), delivery(SECOND, "a")])
    new = pushed.new(lambda table, _: {(FIRST, "a")} if table is TASK_RUN_LOGS else set())
    assert new.rows["run_id"].to_pylist() == [SECOND]


def test_batch_of_known_entries_tracks_their_run_unless_a_list_has_shown_it() -> None:
    # A load that was killed between the rows and the state has left such entries.
    pushed = decode([delivery(FIRST, "a")]).new(
        lambda table, _: {(FIRST, "a")} if table is TASK_RUN_LOGS else set()
    )
    assert batch(pushed, State()).changes.tracked.keys() == {FIRST}
    for known in (
        State(windows={"task": Window({FIRST: "digest"}, None)}),
        State(lost={FIRST: TrackedRun(None)}),
        State(tracked={FIRST: TrackedRun("task")}),
    ):
        assert batch(pushed, known).changes.tracked == {}
