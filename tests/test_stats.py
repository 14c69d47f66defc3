"""Closed forms against the libraries that have them, and what an interval promises by exact enumeration."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from mctlib import stats


def test_wilson_is_statsmodels_wilson():
    n = np.repeat([1, 2, 10, 333, 1_000_000], 5)
    k = np.round(n * np.tile([0, 0.001, 0.3, 0.999, 1], 5))
    np.testing.assert_allclose(stats.wilson(k, n), proportion_confint(k, n, method="wilson"), rtol=1e-12, atol=1e-15)
    assert np.isnan(stats.wilson([0], [0])).all()


@pytest.mark.parametrize(("n", "least"), [(30, 0.88), (100, 0.92), (500, 0.92)])
def test_wilson_covers_what_it_promises(n, least):
    """All outcomes weighted by their probability, true rates .01 to .99: the mean within 94.5 to 95.5 %, nowhere below the least (Brown, Cai & DasGupta 2001)."""
    k, p = np.arange(n + 1), np.linspace(0.01, 0.99, 99)[:, None]
    low, high = stats.wilson(k, np.full(n + 1, n))
    covered = (binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum(axis=1)
    assert 0.945 <= covered.mean() <= 0.955 and covered.min() >= least
