"""False alarms and delays of `node_regressions`: ``python -m benchmarks.verdicts [WORLD…]``.

Each world is 200 nodes over 12 weeks, written into the tables of a DuckDB file and read from there
by SQL. `node_regressions` is asked after each day and each hour; a node that is called
``regressed`` at any of these looks counts once. The looks call the functions that
`node_regressions` consists of, with two short cuts that change no result: what is usual is learned
once a day, as it depends on the days before; and in an hour only those nodes are judged anew that
had a failure, or a run if they may be ``regressed``: a good run only weakens the evidence. One look
in 1,000 is repeated with `node_regressions` itself and compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from komos_source import tables
from komos_source.analytics import node_regressions, open_database
from komos_source.analytics.change_model import DAYS
from komos_source.analytics.node_days import NodeDays
from komos_source.analytics.verdicts import RateChanges, find_changes, judge, learn_usual

NODES, WEEKS = 200, 12
START = datetime(2025, 6, 2, tzinfo=UTC)  # a Monday
HOUR, DAY = 3600.0, 86400.0
Array = np.ndarray[Any, Any]
ALPHA = 0.05
_COMPARED = 1 / 1000
COMPARED: list[date] = []
"""Looks that were repeated with `node_regressions`."""


@dataclass
class World:
    """Runs of nodes: the node, the seconds since START, and whether the run failed there."""

    node: Array
    moment: Array
    hit: Array
    days: int
    quiet: bool = False
    """Whether nodes write only on trouble: nothing else writes. Each node fails in its first run,
    so that it is known from then on."""


def schedule(rng: Any, days: int, a_day: float) -> tuple[Array, Array]:
    """Runs at equal intervals, each node with a start of its own."""
    every = DAY / a_day
    number = np.arange(int(days * a_day))
    moment = (rng.random((NODES, 1)) + number) * every
    return np.repeat(np.arange(NODES), len(number)), moment.ravel()


def world(
    rng: Any,
    *,
    rate: float | Callable[[Array, Array], Array] = 0.05,
    a_day: float = 10,
    correlation: float = 0.0,
    outages: float = 0.0,
    hours: float = 1.0,
    shared: int = 1,
    random_times: bool = False,
    days: int = 7 * WEEKS,
    quiet: bool = False,
) -> World:
    """Healthy nodes.

    Args:
        rng: Source of everything random.
        rate: Probability of a failure, or a function of node and moment.
        a_day: Runs a day.
        correlation: Of the runs of a day.
        outages: How many begin a day and node.
        hours: How long each takes; every run fails.
        shared: Number of nodes that each outage hits.
        random_times: Whether runs start at random instead of at equal intervals.
        days: Length.
        quiet: Whether nodes write only on trouble.
    """
    node, moment = schedule(rng, days, a_day)
    if random_times:
        moment = rng.random(len(moment)) * days * DAY
    chance = rate(node, moment) if callable(rate) else np.full(len(node), rate)
    if correlation:
        size = 1 / correlation - 1
        day = (moment // DAY).astype(int)
        low = np.zeros((NODES, days))
        np.maximum.at(low, (node, day), chance)
        high = rng.beta(np.maximum(low * size, 1e-9), np.maximum((1 - low) * size, 1e-9))
        chance = high[node, day]
    hit = rng.random(len(node)) < chance
    count = rng.poisson(outages * NODES * days / shared)
    for _ in range(count):
        begin = rng.random() * days * DAY
        where = rng.choice(NODES, shared, replace=False)
        inside = (moment >= begin) & (moment < begin + hours * HOUR) & np.isin(node, where)
        hit |= inside
    if quiet:
        order = np.lexsort((moment, node))
        hit[order[np.unique(node[order], return_index=True)[1]]] = True
    return World(node, moment, hit, days, quiet)


def _weekday(node: Array, moment: Array) -> Array:
    return np.where((moment // DAY) % 7 >= 5, 0.15, 0.03)


def _drift(node: Array, moment: Array) -> Array:
    sign = np.where(node % 2, 0.01, -0.01)
    return np.clip(np.where(node % 2, 0.05, 0.15) + sign * moment / (7 * DAY), 0.001, 1)


WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "independent": ("5 % of runs fail, independently", {}),
    "bursty": ("daily rates from a beta distribution, correlation 1/9", {"correlation": 1 / 9}),
    "hours": ("outages of an hour, one a node and week", {"outages": 1 / 7, "hours": 1}),
    "shared": (
        "outages of 6 hours shared by 10 nodes, one a node in 4 weeks",
        {"outages": 1 / 28, "hours": 6, "shared": 10},
    ),
    "weekdays": ("3 % on working days, 15 % on weekends", {"rate": _weekday}),
    "three": ("3 runs a day", {"a_day": 3}),
    "drift": ("half of the nodes + 1 %, half − 1 % a week", {"rate": _drift}),
    "bursty_0.2": ("as bursty, correlation 0.2", {"correlation": 0.2}),
    "hourly": ("hourly runs", {"a_day": 24}),
    "hourly_bursty": ("hourly runs, correlation 1/9", {"a_day": 24, "correlation": 1 / 9}),
    "weekly": ("one run a week", {"a_day": 1 / 7}),
    "random": ("10 runs a day at random times", {"random_times": True}),
    "rate_1": ("1 % of runs fail", {"rate": 0.01}),
    "rate_20": ("20 % of runs fail", {"rate": 0.2}),
    "six_hours": ("outages of 6 hours, one a node in 2 weeks", {"outages": 1 / 14, "hours": 6}),
    "one_day": ("outages of 24 hours, one a node in 8 weeks", {"outages": 1 / 56, "hours": 24}),
    "quiet": ("nodes that write only on trouble, correlation 1/9",
              {"quiet": True, "correlation": 1 / 9}),
}  # fmt: skip


def write(made: World, file: Path) -> None:
    """Writes a world into the tables, as a load would."""
    started = pa.array((made.moment * 1e6).astype("int64") + int(START.timestamp() * 1e6)).cast(
        tables.MOMENT
    )
    runs = pa.array([f"{number:08d}" for number in range(len(made.node))])
    task = pa.array([f"task-{number:03d}" for number in made.node])
    level = pa.array(np.where(made.hit, "error", "info"))
    node = pa.array(np.full(len(made.node), "cleanup" if made.quiet else "node"))
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET threads = 1; CREATE SCHEMA IF NOT EXISTS komos; USE komos")
        for table in tables.ARROW_TABLES:
            connection.register("given", table.empty())
            connection.execute(f"CREATE OR REPLACE TABLE {table.name} AS FROM given")
            connection.unregister("given")
        made_runs = pa.table({"id": runs, "task_id": task, "status": ["COMPLETED"] * len(runs),
                              "started_at": started})  # fmt: skip
        logs = pa.table({"id": runs, "run_id": runs, "level": level, "node_id": node})
        if made.quiet:
            logs = logs.filter(pa.array(made.hit))
        connection.register("made_runs", made_runs)
        connection.register("made_logs", logs)
        connection.execute("INSERT INTO task_runs BY NAME FROM made_runs")
        connection.execute("INSERT INTO task_run_logs BY NAME FROM made_logs")


@dataclass
class Read:
    """What SQL returns of a world: each node's runs by day and by hour."""

    names: list[tuple[str, str]]
    runs: Array
    hits: Array
    first_hit: Array
    last_hit: Array


