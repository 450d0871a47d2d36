"""How well a change of a node's rate explains its daily counts, compared with no change. Pure.

The model of a node: each day has a rate of its own around the node's usual one (beta-binomial), and
is an outage with a small probability, in which any share of the runs may fail. How much the days
differ, and how often there are outages, is learned from the node's earlier days and from all nodes
together. ``docs/analysis.md`` describes the method and its sources.

Arrays have a row per node, and a column per day on which the node was visited, the newest last. A
node with fewer days has columns with 0 runs in front, which change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

Array = npt.NDArray[Any]

USUAL_DAYS = 14
"""Days with runs from which a node's usual rate is learned: few enough to follow a slow drift."""
CHANGE_DAYS = 10
"""Days with runs on which a change may have begun, the judged day included."""
DAYS = USUAL_DAYS + CHANGE_DAYS
"""Number of columns."""
_HELD_OUT = 5
"""Last days that the nodes together are not learned from, so that nodes that break at the same time
do not make large variation look usual."""
_KNOWN_FOR = 7
"""Days for which a node has to be known before a change: its first weekend is none."""
_ENOUGH_RUNS = 20
"""Runs from which the usual rate can be told for incidents."""
_OUTAGE_STAYS = 0.4
"""Probability that an outage lasts until the next day."""
_UNSEEN_NODES = 2.0
"""Weight of the even prior, in nodes: what is assumed where there are few nodes."""

