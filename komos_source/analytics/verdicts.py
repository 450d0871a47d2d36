"""Tests nodes for a change of their rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from komos_source.analytics import change_model
from komos_source.analytics.change_model import CHANGE_DAYS, DAYS, USUAL_DAYS, Array, Usual
from komos_source.analytics.node_days import NodeDays
from komos_source.analytics.statistics import benjamini_hochberg

LASTS = 86400.0
"""Seconds that a rise has to last: what is over within a day is an incident."""
NODES_AT_ONCE = 500
"""Bounds the memory that the model takes."""


@dataclass(frozen=True, slots=True)
class RateChanges:
    """The likeliest change of each node; arrays have one value per node.

    Attributes:
        p_rise: Probability of such evidence of a rise, at most, if there was none.
        p_fall: The same of a fall.
        column: Place of the day of the change among the columns of `NodeDays`.
        runs_before: Runs on the days with runs before, as far as the usual rate is learned from.
        hits_before: Of them those with a hit.
        runs_since: Runs since the day of the change.
        hits_since: Of them those with a hit.
        lasts: Seconds between the first and the last hit since the change.
    """

    p_rise: Array
    p_fall: Array
    column: Array
    runs_before: Array
    hits_before: Array
    runs_since: Array
    hits_since: Array
    lasts: Array

    @property
    def difference(self) -> Array:
        """Rate since the change less that before."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array(self.hits_since / self.runs_since - self.hits_before / self.runs_before)


def learn_usual(counts: NodeDays, minimum_effect: float = 0.05) -> list[Usual]:
    """What is usual for the nodes, learned from the days before the judged one.

    Returns:
        One for each `NODES_AT_ONCE` nodes, in order.
    """
    earlier = [array[:, :-1] for array in (counts.runs, counts.hits, counts.days)]
    weights = change_model.prior(counts.today, *earlier)
    return [
        change_model.learn(
            counts.today,
            weights,
            minimum_effect,
            *(array[at : at + NODES_AT_ONCE] for array in earlier),
        )
        for at in range(0, len(counts.runs), NODES_AT_ONCE)
    ]


def usual_rates(counts: NodeDays, usual: Sequence[Usual]) -> pd.Series:
    """The usual rate of each node, by task and node."""
    return pd.Series(np.concatenate([part.rate for part in usual]), counts.nodes)


def find_changes(counts: NodeDays, usual: Sequence[Usual]) -> RateChanges:
    """The likeliest change of each node, whatever the other nodes do.

    Args:
        counts: What `by_day` returned.
        usual: What `learn_usual` returned for these nodes.
    """
    starts = np.cumsum([0, *(part.known.shape[1] for part in usual)])
    ratios = [
        change_model.evidence(part, counts.runs[start:end, -1], counts.hits[start:end, -1])
        for part, start, end in zip(usual, starts, starts[1:], strict=False)
    ]
    rises, falls = (np.concatenate([each[side] for each in ratios], axis=1) for side in (0, 1))
    with np.errstate(divide="ignore"):
        p_rise, p_fall = (np.minimum(1.0, 1 / each.sum(axis=0)) for each in (rises, falls))
    likeliest = np.where(p_fall < p_rise, falls.argmax(axis=0), rises.argmax(axis=0))
    column = DAYS - CHANGE_DAYS + likeliest
    places = np.arange(DAYS)[None, :] - column[:, None]
    before, since = (places < 0) & (places >= -USUAL_DAYS), places >= 0
    first_hit = np.where(since, counts.first_hit, np.inf).min(axis=1)
    return RateChanges(
        p_rise=p_rise,
        p_fall=p_fall,
        column=column,
        runs_before=(counts.runs * before).sum(axis=1),
        hits_before=(counts.hits * before).sum(axis=1),
        runs_since=(counts.runs * since).sum(axis=1),
        hits_since=(counts.hits * since).sum(axis=1),
        lasts=np.where(np.isfinite(first_hit), counts.last_hit - first_hit, 0.0),
    )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which nodes have changed, considering how many there are; one value per node.

    Attributes:
        p_adjusted: ``p_rise``, adjusted for the number of nodes.
        regressed: Whether the rate rose, for more than `LASTS`.
        resolved: Whether it fell.
        watch: Whether it would have risen if there was no other node.
    """

    p_adjusted: Array
    regressed: Array
    resolved: Array
    watch: Array


def judge(changes: RateChanges, alpha: float = 0.05, minimum_effect: float = 0.05) -> Verdicts:
    """Which of the changes are certain enough, and large enough.

    Args:
        changes: What `find_changes` returned for all nodes.
        alpha: False ``regressed`` that are accepted a day, for all nodes together: an upper bound.
        minimum_effect: Smallest difference of rates that counts, however certain.
    """
    adjusted = benjamini_hochberg(changes.p_rise)
    risen = (changes.difference >= minimum_effect) & (changes.p_rise < changes.p_fall)
    fallen = (changes.difference <= -minimum_effect) & (changes.p_fall < changes.p_rise)
    regressed = risen & (adjusted <= alpha) & (changes.lasts > LASTS)
    return Verdicts(
        p_adjusted=adjusted,
        regressed=regressed,
        resolved=fallen & (benjamini_hochberg(changes.p_fall) <= alpha),
        watch=risen & (changes.p_rise <= alpha) & ~regressed,
    )