def read(database: Any, days: int, quiet: bool) -> Read:
    """Counts runs and hits by node and hour, in the database."""
    text = (
        "SELECT runs.task_id, logs.node_id, "
        f"CAST(FLOOR((EPOCH(runs.started_at) - {START.timestamp()}) / 3600) AS INT) AS hour, "
        "COUNT(*) AS runs, SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS hits, "
        "MIN(CASE WHEN logs.level = 'error' THEN EPOCH(runs.started_at) END) AS first_hit, "
        "MAX(CASE WHEN logs.level = 'error' THEN EPOCH(runs.started_at) END) AS last_hit "
        "FROM task_runs AS runs LEFT JOIN task_run_logs AS logs ON logs.run_id = runs.id "
        "GROUP BY ALL"
    )
    with database.sql_client() as client:  # as a frame at once, which is faster than by row
        found = client.native_connection.sql(text).df()
    if quiet:  # all runs of the task count
        found["node_id"] = "cleanup"
        found = (
            found.groupby(["task_id", "node_id", "hour"])
            .agg({"runs": "sum", "hits": "sum", "first_hit": "min", "last_hit": "max"})
            .reset_index()
        )
    nodes = pd.MultiIndex.from_frame(found[["task_id", "node_id"]])
    names = sorted(nodes.unique())
    row = pd.MultiIndex.from_tuples(names).get_indexer(nodes)
    shape = (len(names), days * 24)
    empty = {"runs": 0, "hits": 0, "first_hit": np.inf, "last_hit": -np.inf}
    arrays = {name: np.full(shape, value) for name, value in empty.items()}
    for name, array in arrays.items():
        values = found[name].astype(float).to_numpy()
        array[row, found["hour"]] = np.where(np.isnan(values), empty[name], values)
    for name in ("runs", "hits"):
        arrays[name] = arrays[name].astype(int)
    return Read(names, **arrays)


