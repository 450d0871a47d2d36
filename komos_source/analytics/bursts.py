"""Finds bursts of failing runs, and the nodes that share one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from itertools import groupby
from math import ceil, inf, isfinite, isinf, log
from typing import Literal
from zoneinfo import ZoneInfo

import pandas as pd

from komos_source.analytics.database import SqlSource
from komos_source.analytics.node_days import (
    NODE,
    History,
    NodeDays,
    as_times,
    by_day,
    read_history,
    seconds,
)
from komos_source.analytics.queries import query
from komos_source.analytics.verdicts import learn_usual, usual_rates
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import UsageError

_BURST_RATE = 0.8
"""Share of runs that fail in an incident, as a model: a run that fails adds evidence, one that does
not takes some away."""
_OVER = log(100)
"""Evidence that runs without a hit have to take away until an incident is over: 3 runs where
failures are rare. With 2, one in which some runs succeed would often end and begin again."""
_SAME_START = 3600.0
"""Seconds by which the starts of incidents at two nodes may differ if they are one."""
_COLUMNS = ["incident_id", "started_at", "ended_at", "open", "runs", "tasks", "nodes", "template"]


@dataclass(slots=True)
class Burst:
    """An incident at one node. Times are in seconds since 1970.

    Attributes:
        node: Its task and id.
        good_before: Start of the last run without a hit before it; minus infinity if there is none.
        started: Start of its first run with a hit.
        last_hit: Start of its last run with a hit so far.
        ended: Start of the first run without a hit after that; infinite while it is open.
        found: Start of the run by which it was certain.
        hits: Runs with a hit in it.
        incident_id: That of the incident, which several nodes may share.
    """

    node: tuple[str, str]
    good_before: float
    started: float
    last_hit: float
    ended: float
    found: float
    hits: int
    incident_id: str = ""


def find_bursts(
    streaks: pd.DataFrame, rates: pd.Series, runs_a_day: float, alpha: float = 0.05
) -> list[Burst]:
    """Finds the bursts of failing runs at each node, and which of them are one incident.

    Args:
        streaks: Rows of ``node_streaks``.
        rates: The usual rate of each node.
        runs_a_day: Visits a day, of all nodes together.
        alpha: False incidents that are accepted a day, for all nodes together: an upper bound.
    """
    threshold = log(max(1.0, runs_a_day) / alpha)
    ordered = streaks.assign(
        first=seconds(streaks["first_run_at"]), last=seconds(streaks["last_run_at"])
    ).sort_values([*NODE, "first"])
    rows = zip(
        zip(ordered["task_id"], ordered["node_id"], strict=True),
        *(ordered[name].tolist() for name in ("first", "last", "runs", "hits")),
        strict=True,
    )
    bursts = [
        burst
        for node, group in groupby(rows, key=lambda row: row[0])
        for burst in _find_bursts_of_node(node, group, rates[node], threshold)
    ]
    _assign_incident_ids(bursts)
    return bursts


def _find_bursts_of_node(
    node: tuple[str, str],
    streaks: Iterator[tuple[tuple[str, str], float, float, int, int]],
    rate: float,
    threshold: float,
) -> Iterator[Burst]:
    """The bursts of one node: parts of its runs in which the evidence exceeds the threshold."""
    burst_rate = max(_BURST_RATE, (1 + rate) / 2)
    hit, miss = log(burst_rate / rate), log((1 - burst_rate) / (1 - rate))
    evidence = peak = 0.0
    good_before = -inf
    burst: Burst | None = None
    for _, first, last, runs, hits in streaks:
        if hits:
            if burst is None:
                burst = Burst(node, good_before, first, last, inf, inf, 0)
                evidence = peak = 0.0
            if not isfinite(burst.found) and evidence + hit * hits >= threshold:
                needed = ceil((threshold - evidence) / hit)
                burst.found = first + (last - first) * (needed - 1) / max(1, runs - 1)
            evidence += hit * hits
            peak = max(peak, evidence)
            burst.hits += hits
            burst.last_hit, burst.ended = last, inf
            continue
        good_before = last
        if burst is None:
            continue
        if not isfinite(burst.ended):
            burst.ended = first
        evidence += miss * runs
        certain = isfinite(burst.found)
        if evidence <= (peak - _OVER if certain else 0.0):
            if certain:
                yield burst
            burst = None
    if burst is not None and isfinite(burst.found):
        burst.ended = inf
        yield burst


def _assign_incident_ids(bursts: list[Burst]) -> None:
    """Gives the bursts that can have begun at the same moment one id.

    It began at a node after the last good run and not after the first failing one. The id is that
    of the burst that was certain first, so that it stays when other nodes follow.
    """
    groups: list[tuple[float, float, float, str]] = []
    for burst in sorted(bursts, key=lambda each: (each.found, each.node)):
        earliest, latest = burst.good_before - _SAME_START, burst.started + _SAME_START
        for place, (low, high, end, name) in enumerate(groups):
            if max(low, earliest) < min(high, latest) and burst.started <= end:
                groups[place] = (
                    max(low, earliest), min(high, latest), max(end, burst.ended), name
                )  # fmt: skip
                burst.incident_id = name
                break
        else:
            text = f"{burst.started:.0f} {burst.node[0]} {burst.node[1]}"
            burst.incident_id = blake2b(text.encode(), digest_size=6).hexdigest()
            groups.append((earliest, latest, burst.ended, burst.incident_id))


def bursts_until(
    streaks: pd.DataFrame, counts: NodeDays, rates: pd.Series, since: datetime
) -> list[Burst]:
    """The bursts that are open or have ended after a moment.

    Args:
        streaks: Rows of ``node_streaks``.
        counts: What `by_day` returned of them.
        rates: The usual rate of each node.
        since: The moment.
    """
    recent = counts.days > counts.today - _PACE_DAYS
    runs_a_day = (counts.runs * recent).sum() / _PACE_DAYS
    found = find_bursts(streaks, rates, runs_a_day)
    return [burst for burst in found if burst.ended >= since.timestamp()]


_PACE_DAYS = 14
"""Days by which the number of runs a day is counted."""


def incidents(
    source: SqlSource,
    *,
    level: Literal["error", "warning"] = "error",
    days: int = 2,
    as_of: date | datetime | None = None,
    time_zone: str | None = None,
) -> pd.DataFrame:
    """Bursts of failing runs that are open or ended lately; one that nodes share is one row.

    Args:
        source: What `open_database` returns, a dlt pipeline, or anything else with its
            ``sql_client()``.
        level: Counts runs with an error at the node, or with a warning.
        days: Shows incidents that ended in this number of last days, at most 14: a node that has
            failed for longer is `regressed`.
        as_of: The last day, or a moment; see `node_regressions`.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.

    Returns:
        A row per incident, open ones first, then the newest: ``incident_id``; ``started_at``, the
        start of the first failing run; ``ended_at``, of the first good run after the last failing
        one at all its nodes, null while it is ``open``; ``runs``, failing runs of its tasks;
        ``tasks``, a list of their ids; ``nodes``, a list of task and node; ``template``, the
        message that most of these runs have in common, with what varies masked.

    Raises:
        UsageError: `days` is less than 1 or more than 14.
    """
    if not 1 <= days <= _PACE_DAYS:
        raise UsageError(f"days must be 1 to {_PACE_DAYS}")
    zone = ZoneInfo(time_zone or configured_time_zone())
    return incidents_in(source, read_history(source, level, as_of, zone), level, days)


def incidents_in(
    source: SqlSource, history: History | None, level: str = "error", days: int = 2
) -> pd.DataFrame:
    """The incidents in a history; see `incidents`.

    Args:
        source: Where the messages of the failing runs are read.
        history: What `read_history` returned.
        level: Level of the entries that count as failures.
        days: Incidents that ended before this number of last days are left out.
    """
    if history is None or history.streaks.empty:
        return pd.DataFrame(columns=_COLUMNS)
    counts = by_day(history.streaks, history.today)
    rates = usual_rates(counts, learn_usual(counts))
    found = bursts_until(history.streaks, counts, rates, history.until - timedelta(days=days))
    rows = []
    for group in incident_groups(found):
        row = _row(group)
        row["template"] = _common_template(source, level, group)
        rows.append(row)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    for name in ("started_at", "ended_at"):
        table[name] = as_times(table[name])
    return table.sort_values(["open", "started_at"], ascending=False, ignore_index=True)


def _common_template(source: SqlSource, level: str, group: list[Burst]) -> str | None:
    """The template that most runs of the incident have."""
    templates = query(
        source,
        "message_templates",
        since=_moment(min(burst.started for burst in group)),
        until=_moment(max(burst.last_hit for burst in group) + 1),
        levels=[level],
    )
    inside = pd.MultiIndex.from_frame(templates[NODE]).isin([burst.node for burst in group])
    runs = templates[inside].groupby("template")["runs"].sum().sort_index()
    return str(runs.idxmax()) if len(runs) else None


def incident_groups(bursts: list[Burst]) -> list[list[Burst]]:
    """The bursts of each incident."""
    ordered = sorted(bursts, key=lambda burst: (burst.incident_id, burst.node))
    return [list(group) for _, group in groupby(ordered, key=lambda burst: burst.incident_id)]


def _row(group: list[Burst]) -> dict[str, object]:
    is_open = any(isinf(burst.ended) for burst in group)
    hits: dict[str, int] = {}
    for burst in group:  # the nodes of a task fail in the same runs
        hits[burst.node[0]] = max(hits.get(burst.node[0], 0), burst.hits)
    return {
        "incident_id": group[0].incident_id,
        "started_at": min(burst.started for burst in group),
        "ended_at": None if is_open else max(burst.ended for burst in group),
        "open": is_open,
        "runs": sum(hits.values()),
        "tasks": sorted(hits),
        "nodes": [burst.node for burst in group],
    }


def _moment(seconds_since: float) -> datetime:
    return datetime.fromtimestamp(seconds_since, UTC)
