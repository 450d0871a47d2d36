"""An emulated organisation and random loads: after each success, the table equals the API."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.storages.load_package import PackageStorage
from dlt.load.load import Load
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from komos_source.extract import resources
from komos_source.settings import DUCKDB_FILE
from komos_source.testing import Emulator, FakeKomos
from komos_source.testing.world import iso
from tests.conftest import THOROUGH, LoadEnv, expected

seconds = st.integers(0, 30)


class CrashError(BaseException):
    """Simulates the end of the process; tests/integration/test_crashes.py kills real ones."""


CRASHES: dict[str, tuple[Any, str]] = {
    "during extract": (resources, "apply"),
    "after extract": (dlt.Pipeline, "normalize"),
    "after normalize": (dlt.Pipeline, "load"),
    "before a job is marked": (PackageStorage, "complete_job"),
    "before the package is marked": (Load, "complete_package"),
}


class RandomLoads(RuleBasedStateMachine):
    """Changes of runs, and loads in between, in random order."""

    @initialize(direct_merge=st.booleans())
    def begin(self, direct_merge: bool) -> None:
        os.environ["SOURCES__KOMOS__DIRECT_MERGE"] = str(direct_merge)
        self.directory = Path(tempfile.mkdtemp())
        os.environ["DESTINATION__DUCKDB__CREDENTIALS"] = f"duckdb:///{self.directory}/{DUCKDB_FILE}"
        self.world = FakeKomos()
        self.emulator = Emulator(self.world).__enter__()
        self.home = LoadEnv(self.directory, self.emulator)
        self.task = self.world.add_task("Orders")
        self.open_runs = [self.world.add_run(self.task)]
        self.exact = False

    def teardown(self) -> None:
        if hasattr(self, "emulator"):
            self.emulator.stop()
            shutil.rmtree(self.directory)
            del os.environ["DESTINATION__DUCKDB__CREDENTIALS"]
            del os.environ["SOURCES__KOMOS__DIRECT_MERGE"]

    def write(self, run_id: str, *timestamps: str | None) -> None:
        self.world.append(run_id, *({"timestamp": each} for each in timestamps))
        self.exact = False

    @rule(which=st.integers(0, 99), count=st.integers(1, 4))
    def entries_with_equal_timestamps_are_written(self, which: int, count: int) -> None:
        now = iso(self.world.clock.now())
        self.write(self.open_runs[which % len(self.open_runs)], *[now] * count)

    @rule(which=st.integers(0, 99), age=seconds)
    def an_entry_arrives_late(self, which: int, age: int) -> None:
        moment = iso(self.world.clock.now() - timedelta(seconds=age))
        self.write(self.open_runs[which % len(self.open_runs)], moment)

    @rule(which=st.integers(0, 99))
    def an_entry_without_timestamp_is_written(self, which: int) -> None:
        self.write(self.open_runs[which % len(self.open_runs)], None)

    @rule(by=seconds)
    def time_passes(self, by: int) -> None:
        self.world.clock.advance(by)

    @rule(days=st.integers(0, 9))
    def a_run_with_old_entries_appears(self, days: int) -> None:
        run_id = self.world.add_run(self.task)
        old = self.world.clock.now() - timedelta(days=days)
        self.open_runs.append(run_id)
        self.write(run_id, iso(old), iso(old + timedelta(seconds=1)))

    @rule()
    def newer_runs_push_the_others_out_of_the_window(self) -> None:
        if len(self.world.runs(self.task)) < 100:
            self.load()  # so that no run is missed, which would be a window gap
            for _ in range(45):
                self.world.add_run(
                    self.task, status="COMPLETED", finished_at=self.world.clock.now()
                )

    @rule(which=st.integers(0, 99))
    def a_run_ends_and_settles(self, which: int) -> None:
        if len(self.open_runs) > 1:
            self.world.finish(self.open_runs.pop(which % len(self.open_runs)), "FAILED")
            self.world.clock.advance(timedelta(minutes=11))
            self.exact = False

    @rule(kind=st.sampled_from(["html", "truncate", "reset", "body"]))
    def a_load_gets_wrong_answers(self, kind: Any) -> None:
        self.emulator.faults.add("/logs", kind, times=7)
        self.load()
        self.emulator.faults.clear()

    @rule(path=st.sampled_from(["/logs", "/task-runs/"]), own=st.booleans())
    def a_load_gets_404s(self, path: str, own: bool) -> None:
        detail = "run_not_found" if own else "Not Found"
        self.emulator.faults.add(path, "status", times=7, status=404, detail=detail)
        self.load()
        self.emulator.faults.clear()

    @rule()
    def a_load_gets_an_empty_list_of_runs(self) -> None:
        self.emulator.faults.add("/runs", "body", body=b'{"runs": []}', times=1)
        self.load()
        self.emulator.faults.clear()
        self.exact = False

    @rule(step=st.sampled_from(sorted(CRASHES)))
    def a_load_crashes(self, step: str) -> None:
        def crash(*_: Any, **__: Any) -> None:
            raise CrashError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*CRASHES[step], crash)
            try:
                self.load()
            except CrashError:
                self.exact = False

    @rule()
    def the_working_directory_is_lost(self) -> None:
        shutil.rmtree(self.directory / "pipelines", ignore_errors=True)

    @rule()
    def a_load_succeeds(self) -> None:
        assert self.load().exit_code == 0
        self.exact = True

    def load(self) -> Any:
        return self.home.load(backoff=0.0)

    @invariant()
    def the_table_equals_the_api_after_a_successful_load(self) -> None:
        if getattr(self, "exact", False):
            assert self.home.table() == expected(self.world)


TestRandomLoads = pytest.mark.slow(pytest.mark.timeout(1_800)(RandomLoads.TestCase))
TestRandomLoads.settings = settings(
    max_examples=40 if THOROUGH else 4, stateful_step_count=15, deadline=None
)
