"""The estimators of the ladder: published numbers, R, statsmodels, brute force.

How often they are wrong when nothing happened: tests/calibration.py.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize
from scipy import stats as sps

from mctlib.roi import estimators as cf
from mctlib.roi import segments
from mctlib.stats.regression import fit_ar1
from tests.support.series import ar1, as_weeks, panel_of_factors, weeks_of

# --------------------------------------------------------------------------------------- one series


def test_the_nile_has_its_textbook_level():
    # tests/reference/roi.R, StructTS and predict; Durbin & Koopman 2001, section 2.4: variances
    # 15099 and 1469.1
    flow = sm.datasets.nile.load_pandas().data["volume"].to_numpy(float)
    model = sts.level_model(weeks_of([*flow, *[0.0] * 5], 100))
    log_q = np.linspace(-6, 2, 8001)
    q = np.exp(log_q[sts.deviance(model, log_q).argmin()])
    assert q == pytest.approx(1469.171 / 15098.525, rel=2e-3)
    hat, cov, noise = sts.forecast(model, q)
    assert noise[0, 0] == pytest.approx(15098.525, rel=1e-3)
    assert hat[100:] @ flow == pytest.approx([798.367] * 5, abs=0.1)
    assert np.sqrt(np.diag(cov)[100:]) == pytest.approx(
        [143.527, 148.557, 153.422, 158.137, 162.716], rel=2e-3
    )
    wider = sts.structural(weeks_of([*flow, *[798.367] * 5], 100)).se / np.sqrt(
        cov[100:, 100:].mean()
    )
    assert 1 < wider < 1.25  # averaging over q adds what is not known of it


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_structural_series_is_the_one_of_statsmodels(seed, pinned):
    rng = np.random.default_rng(seed)
    n, n_pre = 52, 40
    x = ar1(rng, (n,), 0.5)
    y = np.cumsum(rng.normal(0, 0.5, n)) + rng.normal(0, 1, n) + 2 * x
    mean, sd = y[:n_pre].mean(), y[:n_pre].std(ddof=1)
    model = sm.tsa.UnobservedComponents(
        (y[:n_pre] - mean) / sd, "llevel", exog=x[:n_pre], mle_regression=False
    )
    with model.fix_params({"sigma2.level": 0.01**2} if pinned else {}):
        fit = model.fit(disp=0)
    peer, (noise, level) = fit.get_forecast(n - n_pre, exog=x[n_pre:, None]), fit.params * sd**2
    ours, log_q = sts.level_model(weeks_of(y, n_pre, control=x)), np.linspace(-14, 10, 24001)
    q = np.exp(log_q[sts.deviance(ours, log_q, step=level if pinned else None).argmin()])
    assert q == pytest.approx(level / noise, rel=0.02)
    hat, cov, _ = sts.forecast(ours, level / noise, noise=noise)
    np.testing.assert_allclose(
        hat[n_pre:] @ y[:n_pre], peer.predicted_mean * sd + mean, atol=1e-4 * sd
    )
    np.testing.assert_allclose(np.sqrt(np.diag(cov)[n_pre:]), peer.se_mean * sd, rtol=1e-4)


def test_the_wider_of_two_levels_is_headlined():
    rng = np.random.default_rng(0)
    y = np.cumsum(rng.normal(0, 1, 50)) + rng.normal(0, 1, 50)
    found = sts.structural(weeks_of(y, 40))
    model, step = sts.level_model(weeks_of(y, 40)), (0.01 * y[:40].std(ddof=1)) ** 2
    log_q = np.linspace(-14, 10, 24001)
    q = np.exp(log_q[sts.deviance(model, log_q, step=step).argmin()])
    pinned = np.sqrt(sts.forecast(model, q, noise=step / q)[1][40:, 40:].mean())
    assert (
        found.se > 2 * pinned
        and found.told.startswith("free level, the wider; a pinned one has ")
        and found.told.endswith(" of its standard error")
    )
    assert float(found.told.split()[8]) == pytest.approx(pinned / found.se, abs=0.011)


def test_unequal_weeks_are_generalised_least_squares_by_the_book():
    rng = np.random.default_rng(5)
    weeks = weeks_of(np.cumsum(rng.normal(0, 1, 30)) + rng.normal(0, 1, 30), 22).assign(
        weight=rng.integers(50, 500, 30), n=rng.integers(50, 500, 30)
    )
    week, before = weeks.index.to_numpy(float), weeks.index < 0
    d = np.diag(weeks["weight"].to_numpy()[before].mean() / weeks["weight"].to_numpy())
    walk = np.minimum.outer(week, week) + 22

    q, sigma2 = 0.3, 2.0
    v = sigma2 * (d + q * walk)
    model = sts.level_model(weeks)
    found = sts.mean_gap(weeks, model, sts.forecast(model, q, noise=sigma2))
    y = weeks["y"].to_numpy()

    def deviance(v):
        inverse = np.linalg.inv(v)
        r = y[before] - (inverse.sum(axis=0) @ y[before]) / inverse.sum()
        return np.linalg.slogdet(v)[1] + np.log(inverse.sum()) + r @ inverse @ r

    inner = np.ix_(before, before)
    ours = sts.deviance(
        sts.level_model(weeks), np.log([q, 0.7]), step=q * sigma2
    )  # the same level variance, so the noise is another
    assert ours[1] - ours[0] == pytest.approx(
        deviance(q * sigma2 / 0.7 * (d + 0.7 * walk)[inner]) - deviance(v[inner])
    )
    # the level just before the change and all later steps of the walk and noises, by the joint
    # normal with a very flat start
    joint = v + 1e5
    keep = joint[np.ix_(~before, before)] @ np.linalg.inv(joint[np.ix_(before, before)])
    cov = joint[np.ix_(~before, ~before)] - keep @ joint[np.ix_(before, ~before)]
    share = weeks["n"][~before] / weeks["n"][~before].sum()
    assert found.se == pytest.approx(np.sqrt(share @ cov @ share), rel=1e-3)
    assert found.effect == pytest.approx(share @ (y[~before] - keep @ y[before]), rel=1e-3)


EFFECT = cf.Estimate(
    0.0, 1.0, 1.0, 1.0, np.zeros(1), np.zeros((1, 1)), 1.0, "", np.zeros(1), np.eye(1)
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


def test_interrupted_series_has_the_numbers_of_r():
    # tests/reference/roi.R: REML with the whole covariance matrix, lake Huron with a change in 1900
    week = np.arange(1875, 1973) - 1900.0
    found = fit_ar1(HURON, cf.trend(week)[0], np.ones(98), week)
    assert found.rho == pytest.approx(0.815489, abs=1e-4)
    assert found.coef == pytest.approx([579.216375, -0.067637, -0.458523, 0.065488], abs=2e-4)
    assert np.sqrt(np.diag(found.cov)) == pytest.approx(
        [0.912452, 0.061549, 0.730661, 0.070008], rel=1e-3
    )


@pytest.mark.parametrize("design", [cf.trend, cf.level])
def test_errors_of_the_gaps_add_up_to_the_error_of_the_effect(design):
    rng = np.random.default_rng(2)
    weeks = weeks_of(rng.normal(size=40) * (-1) ** np.arange(40), 26).assign(
        weight=rng.integers(50, 500, 40)
    )
    weeks["n"] = weeks["weight"]
    found = cf.regression(weeks, design=design)
    after = weeks.index >= 0
    share = weeks["n"][after] / weeks["n"][after].sum()
    assert (
        found.told == "rho 0.00"
    )  # where it is not, the whole is rescaled to the effect's own error
    assert np.sqrt(share @ found.cov[np.ix_(after, after)] @ share) == pytest.approx(found.se)
    assert share @ (weeks["y"] - found.counterfactual)[after] == pytest.approx(found.effect)


@pytest.mark.parametrize(
    "estimator",
    [
        partial(cf.regression, design=cf.trend),
        partial(cf.regression, design=cf.level),
        sts.structural,
    ],
)
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
        w
        for w, _ in cf.placebo_dates(
            weeks, partial(cf.regression, design=cf.level), min_pre=12, min_post=6, wanted=20
        )
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
    found = segments.synthetic(weeks, donors=donors)
    half = 1.959963985 * found.se
    assert abs(found.effect - 4) < half and found.pvalue == 1 / 20

    def rejected(effect):
        return (
            segments.synthetic(
                weeks.assign(y=weeks["y"] - effect * (weeks.index >= 0)), donors=donors
            ).pvalue
            <= 0.05
        )

    assert (
        rejected(found.effect - half - 0.01)
        and rejected(found.effect + half + 0.01)
        and not rejected(found.effect)
    )
    assert not (
        rejected(found.effect - half + 0.01) and rejected(found.effect + half - 0.01)
    )  # the farther end of the set is the end of the interval


def test_each_donor_meets_the_treated_unit_with_the_same_pool():
    y = panel_of_factors(np.random.default_rng(3), 6, 20, 5)
    weeks, donors = as_weeks(y, 20)

    def ratio(unit, pool):
        gap = y[:, unit] - y[:, pool] @ slsqp(y[:20, pool], y[:20, unit])
        return np.sqrt(np.mean(gap[20:] ** 2) / np.mean(gap[:20] ** 2))

    pools = [(j, [k for k in range(1, 6) if k != j]) for j in range(1, 6)]
    assert (
        segments.synthetic(weeks, donors=donors).pvalue
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


def test_clustered_errors_of_equal_units_are_welchs():
    # tests/reference/roi.R: t.test(extra ~ group, data = sleep)
    first = np.arange(20) < 10
    assert segments.clustered(SLEEP, np.ones(20), first) == pytest.approx(
        (-1.58, 0.84909102, 17.77647352, 0.07939414), rel=1e-7
    )
    assert segments.clustered(SLEEP, np.full(20, 7.0), first) == pytest.approx(
        segments.clustered(SLEEP, np.ones(20), first)
    )


def test_card_and_kruegers_table():
    # Card & Krueger 1994, American Economic Review 84:772, table 3, rows 3 and 4: changes in
    # employment 0.59 (se 0.54) in New Jersey and -2.16 (1.25) in Pennsylvania, difference 2.76
    # (1.36). Units made to have just these means and errors.
    def units(mean, se, n):
        e = np.random.default_rng(n).normal(size=n)
        return mean + (e - e.mean()) / e.std(ddof=1) * se * np.sqrt(n)

    change = np.r_[units(0.59, 0.54, 309), units(-2.16, 1.25, 75)]
    effect, se, _, pvalue = segments.clustered(change, np.ones(384), np.arange(384) < 309)
    assert (
        effect == pytest.approx(2.76, abs=0.015)
        and se == pytest.approx(1.36, abs=0.005)
        and 0.04 < pvalue < 0.05
    )


def test_the_effect_is_that_of_the_panel_with_fixed_effects():
    rng = np.random.default_rng(4)
    y = rng.normal(size=(12, 14)) + np.arange(12)[:, None]
    treated, after = np.arange(12) < 4, np.arange(14) >= 9
    change = y[:, after].mean(axis=1) - y[:, ~after].mean(axis=1)
    unit, week = (np.eye(k)[i.ravel()] for k, i in zip((12, 14), np.indices((12, 14))))
    panel = sm.OLS(y.ravel(), np.c_[np.outer(treated, after).ravel(), unit, week[:, 1:]]).fit()
    assert segments.clustered(change, np.ones(12), treated)[0] == pytest.approx(panel.params[0])


def test_permutation_counted_naively():
    change, weight = np.array([0.9, 0.1, 0.2, -0.3, 0.15]), np.array([100, 80, 10, 60, 90.0])

    def apart(side):
        other = [i for i in range(5) if i not in side]
        mean = [np.average(change[s], weights=weight[s]) for s in (side, other)]
        return abs(mean[0] - mean[1]) / np.sqrt(1 / weight[side].sum() + 1 / weight[other].sum())

    for side, ways in (
        ([0], [[i] for i in range(5)]),
        ([1, 3], [[i, j] for i in range(5) for j in range(i)]),
    ):
        p, n = segments.permutation(change, weight, np.isin(np.arange(5), side))
        assert n == len(ways) and p == pytest.approx(
            np.mean([apart(w) >= apart(side) - 1e-12 for w in ways])
        )
    rng = np.random.default_rng(0)
    many, treated = rng.normal(size=30), np.arange(30) < 5
    p, n = segments.permutation(many, np.ones(30), treated)
    exact = sps.permutation_test(
        (many[:5], many[5:]),
        lambda a, b: abs(a.mean() - b.mean()),
        n_resamples=20000,
        alternative="greater",
        rng=1,
    ).pvalue
    assert n == 1000 and p == pytest.approx(exact, abs=0.05)


def test_few_treated_segments_are_never_clustered():
    assert [segments.many_units(np.arange(g) < k) for k, g in ((10, 30), (9, 40), (10, 29))] == [
        True,
        False,
        False,
    ]
