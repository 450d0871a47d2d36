"""`query`: each filter that a query has selects its rows, and each other one is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dlt
import pytest

from komos_source.analytics import query
from komos_source.analytics.render import QUERIES, filters
from komos_source.exceptions import UsageError
from komos_source.testing import FakeKomos, make_sample_data
from tests.warehouse import pipeline_over


@pytest.fixture(scope="module")
def world() -> FakeKomos:
    return make_sample_data(days=4)


@pytest.fixture(scope="module")
def pipeline(world: FakeKomos, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield pipeline_over(world, tmp_path_factory.mktemp("filters"), patch)


_GIVEN = {
    "since": datetime(2025, 1, 1, tzinfo=UTC),
    "until": datetime(2026, 1, 1, tzinfo=UTC),
    "recent_days": 3,
    "new_since": datetime(2025, 1, 1, tzinfo=UTC),
    "levels": ["error"],
    "task_id": "t",
    "node_id": "n",
    "run_id": "r",
    "limit": 5,
}


@pytest.mark.parametrize("name", QUERIES)
def test_query_refuses_each_filter_that_it_does_not_have_and_names_its_own(
    name: str, pipeline: dlt.Pipeline
) -> None:
    for option, value in _GIVEN.items():
        if option in filters(name):
            query(pipeline, name, **{option: value})
        else:
            with pytest.raises(UsageError) as refused:
                query(pipeline, name, **{option: value})
            assert f"{name} has no filter {option}: it has {', '.join(filters(name))}." in str(
                refused.value
            )


@pytest.mark.parametrize("name", [name for name in QUERIES if "task_id" in filters(name)])
def test_query_of_a_task_returns_the_rows_of_that_task_unchanged(
    name: str, pipeline: dlt.Pipeline, world: FakeKomos
) -> None:
    task_id = world.tasks()[1]["id"]
    everything, found = query(pipeline, name), query(pipeline, name, task_id=task_id)
    mine = everything[everything["task_id"] == task_id]
    assert 0 < len(found) == len(mine) < len(everything)
    assert _rows(found) == _rows(mine)


@pytest.mark.parametrize("name", [name for name in QUERIES if "node_id" in filters(name)])
def test_query_of_a_node_returns_the_rows_of_that_node(
    name: str, pipeline: dlt.Pipeline, world: FakeKomos
) -> None:
    everything = query(pipeline, name)
    for node_id in ("extract_orders", "(no node)"):
        found = query(pipeline, name, node_id=node_id)
        assert 0 < len(found) == (everything["node_id"] == node_id).sum() < len(everything)
        if "place" not in found:  # which is counted among the entries of the node
            assert _rows(found) == _rows(everything[everything["node_id"] == node_id])


@pytest.mark.parametrize("name", [name for name in QUERIES if "run_id" in filters(name)])
def test_query_of_a_run_returns_the_rows_of_that_run(
    name: str, pipeline: dlt.Pipeline, world: FakeKomos
) -> None:
    everything, run_id = query(pipeline, name), world.run_ids()[3]
    found = query(pipeline, name, run_id=run_id)
    assert 0 < len(found) < len(everything)
    if "run_id" in found:
        assert _rows(found) == _rows(everything[everything["run_id"] == run_id])
    else:
        assert found["gaps"].sum() == len(world.log(run_id)) - 1


def _rows(frame: Any) -> list[str]:
    known = frame.astype(object).where(frame.notna(), None)
    return sorted(map(repr, known.itertuples(index=False)))
