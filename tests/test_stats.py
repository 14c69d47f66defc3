"""Closed forms against the libraries that have them (what their intervals promise: `tests/calibration.py`)."""

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from mctlib import stats


def test_wilson_is_statsmodels_wilson():
    n = np.repeat([1, 2, 10, 333, 1_000_000], 5)
    k = np.round(n * np.tile([0, 0.001, 0.3, 0.999, 1], 5))
    np.testing.assert_allclose(stats.wilson(k, n), proportion_confint(k, n, method="wilson"), rtol=1e-12, atol=1e-15)
    assert np.isnan(stats.wilson([0], [0])).all()
