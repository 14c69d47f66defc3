"""Closed forms against the libraries that have them (what their intervals promise: `tests/calibration.py`)."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import t as student
from statsmodels.api import OLS
from statsmodels.stats.proportion import proportion_confint

from mctlib import stats


def test_wilson_is_statsmodels_wilson():
    n = np.repeat([1, 2, 10, 333, 1_000_000], 5)
    k = np.round(n * np.tile([0, 0.001, 0.3, 0.999, 1], 5))
    np.testing.assert_allclose(stats.wilson(k, n), proportion_confint(k, n, method="wilson"), rtol=1e-12, atol=1e-15)
    assert np.isnan(stats.wilson([0], [0])).all()


def test_the_variance_of_clusters_is_that_of_a_cluster_robust_mean():
    """statsmodels: OLS on a constant with cov_type="cluster", whose correction is G / (G - 1) there. Clusters without users change nothing."""
    rng = np.random.default_rng(2)
    n = rng.integers(1, 30, 25)
    group = np.arange(25).repeat(n)
    y = rng.random(len(group)) < rng.beta(2, 4, 25)[group]
    fit = OLS(y.astype(float), np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": group})
    p, se = fit.params[0], fit.bse[0]
    k = np.bincount(group, y)
    low, high, effect, g = stats.cluster_rate(np.r_[k, 0], np.r_[n, 0])
    assert effect == pytest.approx(se**2 / (p * (1 - p) / len(y))) and g == 25
    logit = np.log(np.array([low, high]) / (1 - np.array([low, high])))
    assert np.diff(logit)[0] / 2 == pytest.approx(student.ppf(0.975, 24) * se / (p * (1 - p))) and logit.mean() == pytest.approx(np.log(p / (1 - p)))


def test_where_clusters_do_not_vary_they_count_as_one_user_each():
    low, high, effect, g = stats.cluster_rate(np.zeros(20), np.full(20, 50))
    assert np.isnan(effect) and (low, high) == (0, pytest.approx(0.1611, abs=5e-5))  # Newcombe 1998, table I: 0 of 20
    low, high, effect, g = stats.cluster_rate([1, 2] * 10, [3, 6] * 10)  # a third of each: no variance, yet no certainty
    assert np.isnan(effect) and low < 0.15 and high > 0.55
    assert np.isnan(stats.cluster_rate([1, 2, 3] * 3, [3, 5, 8] * 3)[:2]).all()  # nine clusters are too few


def change_by_orders(before, after):
    """What each factor adds to the change of the product, averaged over all orders in which the factors can change one by one."""
    orders, added = list(permutations(range(len(before)))), np.zeros(len(before))
    for order in orders:
        now = list(before)
        for i in order:
            was = np.prod(now)
            now[i] = after[i]
            added[i] += np.prod(now) - was
    return added / len(orders)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_shapley_of_a_product_is_the_mean_over_all_orders(n):
    rng = np.random.default_rng(n)
    before, after = rng.uniform(0, 1.2, (2, 8, n))
    before[rng.random((8, n)) < 0.2] = 0
    after[rng.random((8, n)) < 0.2] = 0
    after[:, 0] = np.where(np.arange(8) < 3, before[:, 0], after[:, 0])
    found = stats.shapley_product(before, after)
    np.testing.assert_allclose(found, [change_by_orders(b, a) for b, a in zip(before, after)], atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=1), after.prod(axis=1) - before.prod(axis=1), atol=1e-12)
    assert (found[before == after] == 0).all()


def test_shapley_of_many_factors_adds_up():
    before, after = np.random.default_rng(1).uniform(0.5, 1.5, (2, 20, 126))
    np.testing.assert_allclose(stats.shapley_product(before, after).sum(axis=1) / (after.prod(axis=1) - before.prod(axis=1)), 1, rtol=1e-9)


def test_kitagawa_by_hand():
    """Weights .6/.4 become .4/.6. Segment 1 stays at .5 x 1; segment 2 goes from .25 x 1 to .4 x .5, so by symmetry -.5 x .325 and .15 x .75. Overall .4 -> .32."""
    found = stats.kitagawa([60, 40], np.array([[0.5, 1], [0.25, 1]]), [40, 60], np.array([[0.5, 1], [0.4, 0.5]]))
    np.testing.assert_allclose(found, [[-0.2 * (0.5 - 0.36), 0, 0], [0.2 * (0.225 - 0.36), 0.15 * 0.75 * 0.5, -0.5 * 0.325 * 0.5]], atol=1e-15)
    assert found.sum() == pytest.approx(-0.08, abs=1e-15)


def test_what_is_missing_in_one_period_is_taken_as_unchanged():
    """A segment that is new has only a mix part: .2 users at a rate of .3 against the mean overall rate (.5 + .46) / 2."""
    found = stats.kitagawa([10, 0], np.array([[0.5], [np.nan]]), [8, 2], np.array([[0.5], [0.3]]))
    np.testing.assert_allclose(found, [[-0.2 * (0.5 - 0.48), 0], [0.2 * (0.3 - 0.48), 0]], atol=1e-15)