def counts_before(data: Read, day: int) -> NodeDays:
    """The counts of the days before a day; the judged day is still empty."""
    by_day = [
        getattr(data, name)[:, : day * 24].reshape(len(data.names), day, 24)
        for name in ("runs", "hits", "first_hit")
    ]
    runs, hits = by_day[0].sum(axis=2), by_day[1].sum(axis=2)
    first_hit = by_day[2].min(axis=2) if day else np.zeros((len(data.names), 0))
    today = START.toordinal() + day
    number = np.broadcast_to(START.toordinal() + np.arange(day), runs.shape)
    order = np.argsort(runs > 0, axis=1, kind="stable")[:, -(DAYS - 1) :]
    shape = (len(data.names), DAYS)
    found = {}
    for name, values, empty in (
        ("runs", runs, 0), ("hits", hits, 0), ("days", number, 0), ("first_hit", first_hit, np.inf)
    ):  # fmt: skip
        array = np.full(shape, empty, dtype=float if name == "first_hit" else int)
        array[:, DAYS - 1 - order.shape[1] : DAYS - 1] = np.take_along_axis(values, order, axis=1)
        found[name] = array
    found["days"][:, -1] = today
    last = data.last_hit[:, : day * 24].max(axis=1, initial=-np.inf)
    return NodeDays(pd.MultiIndex.from_tuples(data.names), today, last_hit=last, **found)


def look(
    data: Read, database: Any, days: int, rng: Any, since: int = 1, alpha: float = ALPHA
) -> Array:
    """Asks after each hour and each day.

    Returns:
        Of each node, the seconds from START to the first look at which it was ``regressed``;
        infinite if never.
    """
    found = np.full(len(data.names), np.inf)
    every = np.arange(len(data.names))
    for day in range(since, days):
        today = slice(day * 24, day * 24 + 24)
        counts = counts_before(data, day)
        usual = learn_usual(counts)
        changes = find_changes(counts, usual)
        node, hour = np.nonzero(data.hits[:, today])
        judged = judge_at(data, counts, usual, day, node, hour)
        # A run without a hit matters only at a node that can be called regressed.
        suspect = np.union1d(np.flatnonzero(changes.p_rise <= alpha), node[judged.p_rise <= alpha])
        node, hour = np.nonzero(data.runs[:, today])
        kept = np.isin(node, suspect)
        node, hour = np.concatenate([node[kept], every]), np.append(hour[kept], every * 0 + 23)
        judged = judge_at(data, counts, usual, day, node, hour)
        for at in range(24):
            rows = hour == at
            for name in RateChanges.__slots__:
                getattr(changes, name)[node[rows]] = getattr(judged, name)[rows]
            if database is not None and rng.random() < _COMPARED:
                compare_look(database, data, day * 24 + at, usual, counts, changes)
            if (np.sort(changes.p_rise) * len(every) > alpha * (every + 1)).all():
                continue  # no adjusted p-value can be small enough
            regressed = judge(changes, alpha).regressed
            moment = (day * 24 + at + 1) * HOUR
            found[regressed] = np.minimum(found[regressed], moment)
    return found


