"""The random loads of `test_whole_loads`, with repeated and late deliveries.

After each successful load, the table equals the API, positions included.
"""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool import Spool
from tests.conftest import THOROUGH
from tests.integration.test_whole_loads import RandomLoads


class RandomWebhookLoads(RandomLoads):
    """Random loads of runs and of the webhook deliveries about them."""

    @initialize(direct_merge=st.booleans())
    def begin(self, direct_merge: bool) -> None:
        super().begin(direct_merge)
        self.spool_url = f"sqlite:///{self.directory}/spool.db"
        self.spool = Spool(self.spool_url)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
        super().teardown()

    def put(self, event: str, run_id: str, value: object) -> None:
        body = json.dumps(value).encode()
        digest = hashlib.sha256(event.encode() + body).hexdigest()
        self.spool.put([Delivery(event, run_id, body, digest)])
        self.exact = False

    @rule(which=st.integers(0, 99), places=st.lists(st.integers(0, 9), min_size=1, max_size=5))
    def entries_are_pushed(self, which: int, places: list[int]) -> None:
        run_ids = self.world.run_ids()
        run_id = run_ids[which % len(run_ids)]
        if log := self.world.log(run_id):
            chosen = [log[-1 - place % len(log)] for place in places]
            self.put("task-run.log", run_id, {"runId": run_id, "logEntries": chosen})

    @rule(which=st.integers(0, 99), event=st.sampled_from(["started", "completed", "updated"]))
    def an_event_arrives(self, which: int, event: str) -> None:
        run_ids = self.world.run_ids()
        run_id = run_ids[which % len(run_ids)]
        self.put(f"task-run.{event}", run_id, self.world.run(run_id))

    @rule()
    def the_spool_is_drained_without_polling(self) -> None:
        self.home.load(spool=self.spool_url, poll=False)
        self.exact = False

    @rule()
    def the_api_is_down(self) -> None:
        self.emulator.faults.add("/", "status", status=503)
        self.spool.put([Delivery("task-run.log", "", b"[]", "0" * 64)])
        self.load()
        self.emulator.faults.clear()
        self.exact = False

    def load(self) -> object:
        return self.home.load(backoff=0.0, spool=self.spool_url)


TestRandomWebhookLoads = pytest.mark.slow(pytest.mark.timeout(1_800)(RandomWebhookLoads.TestCase))
TestRandomWebhookLoads.settings = settings(
    max_examples=40 if THOROUGH else 4, stateful_step_count=15, deadline=None
)