_RATES = np.array(
    [
        *(0.001, 0.005, 0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.14),
        *(0.19, 0.25, 0.32, 0.42, 0.55, 0.7, 0.85, 0.95, 0.995),
    ]
)
_CORRELATIONS = np.array([0.0, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5])
_OUTAGES = np.array([0.001, 0.02])
_RATE, _CORRELATION, _OUTAGE = (
    grid.ravel() for grid in np.meshgrid(_RATES, _CORRELATIONS, _OUTAGES, indexing="ij")
)
"""The combinations that a node may have: usual rate, correlation of the runs of a day, and
probability that an outage begins on a day."""
_SHARE_OF_OUTAGE_DAYS = _OUTAGE / (1 - _OUTAGE_STAYS + _OUTAGE)
_TYPICAL_RISE, _SPREAD_OF_RISE = 2.2, 0.7
"""Expected change of the odds: times e^2.2 (5 % to 32 %), give or take a factor of e^0.7."""
_SMALLER_RISE, _LARGER_RISE = 0.01, 0.05
"""Weight of any other change, compared with the typical one."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known of nodes before a day is judged; C combinations, N nodes.

    Attributes:
        before: Probability of each combination before each day on which a change may have begun,
            of shape (CHANGE_DAYS, N, C).
        risen: The same after a rise on that day, of the same shape.
        fallen: The same after a fall.
        known: Whether the node was visited a week before that day, of shape (CHANGE_DAYS, N).
        visited: Whether there were runs on that day, of shape (CHANGE_DAYS - 1, N).
        likelihoods: Of the counts of all these days but the last, of shape (CHANGE_DAYS - 1, N, C).
        outage_likelihoods: The same in an outage, of shape (CHANGE_DAYS - 1, N).
        stays: Probability that an outage lasts until the next of these days, of the same shape.
        rate: Expected rate of each node before these days; where that is hardly known, before the
            first of them that follows enough runs.
    """

    before: Array
    risen: Array
    fallen: Array
    known: Array
    visited: Array
    likelihoods: Array
    outage_likelihoods: Array
    stays: Array
    rate: Array

    def of(self, nodes: Array) -> Usual:
        """The same for some of the nodes, by their places."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        axis = {1: 0, 2: 1, 3: 1}
        return Usual(
            **{name: array.take(nodes, axis[array.ndim]) for name, array in arrays.items()}
        )


def prior(today: int, runs: Array, hits: Array, days: Array) -> Array:
    """Shares of the nodes that have each combination, by expectation maximisation.

    Args:
        today: Number of the judged day, as in `date.toordinal`.
        runs: Runs by node and day, without the judged day, of shape (N, DAYS - 1).
        hits: Of them those with an error, of the same shape.
        days: Numbers of the days, of the same shape.

    Returns:
        An array of shape (C,), whose sum is 1.
    """
    old = days <= today - _HELD_OUT
    if (runs * old).sum() < runs.sum() / 2:
        old = days < today
    weights = np.full(len(_RATE), 1 / len(_RATE))
    if not len(runs):
        return weights
    table, index = _likelihoods(runs * old, hits * old)
    logs = _log_with_outages(*table)
    total = np.zeros((len(runs), len(_RATE)))
    for column in index.T:
        total += logs[column]
    fit = np.exp(total - total.max(axis=1, keepdims=True))
    for _ in range(60):
        member = fit * weights
        member /= member.sum(axis=1, keepdims=True)
        weights = (_UNSEEN_NODES / len(_RATE) + member.sum(axis=0)) / (_UNSEEN_NODES + len(runs))
    return np.array(weights)


def learn(
    today: int, weights: Array, minimum_effect: float, runs: Array, hits: Array, days: Array
) -> Usual:
    """What is usual for each node.

    Args:
        today: Number of the judged day, as in `date.toordinal`.
        weights: What `prior` returned for these and all other nodes, of shape (C,).
        minimum_effect: Smallest difference of rates that is a change, from 0 to 1.
        runs: Runs by node and day, without the judged day, of shape (N, DAYS - 1).
        hits: Of them those with an error, of the same shape.
        days: Numbers of the days, of the same shape.
    """
    table, index = _likelihoods(runs, hits)
    logs = _log_with_outages(*table)[index.T]
    sums = np.concatenate([np.zeros_like(logs[:1]), np.cumsum(logs, axis=0)])
    first = DAYS - CHANGE_DAYS
    sums = sums[first:] - sums[first - USUAL_DAYS : -USUAL_DAYS]
    before = np.exp(sums - sums.max(axis=2, keepdims=True)) * weights
    before /= before.sum(axis=2, keepdims=True)
    rise, fall = _moves(minimum_effect)
    last_days = np.column_stack([days[:, first:], np.full(len(days), today)])
    first_day = np.where(runs > 0, days, today).min(axis=1, keepdims=True)
    seen = np.concatenate([np.zeros((1, len(runs))), np.cumsum(runs.T, axis=0)])[first:]
    enough = np.where(
        seen[-1] >= _ENOUGH_RUNS, np.argmax(seen >= _ENOUGH_RUNS, axis=0), CHANGE_DAYS - 1
    )
    return Usual(
        before=before,
        risen=_moved(before, rise),
        fallen=_moved(before, fall),
        known=(last_days - first_day).T >= _KNOWN_FOR,
        visited=runs.T[first:] > 0,
        likelihoods=table[0][index.T[first:]],
        outage_likelihoods=table[1][index.T[first:]],
        stays=_OUTAGE_STAYS ** np.maximum(np.diff(last_days, axis=1).T, 1),
        rate=before[enough, np.arange(len(runs))] @ _RATE,
    )


def evidence(usual: Usual, runs: Array, hits: Array) -> tuple[Array, Array]:
    """Likelihood ratios of a rise and of a fall, by the day on which it began.

    Args:
        usual: What `learn` returned.
        runs: Runs of each node on the judged day, so far, of shape (N,).
        hits: Of them those with an error, of the same shape.

    Returns:
        Two arrays of shape (CHANGE_DAYS, N). A ratio of 100 means that the counts from that day on
        are 100 times as probable with a change as without; 0 where a change cannot have begun.
    """
    table, index = _likelihoods(runs, hits)
    usually, in_outage = table[0][index], table[1][index][:, None]
    rises, falls = np.zeros(usual.known.shape), np.zeros(usual.known.shape)
    after, after_outage = np.ones_like(usually), np.ones_like(usually)
    for day in range(CHANGE_DAYS - 1, -1, -1):
        # Probability of this day and all later ones, if it is none of an outage, and if it is one.
        normal, outage = usually * after, in_outage * after_outage
        all_days = normal + _SHARE_OF_OUTAGE_DAYS * (outage - normal)
        unchanged = np.einsum("nc,nc->n", usual.before[day], all_days)
        visited = usual.visited[day] if day < CHANGE_DAYS - 1 else runs > 0
        can_begin = usual.known[day] & visited
        for found, moved in ((rises, usual.risen), (falls, usual.fallen)):
            changed = np.einsum("nc,nc->n", moved[day], all_days)
            found[day] = np.where(can_begin, changed / unchanged, 0.0)
        if day:
            stays = usual.stays[day - 1][:, None]
            after = normal + _OUTAGE * (outage - normal)
            after_outage = normal + stays * (outage - normal)
            usually = usual.likelihoods[day - 1]
            in_outage = usual.outage_likelihoods[day - 1][:, None]
    return rises, falls


def _likelihoods(runs: Array, hits: Array) -> tuple[tuple[Array, Array], Array]:
    """Probabilities of the counts: a table by pair of counts, and the pair's row in it.

    For P different pairs of counts: arrays of shape (P, C) and (P,), and the rows of the pairs, of
    the shape of `runs`.

    The table has the beta-binomial probability in each combination, and that of an outage, where
    each number of hits is equally probable. All of a row are divided by the largest, so that a
    product of many is not rounded to 0; ratios stay the same.
    """
    key, index = np.unique(runs.astype(np.int64) << 32 | hits, return_inverse=True)
    n, k = (key >> 32)[:, None].astype(float), (key & 0xFFFFFFFF)[:, None].astype(float)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    binomial = k * np.log(_RATE) + (n - k) * np.log1p(-_RATE)
    size = 1 / np.where(_CORRELATION > 0, _CORRELATION, 0.5) - 1
    a, b = _RATE * size, (1 - _RATE) * size
    beta_binomial = (
        gammaln(k + a) + gammaln(n - k + b) - gammaln(n + size)
        + gammaln(size) - gammaln(a) - gammaln(b)
    )  # fmt: skip
    logs = ways + np.where(_CORRELATION > 0, beta_binomial, binomial)
    outage = -np.log(n[:, 0] + 1)
    largest = np.maximum(logs.max(axis=1), outage)
    return (
        (np.exp(logs - largest[:, None]), np.exp(outage - largest)),
        index.reshape(runs.shape),
    )


def _log_with_outages(usually: Array, in_outage: Array) -> Array:
    share = _SHARE_OF_OUTAGE_DAYS
    logs = np.log((1 - share) * usually + share * in_outage[:, None])
    halved: Array = logs.astype(np.float32)  # in memory: as many as nodes, days and combinations
    return halved


def _moves(minimum_effect: float) -> tuple[Array, Array]:
    """Probabilities of the rate after a rise and after a fall, by the rate before.

    Each of shape (R, R) for R rates; rows are the rate before, columns that after.
    """
    odds = np.log(_RATES / (1 - _RATES))
    ratio = odds[None, :] - odds[:, None]
    found = []
    for sign in (1, -1):
        rise = sign * ratio - _TYPICAL_RISE
        weight = np.exp(-0.5 * (rise / _SPREAD_OF_RISE) ** 2)
        weight += np.where(rise > 0, _LARGER_RISE, _SMALLER_RISE)
        weight = weight * (sign * (_RATES[None, :] - _RATES[:, None]) >= minimum_effect - 1e-9)
        found.append(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300))
    return found[0], found[1]


def _moved(before: Array, move: Array) -> Array:
    """Probabilities of the combinations after a move, of the shape of `before`."""
    by_rate = before.reshape(*before.shape[:2], len(_RATES), -1)
    moved = np.einsum("dnpr,pq->dnqr", by_rate, move, optimize=True)
    return np.array(moved.reshape(before.shape))
