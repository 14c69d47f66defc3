"""Weeks with AR(1) noise: the regression by brute force, and the interval of a ratio."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize

from mctlib.stats.regression import fieller, fit_ar1
from tests.support.series import noise


def restricted_loglik(rho, y, x, weight, time):
    """The textbook formula with the whole covariance matrix (error variance profiled out)."""
    v = rho ** np.abs(np.subtract.outer(time, time)) / np.sqrt(np.outer(weight, weight))
    vi = np.linalg.inv(v)
    b = np.linalg.solve(x.T @ vi @ x, x.T @ vi @ y)
    rss = (y - x @ b) @ vi @ (y - x @ b)
    dets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(x.T @ vi @ x)[1]
    return (
        -0.5 * (dets + (len(y) - x.shape[1]) * np.log(rss)),
        b,
        rss / (len(y) - x.shape[1]) * np.linalg.inv(x.T @ vi @ x),
    )


@pytest.mark.parametrize("seed", range(4))
def test_ar1_is_the_restricted_maximum_likelihood_found_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    time = np.flatnonzero(rng.random(45) > 0.1).astype(float)  # with gaps
    x = np.c_[np.ones(len(time)), time, time >= 30]
    weight = rng.integers(20, 200, len(time)).astype(float)
    y = x @ [1, 0.1, 2] + noise(seed, 45, 0.7)[time.astype(int)] / np.sqrt(weight)
    grid = np.linspace(0.001, 0.95, 400)
    logliks = [restricted_loglik(r, y, x, weight, time)[0] for r in grid]
    fit = fit_ar1(y, x, weight, time)
    assert abs(fit.rho - grid[np.argmax(logliks)]) <= 0.95 / 399
    best, coef, cov = restricted_loglik(fit.rho, y, x, weight, time)
    assert best >= max(logliks) - 1e-9
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-8)
    np.testing.assert_allclose(fit.cov, cov, rtol=1e-7)
    assert fit.df == pytest.approx(max(len(time) * (1 - fit.rho) / (1 + fit.rho) - 3, 2))


def test_without_autocorrelation_it_is_weighted_least_squares():
    time = np.arange(40.0)
    x = np.c_[np.ones(40), time, time >= 25]
    weight = np.linspace(50, 300, 40)
    y = x @ [1, 0.1, 2] + 0.3 * (-1) ** time  # alternating: negatively correlated, so rho is 0
    fit, peer = fit_ar1(y, x, weight, time), sm.WLS(y, x, weights=weight).fit()
    assert fit.rho == 0 and fit.df == 37
    np.testing.assert_allclose(fit.coef, peer.params, rtol=1e-10)
    np.testing.assert_allclose(fit.cov, peer.cov_params(), rtol=1e-9)
    np.testing.assert_allclose(
        fit.contrast(np.array([0, 0, 1.0]))[1:], [peer.bse[2], peer.pvalues[2]], rtol=1e-9
    )


def test_fieller_solves_its_equation():
    for value, v, cost, w in [
        (500, 80**2, 300, 60**2),
        (500, 80**2, 300, 0.0),
        (-100, 80**2, 300, 30**2),
    ]:

        def gap(r, value=value, v=v, cost=cost, w=w):
            return (value - r * cost) ** 2 - 1.96**2 * (v + r**2 * w)

        middle = value / cost
        expected = (
            optimize.brentq(gap, middle - 50, middle),
            optimize.brentq(gap, middle, middle + 50),
        )
        assert fieller(value, v, cost, w, 1.96) == pytest.approx(expected)
    assert np.isnan(fieller(500, 80**2, 300, 160**2, 1.96)).all()  # cost not told apart from 0
