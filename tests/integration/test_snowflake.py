"""Loads into Snowflake, as far as fakesnow emulates it: merges, a kill, and the views."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from komos_source.analytics.views import VIEWS
from komos_source.testing import Emulator, FakeKomos
from tests.conftest import expected
from tests.integration.test_destinations import KILL_AT, add_changes, add_runs
from tests.stores import make_store


def test_load_into_snowflake_killed_before_dlts_marker_is_exact_after_the_next_load(
    tmp_path: Path, emulator: Emulator, world: FakeKomos, request: pytest.FixtureRequest
) -> None:
    runs = add_runs(world)
    store = make_store("snowflake", tmp_path, request)
    step = "between the merge and dlt's marker"
    process = store.start(emulator, KILL_AT, step, *store.command())
    _, error = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL, error
    assert store.table() == expected(world)
    add_changes(world, runs, 0)
    assert store.load(emulator)["runs_failed"] == 0
    assert store.table() == expected(world)

    health = "SELECT node_id, runs, runs_with_error FROM {node_health} ORDER BY runs"
    assert store.query("komos", health) == [("(no node)", runs, 0) for runs in (1, 1, 2)]
    for view in VIEWS:
        assert store.query("komos", f"SELECT COUNT(*) FROM {{{view}}}") != [(0,)], view
