"""The estimators of the ladder: published numbers, R, statsmodels, brute force.

How often they are wrong when nothing happened: tests/calibration.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as sps

from mctlib.roi import estimators as cf
from mctlib.roi import segments
from mctlib.stats.regression import fit_ar1
from tests.support.series import as_weeks, panel_of_factors, weeks_of

# --------------------------------------------------------------------------------------- one series


EFFECT = cf.Estimate(
    0.0, 1.0, 1.0, 1.0, np.zeros(1), np.zeros(1), np.eye(1), 1.0, 0.0, np.zeros(1), np.eye(1)
)
HURON = np.array(
    [
        580.38,
        581.86,
        580.97,
        580.8,
        579.79,
        580.39,
        580.42,
        580.82,
        581.4,
        581.32,
        581.44,
        581.68,
        581.17,
        580.53,
        580.01,
        579.91,
        579.14,
        579.16,
        579.55,
        579.67,
        578.44,
        578.24,
        579.1,
        579.09,
        579.35,
        578.82,
        579.32,
        579.01,
        579,
        579.8,
        579.83,
        579.72,
        579.89,
        580.01,
        579.37,
        578.69,
        578.19,
        578.67,
        579.55,
        578.92,
        578.09,
        579.37,
        580.13,
        580.14,
        579.51,
        579.24,
        578.66,
        578.86,
        578.05,
        577.79,
        576.75,
        576.75,
        577.82,
        578.64,
        580.58,
        579.48,
        577.38,
        576.9,
        576.94,
        576.24,
        576.84,
        576.85,
        576.9,
        577.79,
        578.18,
        577.51,
        577.23,
        578.42,
        579.61,
        579.05,
        579.26,
        579.22,
        579.38,
        579.1,
        577.95,
        578.12,
        579.75,
        580.85,
        580.41,
        579.96,
        579.61,
        578.76,
        578.18,
        577.21,
        577.13,
        579.1,
        578.25,
        577.91,
        576.89,
        575.96,
        576.8,
        577.68,
        578.38,
        578.52,
        579.74,
        579.31,
        579.89,
        579.96,
    ]
)


def test_the_error_of_an_interrupted_series_has_the_numbers_of_r():
    # tests/reference/roi.R: REML with the whole covariance matrix, lake Huron with a change in 1900
    week = np.arange(1875, 1973) - 1900.0
    post = week >= 0
    x = np.c_[np.ones(98), week, post, week * post]
    found = fit_ar1(HURON, x, np.ones(98), week)
    assert found.rho == pytest.approx(0.815489, abs=1e-4)
    assert found.coef == pytest.approx([579.216375, -0.067637, -0.458523, 0.065488], abs=2e-4)
    assert np.sqrt(np.diag(found.cov)) == pytest.approx(
        [0.912452, 0.061549, 0.730661, 0.070008], rel=1e-3
    )
    # the effect: the mean after, less that of the line through the weeks before, extended
    ours = cf.against_trend(weeks_of(HURON, 25))
    line = np.polyval(np.polyfit(week[:25], HURON[:25], 1), week)
    assert ours.effect == pytest.approx((HURON - line)[25:].mean())
    weights = np.r_[-x[25:, :2].mean(axis=0) @ np.linalg.pinv(x[:25, :2]), np.full(73, 1 / 73)]
    noise = found.sigma2 * found.rho ** np.abs(week[:, None] - week)
    assert (ours.rho, ours.df) == (found.rho, found.df)
    assert ours.se == pytest.approx(np.sqrt(weights @ noise @ weights))


def test_an_effect_that_comes_late_does_not_pass_for_noise():
    e = np.random.default_rng(1).normal(size=90)
    week = np.arange(90) - 60.0
    post, late = week >= 0, week >= 5
    y = e + 40 * late
    found = cf.against_trend(weeks_of(y, 60))
    two_levels = fit_ar1(y, np.c_[np.ones(90), week, post, late], np.ones(90), week)
    assert found.sigma2 == pytest.approx(two_levels.sigma2) and found.sigma2 < 1.5
    assert found.pvalue < 1e-6 and abs(found.effect - 40 * 25 / 30) < 3
    # where a line does nearly as well, it stays
    plain = cf.against_trend(weeks_of(e, 60))
    line = fit_ar1(e, np.c_[np.ones(90), week, post, week * post], np.ones(90), week)
    assert plain.sigma2 == pytest.approx(line.sigma2)


def test_few_weeks_before_widen_the_error():
    found = cf.against_level(weeks_of(np.random.default_rng(0).normal(size=30), 20))
    wide = found.widened(20)
    assert wide.se == pytest.approx(found.se * 1.125) and wide.effect == found.effect
    assert wide.pvalue == pytest.approx(2 * sps.t.sf(abs(found.effect) / wide.se, found.df))


def test_columns_that_tell_nothing_before_the_change_are_left_out():
    rng = np.random.default_rng(3)
    weeks = weeks_of(rng.normal(size=40), 30, late=np.arange(40) >= 35, x=rng.normal(size=40))
    weeks["again"], weeks["line"] = 2 * weeks["x"] - 1, weeks.index
    plain, same = cf.against_trend(weeks), cf.against_trend(weeks, beside=["late", "line"])
    assert same.effect == plain.effect and same.se == plain.se
    one, twice = (cf.against_trend(weeks, beside=b) for b in (["x"], ["x", "again"]))
    assert one.effect == twice.effect != plain.effect


ESTIMATORS = [cf.against_trend, cf.against_level]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_errors_of_the_gaps_add_up_to_the_error_of_the_effect(estimator):
    rng = np.random.default_rng(2)
    weeks = weeks_of(rng.normal(size=40), 26).assign(
        weight=rng.integers(50, 500, 40), n=rng.integers(50, 500, 40)
    )
    found = estimator(weeks)
    after = weeks.index >= 0
    share = weeks["n"][after] / weeks["n"][after].sum()
    assert np.sqrt(share @ found.cov @ share) == pytest.approx(found.se)
    assert share @ (weeks["y"] - found.counterfactual)[after] == pytest.approx(found.effect)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_weights_of_the_weeks_give_the_effect_and_know_no_level(estimator):
    rng = np.random.default_rng(4)
    weeks = weeks_of(np.cumsum(rng.normal(size=40)), 26).assign(
        weight=rng.integers(50, 500, 40), n=rng.integers(50, 500, 40)
    )
    found = estimator(weeks)
    assert found.weights @ weeks["y"] == pytest.approx(
        found.effect
    ) and found.weights.sum() == pytest.approx(0, abs=1e-9)
    assert found.weights[weeks.index >= 0].sum() == pytest.approx(1)


def test_placebo_pvalues_of_two_plain_worlds():
    # weeks that share nothing: of m + 1 equal dates each is the most extreme one as often, so
    # exactly the rank
    apart = [replace(EFFECT, weights=row, noise=np.eye(5)) for row in np.eye(5)]
    np.testing.assert_allclose(
        cf.placebo_pvalues(apart[0], apart[1:]), np.arange(1, 6) / 5, atol=0.01
    )
    # five times the same placebo date says no more than one
    again = [replace(EFFECT, weights=row, noise=np.eye(2)) for row in np.eye(2)[[0, 1, 1, 1, 1, 1]]]
    np.testing.assert_allclose(
        cf.placebo_pvalues(again[0], again[1:]), [0.5] * 3 + [4 / 6, 5 / 6, 1], atol=0.01
    )


def test_placebo_windows_end_before_the_change():
    weeks = weeks_of(np.arange(50.0), 40)
    windows = [
        w for w, _ in cf.placebo_dates(weeks, cf.against_level, min_pre=12, min_post=6, wanted=20)
    ]
    assert [int((w.index < 0).sum()) for w in windows] == list(range(12, 32)) and {
        int((w.index >= 0).sum()) for w in windows
    } == {9}
    assert max(w["y"].max() for w in windows) == 39  # the last week before the change


# -------------------------------------------------------------------------------- synthetic control


def slsqp(donors, target):
    start = np.full(donors.shape[1], 1 / donors.shape[1])
    return optimize.minimize(
        lambda w: ((target - donors @ w) ** 2).sum(),
        start,
        jac=lambda w: -2 * donors.T @ (target - donors @ w),
        method="SLSQP",
        bounds=[(0, 1)] * len(start),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    ).x


@pytest.mark.parametrize("seed", range(6))
def test_two_solvers_agree_on_the_weights(seed):
    rng = np.random.default_rng(seed)
    donors = 0.3 + 0.05 * rng.normal(size=(30, 8)) + 0.02 * rng.normal(size=8)
    target = donors @ rng.dirichlet(np.full(8, 0.4)) + 0.02 * rng.normal(size=30)
    weight = segments.simplex_weights(donors, target)
    assert weight.min() >= 0 and weight.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(weight, slsqp(donors, target), atol=1e-4)


def test_a_mix_of_donors_is_found_again():
    donors = np.random.default_rng(1).normal(size=(20, 5))
    assert segments.simplex_weights(donors, donors @ [0.5, 0, 0.3, 0.2, 0]) == pytest.approx(
        [0.5, 0, 0.3, 0.2, 0], abs=1e-9
    )
    assert segments.simplex_weights(donors, np.full(20, 99.0)).sum() == pytest.approx(
        1
    )  # out of reach: the nearest point


def test_the_interval_holds_the_effects_that_the_rank_does_not_reject():
    y = panel_of_factors(np.random.default_rng(0), 20, 30, 8)
    y[30:, 0] += 4
    weeks, donors = as_weeks(y, 30)
    found = segments.synthetic(weeks, donors)
    effect, half = found.own.effect, found.half_width
    assert abs(effect - 4) < half and found.pvalue == 1 / 20

    def rejected(moved):
        shifted = weeks.assign(y=weeks["y"] - moved * (weeks.index >= 0))
        return segments.synthetic(shifted, donors).pvalue <= 0.05

    low, high = effect - half, effect + half
    assert rejected(low - 0.01) and rejected(high + 0.01) and not rejected(effect)
    # the farther end of the set is the end of the interval
    assert not (rejected(low + 0.01) and rejected(high - 0.01))
    # the mean effect is what counts, whatever its course
    slope = np.r_[np.zeros(30), np.arange(8) - 3.5]
    tilted = segments.synthetic(weeks.assign(y=weeks["y"] + slope), donors)
    assert tilted.half_width == pytest.approx(half) and tilted.own.effect == pytest.approx(effect)


def test_each_donor_meets_the_treated_unit_with_the_same_pool():
    y = panel_of_factors(np.random.default_rng(3), 6, 20, 5)
    weeks, donors = as_weeks(y, 20)

    def ratio(unit, pool):
        gap = y[:, unit] - y[:, pool] @ slsqp(y[:20, pool], y[:20, unit])
        return abs(gap[20:].mean()) / np.sqrt(np.mean(gap[:20] ** 2))

    pools = [(j, [k for k in range(1, 6) if k != j]) for j in range(1, 6)]
    assert (
        segments.synthetic(weeks, donors).pvalue
        == (1 + sum(ratio(j, pool) >= ratio(0, pool) for j, pool in pools)) / 6
    )


# ---------------------------------------------------------------------------- inference by segments

SLEEP = np.array(
    [
        0.7,
        -1.6,
        -0.2,
        -1.2,
        -0.1,
        3.4,
        3.7,
        0.8,
        0,
        2,
        1.9,
        0.8,
        1.1,
        0.1,
        -0.1,
        4.4,
        5.5,
        1.6,
        4.6,
        3.4,
    ]
)


def test_segments_of_equal_size_have_welchs_error_and_a_pooled_one_where_they_are_few():
    # tests/reference/roi.R: t.test(extra ~ group, data = sleep)
    first, share = np.arange(20) < 10, np.full(20, 0.1)
    assert segments.apart(SLEEP, share, first) == pytest.approx((0.84909102, 17.77647352), rel=1e-7)
    few = np.r_[0:3, 10:17]
    share = np.r_[np.full(3, 1 / 3), np.full(7, 1 / 7)]
    se, df = segments.apart(SLEEP[few], share, first[few])
    peer = sps.ttest_ind(SLEEP[0:3], SLEEP[10:17])
    apart = SLEEP[0:3].mean() - SLEEP[10:17].mean()
    assert df == 8 and se == pytest.approx(apart / peer.statistic)


def test_of_unequal_segments_fewer_count():
    # naive: the distribution of the HC2 variance where all changes have variance 1
    share, n = np.array([0.6, 0.2, 0.1, 0.05, 0.05]), 5
    draws = np.random.default_rng(1).normal(size=(200_000, n))
    off = draws - (draws @ share)[:, None]
    found = (share**2 / (1 - share) * off**2).sum(axis=1)
    side = segments.side(np.zeros(n), share)
    assert side.trace == pytest.approx(found.mean(), rel=0.02)
    assert side.df == pytest.approx(2 * found.mean() ** 2 / found.var(), rel=0.05) and side.df < 2
    assert side.size == (share**2).sum()
    equal = segments.side(np.arange(5.0), np.full(5, 0.2))
    assert (equal.df, equal.trace) == (pytest.approx(4), pytest.approx(0.2))
    assert equal.variance == pytest.approx(2.5 / 5)


def test_card_and_kruegers_table():
    # Card & Krueger 1994, American Economic Review 84:772, table 3, rows 3 and 4: changes in
    # employment 0.59 (se 0.54) in New Jersey and -2.16 (1.25) in Pennsylvania, difference 2.76
    # (1.36). Units made to have just these means and errors.
    def units(mean, se, n):
        e = np.random.default_rng(n).normal(size=n)
        return mean + (e - e.mean()) / e.std(ddof=1) * se * np.sqrt(n)

    change = np.r_[units(0.59, 0.54, 309), units(-2.16, 1.25, 75)]
    treated = np.arange(384) < 309
    se, df = segments.apart(change, np.where(treated, 1 / 309, 1 / 75), treated)
    assert se == pytest.approx(1.36, abs=0.005) and df > 75
