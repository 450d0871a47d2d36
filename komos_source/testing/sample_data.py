"""Made histories: weeks of runs with stories worth finding, and bulk for benchmarks."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from komos_source.testing.message_templates import CLEANUP, ERROR, INFO, NEW_WARNING, WARNING, fill
from komos_source.testing.world import DEFAULT_NOW, FakeKomos, WorldClock, iso

_TASKS: dict[str, tuple[str, ...]] = {
    "Invoice download": ("navigate_portal", "login", "click_invoices", "download_invoice"),
    "Order sync": ("navigate_orders", "login", "extract_orders", "click_next", "submit_orders"),
    "Price check": ("navigate_shop", "click_category", "wait_prices", "extract_prices"),
    "Stock report": ("navigate_stock", "login", "extract_stock", "download_report"),
    "Claims upload": ("navigate_claims", "login", "click_new_claim", "submit_claim"),
    "Ticket export": ("navigate_tickets", "login", "wait_list", "extract_tickets"),
    "Address update": ("navigate_crm", "login", "click_contact", "submit_address"),
    "Legacy import": ("navigate_legacy", "wait_frame", "extract_legacy", "submit_import"),
}
_TROUBLE_NODE = "download_page_source"
_BASE = {"warning": 0.05, "error": 0.02}


@dataclass(frozen=True, slots=True)
class PlantedPatterns:
    """What is planted in a made history, for tests that check that it is found.

    Attributes:
        regressed: Task id and node whose error rate rose, on `regressed_on`.
        regressed_on: When it rose from 2 % to 85 % of runs.
        flaky: Task id and node that fails in 12 % of runs all along.
        trouble_only: Task id and node that writes only when its run fails.
        abandoned: Task id that was used no longer from `abandoned_on`.
        abandoned_on: Its last day.
        new_warning: Task id, node and template of a warning that was not seen before.
        new_warning_on: When it was first seen.
    """

    regressed: tuple[str, str]
    regressed_on: datetime
    flaky: tuple[str, str]
    trouble_only: tuple[str, str]
    abandoned: str
    abandoned_on: datetime
    new_warning: tuple[str, str, str]
    new_warning_on: datetime


class MadeWorld(FakeKomos):
    """A world with a made history.

    Attributes:
        stories: What is hidden in it; None where every rate is constant.
    """

    stories: PlantedPatterns | None = None

    def start_run(self, task_id: str | None = None) -> str:
        """Starts a run now, which writes its entries and ends as time passes; returns its id.

        Args:
            task_id: Its task; any that is still used if None.
        """
        with self.lock:
            names = {task["id"]: task["name"] for task in self.tasks()}
            if task_id is None:
                left_out = self.stories.abandoned if self.stories else None
                task_id = self.random.choice([each for each in names if each != left_out])
            return _make_run(self, task_id, _TASKS[names[task_id]], self.clock.now())


def make_sample_data(
    seed: int = 7,
    *,
    days: int = 28,
    end: datetime = DEFAULT_NOW,
    runs_per_day: float = 6.0,
    stories: bool = True,
    regressed_for: timedelta = timedelta(days=4),
    pace: float = 0.0,
) -> MadeWorld:
    """Weeks of runs of eight tasks, the same again for the same seed; the clock stands at `end`.

    Args:
        seed: Of everything random in it.
        days: How long it is.
        end: When it ends. Move the clock back to before that to let it grow.
        runs_per_day: Of each task.
        stories: Whether something happens in it (see `PlantedPatterns`).
        regressed_for: Time since the node of the stories regressed; up to a day is an incident.
        pace: Emulated seconds that pass in one real second.
    """
    world = MadeWorld(WorldClock(end, pace), seed=seed)
    ids = {name: world.add_task(name, category="demo") for name in _TASKS}
    turn, half = end - timedelta(days=2), end - timedelta(days=days / 2)
    if stories:
        world.stories = PlantedPatterns(
            regressed=(ids["Order sync"], "extract_orders"),
            regressed_on=end - regressed_for,
            flaky=(ids["Price check"], "wait_prices"),
            trouble_only=(ids["Stock report"], _TROUBLE_NODE),
            abandoned=ids["Legacy import"],
            abandoned_on=half,
            new_warning=(ids["Claims upload"], "click_new_claim", NEW_WARNING),
            new_warning_on=turn,
        )
    start = end - timedelta(days=days)
    for name, nodes in _TASKS.items():
        for _ in range(round(days * runs_per_day)):
            created = start + timedelta(days=days) * world.random.random()
            if stories and name == "Legacy import" and created > half:
                continue
            _make_run(world, ids[name], nodes, created)
    return world


def _make_run(world: MadeWorld, task_id: str, nodes: tuple[str, ...], created: datetime) -> str:
    pick = world.random
    moment = started = created + timedelta(seconds=pick.uniform(0.2, 20))
    run_id = world.add_run(
        task_id,
        created_at=created,
        started_at=started,
        trigger_type=pick.choices(("schedule", "manual", "api"), (8, 1, 1))[0],
        inputs={"account": pick.randrange(100)},
    )
    failed = False
    for node in nodes:
        for level, template in _visit(world, task_id, node, moment):
            moment += timedelta(seconds=pick.expovariate(0.5))
            _write(world, run_id, node, level, template, moment)
            failed = failed or level == "error"
        if failed and pick.random() < 0.8:  # noqa: PLR2004 - most errors end the run
            break
    story = world.stories
    if story and story.trouble_only[0] == task_id and failed:
        for template in CLEANUP:
            moment += timedelta(seconds=1)
            _write(world, run_id, _TROUBLE_NODE, "error", template, moment)
    cancelled = not failed and pick.random() < 0.03  # noqa: PLR2004 - made up
    status = "FAILED" if failed else "CANCELLED" if cancelled else "COMPLETED"
    run = world._runs[run_id]  # noqa: SLF001 - sample data sets private fields
    run.fields["error"] = {"code": "step_failed", "message": "A step failed"} if failed else None
    run.fields["cancelReason"] = "stopped by user" if cancelled else None
    run.fields["progress"] = {"currentStep": len(nodes), "stepsTotal": len(nodes)}
    world.finish(run_id, status, at=moment + timedelta(seconds=pick.uniform(0.1, 3)))
    return run_id


def _visit(world: MadeWorld, task_id: str, node: str, moment: datetime) -> list[tuple[str, str]]:
    """What one visit of a node writes: levels and templates."""
    pick, story = world.random, world.stories
    warning, error = _BASE["warning"], _BASE["error"]
    if story and (task_id, node) == story.regressed and moment >= story.regressed_on:
        error = 0.85
    if story and (task_id, node) == story.flaky:
        warning, error = 0.15, 0.12
    usual = INFO[node.split("_", maxsplit=1)[0]]
    lines = [("info", pick.choice(usual)) for _ in range(pick.randrange(1, 6))]
    if story and (task_id, node) == story.new_warning[:2] and moment >= story.new_warning_on:
        lines.append(("warning", story.new_warning[2]))
    if pick.random() < warning:
        lines += [("warning", pick.choice(WARNING))] * pick.randrange(1, 4)
    if pick.random() < error:
        lines.append(("error", pick.choice(ERROR)))
    return lines


def _write(
    world: FakeKomos, run_id: str, node: str, level: str, template: str, moment: datetime
) -> None:
    pick = world.random
    late = 600.0 if pick.random() < 0.01 else 2.0  # noqa: PLR2004 - one in a hundred is late
    entry: dict[str, Any] = {
        "id": world.new_id(),
        "timestamp": iso(moment),
        "level": level,
        "message": fill(template, pick, world.new_id) if pick.random() > 0.002 else "",  # noqa: PLR2004
        "nodeId": node if pick.random() > 0.02 else None,  # noqa: PLR2004 - some come without
    }
    untimed = pick.random() < 0.002  # noqa: PLR2004 - and a few without a time
    if untimed:
        entry["timestamp"] = None
    world.add_encoded(
        run_id,
        json.dumps(entry, ensure_ascii=False).encode(),
        None if untimed else moment,
        moment + timedelta(seconds=pick.uniform(0.1, late)),
    )


def bulk_world(
    runs: int = 20,
    entries_per_run: int = 50_000,
    seed: int = 7,
    *,
    null_timestamp_share: float = 0.001,
) -> FakeKomos:
    """Many entries in finished runs of one task, made quickly."""
    world = FakeKomos(seed=seed)
    task_id = world.add_task("Bulk")
    start = world.clock.now() - timedelta(days=3)
    for number in range(runs):
        created = start + timedelta(seconds=number)
        run_id = world.add_run(task_id, created_at=created, status="COMPLETED")
        _fill(world, run_id, created, entries_per_run, null_timestamp_share)
        world.finish(run_id, at=start + timedelta(days=1))
    return world


def grow(world: FakeKomos, share: float = 0.05) -> int:
    """Adds entries to the end of each run, as a share of what it has; returns how many."""
    added = 0
    with world.lock:
        for run in world._runs.values():  # noqa: SLF001 - as above
            count = round(len(run.log) * share)
            _fill(world, run.id, run.latest + timedelta(milliseconds=1), count, 0.0)
            added += count
    return added


def _fill(
    world: FakeKomos, run_id: str, start: datetime, count: int, null_timestamp_share: float
) -> None:
    pick: random.Random = world.random
    templates = [template for group in INFO.values() for template in group]
    messages = [fill(pick.choice(templates), pick, world.new_id) for _ in range(500)]
    levels = ["info"] * 18 + ["warning", "error"]
    nodes = [f"node_{number}" for number in range(12)]
    for number in range(count):
        moment = start + timedelta(milliseconds=number)
        untimed = pick.random() < null_timestamp_share
        timestamp = "null" if untimed else f'"{iso(moment)}"'
        encoded = (
            f'{{"id":"{world.new_id()}","timestamp":{timestamp},'
            f'"level":"{pick.choice(levels)}","message":{json.dumps(pick.choice(messages))},'
            f'"nodeId":"{pick.choice(nodes)}"}}'
        ).encode()
        world.add_encoded(run_id, encoded, None if untimed else moment, start)
