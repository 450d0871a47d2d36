"""The statistics, compared with scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.multitest import multipletests

from komos_source.analytics import statistics

_SHARE = st.integers(1, 400).flatmap(
    lambda trials: st.tuples(st.integers(0, trials), st.just(trials))
)


@given(_SHARE, _SHARE)
def test_fisher_greater_matches_scipy(one: tuple[int, int], other: tuple[int, int]) -> None:
    table = [[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]]
    (p,) = statistics.fisher_greater(*(np.array([number]) for number in (*one, *other)))
    assert p == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, abs=1e-12)


@given(_SHARE, _SHARE)
def test_odds_ratio_and_its_interval_match_statsmodels(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    table = np.array([[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]]) + 0.5
    ratio, low, high = statistics.odds_ratio(*(np.array([number]) for number in (*one, *other)))
    reference = Table2x2(table)
    assert ratio[0] == pytest.approx(reference.oddsratio, rel=1e-12)
    assert (low[0], high[0]) == pytest.approx(reference.oddsratio_confint(0.05), rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_benjamini_hochberg_matches_statsmodels(p_values: list[float]) -> None:
    adjusted = statistics.benjamini_hochberg(np.array(p_values))
    assert adjusted == pytest.approx(multipletests(p_values, method="fdr_bh")[1], abs=1e-12)


def test_benjamini_hochberg_without_p_values_is_empty() -> None:
    assert len(statistics.benjamini_hochberg(np.array([]))) == 0
