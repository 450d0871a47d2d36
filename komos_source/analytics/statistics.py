"""Statistical tests that portable SQL cannot do, on whole columns at once. Pure.

scipy comes with the extra ``analysis``; loads do not need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Column = npt.NDArray[Any]
_Z = stats.norm.ppf(0.975)


def fisher_greater(
    hits: Column, trials: Column, other_hits: Column, other_trials: Column
) -> Column:
    """One-sided p-values of Fisher's exact test: is the share of hits higher than the other?

    The probability of so many hits or more if the hits of both were distributed at random.
    """
    p = stats.hypergeom.sf(hits - 1, trials + other_trials, hits + other_hits, trials)
    return np.array(np.minimum(p, 1.0))  # rounding may exceed 1


def benjamini_hochberg(p_values: Column) -> Column:
    """P-values adjusted for the number of tests (Benjamini and Hochberg 1995).

    Of the results with an adjusted value up to q, a share of q is expected to be false.
    """
    if not len(p_values):
        return p_values
    adjusted: Column = stats.false_discovery_control(p_values, method="bh")
    return adjusted


def odds_ratio(
    hits: Column, trials: Column, other_hits: Column, other_trials: Column
) -> tuple[Column, Column, Column]:
    """Odds ratios and the bounds of their 95 % intervals.

    Half a run is added to each cell (Haldane 1956, Anscombe 1956), so that an empty cell does not
    make the ratio infinite; the interval is Woolf's on the logarithm (1955).
    """
    cells = np.array([hits, trials - hits, other_hits, other_trials - other_hits], float) + 0.5
    ratio = cells[0] * cells[3] / (cells[1] * cells[2])
    spread = np.exp(_Z * np.sqrt((1 / cells).sum(axis=0)))
    return ratio, ratio / spread, ratio * spread
