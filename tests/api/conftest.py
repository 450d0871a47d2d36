"""A run with two entries, for the tests of the client."""

from __future__ import annotations

import pytest

from komos_source.testing import FakeKomos


@pytest.fixture
def run_id(world: FakeKomos) -> str:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {"id": "a"}, {"id": "b"})
    return run_id