def judge_at(
    data: Read, counts: NodeDays, usual: Any, day: int, node: Array, hour: Array
) -> RateChanges:
    """Judges nodes as of the end of an hour of a day."""
    today = slice(day * 24, day * 24 + 24)
    some = replace(
        counts,
        **{
            name: getattr(counts, name)[node]
            for name in ("runs", "hits", "days", "first_hit", "last_hit")
        },
    )
    some.runs[:, -1] = data.runs[:, today].cumsum(axis=1)[node, hour]
    some.hits[:, -1] = data.hits[:, today].cumsum(axis=1)[node, hour]
    some.first_hit[:, -1] = np.minimum.accumulate(data.first_hit[:, today], axis=1)[node, hour]
    last_hit = np.maximum.accumulate(data.last_hit[:, today], axis=1)[node, hour]
    np.maximum(some.last_hit, last_hit, out=some.last_hit)
    return find_changes(some, [usual[0].of(node)])


def compare_look(
    database: Any, data: Read, at: int, usual: Any, counts: NodeDays, changes: RateChanges
) -> None:
    """Repeats a look with `node_regressions`, by SQL.

    Raises:
        AssertionError: A p-value differs, or a state.
    """
    seen = START + timedelta(hours=at + 1)
    moment: date = seen if seen.hour else (seen - timedelta(days=1)).date()
    asked = node_regressions(database, as_of=moment, time_zone="UTC")
    asked = asked.set_index(["task_id", "node_id"])
    index = pd.MultiIndex.from_tuples(data.names, names=["task_id", "node_id"])
    # Nodes without a new hit in this hour may have had runs since they were judged.
    whole = replace(counts, runs=counts.runs.copy(), hits=counts.hits.copy())
    whole.runs[:, -1] = data.runs[:, at - at % 24 : at + 1].sum(axis=1)
    whole.hits[:, -1] = data.hits[:, at - at % 24 : at + 1].sum(axis=1)
    exact = pd.Series(find_changes(whole, usual).p_rise, index)
    both = asked.index[asked.index.isin(index)]
    np.testing.assert_allclose(
        asked.loc[both, "p_value"].astype(float), exact[both].to_numpy(), rtol=1e-6
    )
    regressed = pd.Series(judge(changes).regressed, index)[both]
    assert ((asked.loc[both, "state"] == "regressed") <= regressed).all(), moment  # noqa: S101
    COMPARED.append(moment)


def false_alarms(name: str, seed: int) -> Array:
    """All looks at one world."""
    rng = np.random.default_rng(seed)
    options = dict(WORLDS[name][1])
    made = world(rng, **options)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "komos_task_run_logs.duckdb"
        write(made, file)
        database = open_database(database=file)
        return look(read(database, made.days, made.quiet), database, made.days, rng)


def delays(before: float, after: float, seed: int, changed: int = 20) -> Array:
    """Days from the change to the first look at which each of the nodes is ``regressed``.

    The change is at the begin of day 56; the other nodes fail in 5 % of runs all along.
    """
    rng = np.random.default_rng(seed)
    turn, days = 56, 70

    def rate(node: Array, moment: Array) -> Array:
        mine = np.where(moment < turn * DAY, before, after)
        return np.where(node < changed, mine, 0.05)

    made = world(rng, rate=rate, days=days)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "komos_task_run_logs.duckdb"
        write(made, file)
        database = open_database(database=file)
        data = read(database, days, False)
        found = look(data, database, days, rng, since=turn)
    return (found[:changed] - turn * DAY) / DAY


def main() -> None:
    """Prints a row per world."""
    parser = argparse.ArgumentParser()
    parser.add_argument("worlds", nargs="*")
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    names = given.worlds or [*WORLDS, "5:30", "20:40", "0:100"]
    for name in names:
        begun = time.monotonic()
        if ":" in name:
            before, after = (float(part) / 100 for part in name.split(":"))
            found = np.concatenate([delays(before, after, seed) for seed in range(given.seeds)])
            within = {days: float((found <= days).mean().round(3)) for days in (1, 2, 3, 4, 5, 7)}
            print(f"{name}: median {np.median(found):.2f} days; found within days: {within}; "
                  f"{time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
            continue
        results = [false_alarms(name, seed) for seed in range(given.seeds)]
        false = [int(np.isfinite(each).sum()) for each in results]
        print(f"| {name} | {WORLDS[name][0]} | {np.mean(false):.2f} | {min(false)} to {max(false)} "
              f"| {time.monotonic() - begun:.0f} s |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
