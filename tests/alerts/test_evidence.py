"""What a message shows beside a finding."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from komos_source.alerts.evidence import Evidence, find_evidence
from komos_source.analytics.checks import Finding
from komos_source.testing import FakeKomos
from tests.warehouse import pipeline_over

_SHARED = Finding("incidents", "x", "runs fail in a burst at 2 nodes of 2 tasks", "")


def test_finding_at_nodes_of_several_tasks_has_the_newest_message_of_these_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FakeKomos()
    now = world.clock.now()
    for minutes, task, node in ((30, "a", "login"), (20, "b", "open"), (10, "b", "close")):
        if task not in {each["id"] for each in world.tasks()}:
            world.add_task(task.upper(), task_id=task)
        at = now - timedelta(minutes=minutes)
        run = world.add_run(task, run_id=f"run-{minutes}", created_at=at)
        entry = {"nodeId": node, "level": "error", "message": f"{node} failed"}
        world.append(run, entry | {"timestamp": at.isoformat()})
        world.finish(run, "FAILED")
    pipeline = pipeline_over(world, tmp_path, monkeypatch)
    later = now + timedelta(minutes=1)
    nodes = (("a", "login"), ("b", "open"))
    found = find_evidence(pipeline, replace(_SHARED, nodes=nodes), later)
    assert (found.run_id, found.message) == ("run-20", "open failed")
    one = replace(_SHARED, task_id="a", node_id="login")
    assert find_evidence(pipeline, one, later).message == "login failed"
    assert find_evidence(pipeline, _SHARED, later) == Evidence()
