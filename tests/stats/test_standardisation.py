"""Standardisation: published examples, a model of rows, accounts left out by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import t as student

from mctlib import stats
from tests.support.project import ROOT


def cells(bucket, exposed, stratum, y, n_strata):
    """Rows as counts (buckets, 2, strata): users, sums, squares."""
    at, shape = (bucket, exposed, stratum), (stats.N_BUCKETS, 2, n_strata)
    return [stats.dense(values, *at, shape=shape) for values in (np.ones(len(y)), y, y**2)]


def some_rows(seed, n=1500):
    rng = np.random.default_rng(seed)
    kind, account = rng.integers(4, size=n), rng.integers(30, size=n)
    exposed = (rng.random(n) < 0.2 + 0.1 * kind).astype(int)
    lean = rng.normal(0, 0.7, 30)[account]
    p = 1 / (1 + np.exp(-(-1.5 + 0.6 * exposed + 0.3 * kind + lean)))
    return kind, account, exposed, (rng.random(n) < p).astype(float)


def by_rows(kind, exposed, y, family=None):
    """Means if nobody were exposed, if all were: statsmodels, row by row."""
    x = np.c_[np.ones(len(y)), exposed, kind[:, None] == [1, 2, 3]].astype(float)
    model = sm.GLM(y, x, family=family or sm.families.Binomial()).fit()
    means = []
    for side in (0, 1):
        x[:, 1] = side
        means.append(model.predict(x).mean())
    return np.array(means)


def test_as_statsmodels_row_by_row_and_accounts_left_out_by_hand():
    kind, account, exposed, y = some_rows(1)
    n, sums, _ = cells(account, exposed, kind, y, 4)
    x = (np.arange(4)[:, None] == [1, 2, 3]).astype(float)
    found = stats.standardise(n, sums, x, n_accounts=30)
    means = by_rows(kind, exposed, y)
    np.testing.assert_allclose([found.unexposed.value, found.exposed.value], means, rtol=1e-6)
    # the whole model once more without each account
    logs = []
    for out in range(30):
        rest = account != out
        without = by_rows(kind[rest], exposed[rest], y[rest])
        logs.append(np.log(without[1] / without[0]))
    log = np.log(means[1] / means[0])
    se = np.sqrt(29 / 30 * ((np.array(logs) - log) ** 2).sum())
    sides = np.array([[n[:, s].sum(axis=1)] for s in (0, 1)])[:, 0]
    fewer = min(max(s.sum() ** 2 / (s**2).sum(), 30) for s in sides)
    ends = np.exp(log + student.ppf([0.025, 0.975], fewer - 1) * se)
    np.testing.assert_allclose(found.ratio[1:], ends, rtol=0.01)


def test_a_linear_model_is_left_out_exactly():
    kind, account, exposed, _ = some_rows(2)
    y = np.random.default_rng(3).gamma(2, 10, len(kind)) + 5 * exposed
    n, sums, _ = cells(account, exposed, kind, y, 4)
    x = (np.arange(4)[:, None] == [1, 2, 3]).astype(float)
    found = stats.standardise(n, sums, x, n_accounts=30, logistic=False)
    means = by_rows(kind, exposed, y, sm.families.Gaussian())
    gaps = []
    for out in range(30):
        rest = account != out
        gaps.append(np.diff(by_rows(kind[rest], exposed[rest], y[rest], sm.families.Gaussian()))[0])
    gap = means[1] - means[0]
    se = np.sqrt(29 / 30 * ((np.array(gaps) - gap) ** 2).sum())
    assert found.difference.value == pytest.approx(gap, rel=1e-6)
    assert (found.difference.high - found.difference.low) / 2 == pytest.approx(
        student.ppf(0.975, 29) * se, rel=1e-4
    )


def test_nhefs_of_the_book():
    """Quitting smoking and weight, Hernan & Robins, What If, chapter 13.3: 3.5 kg (2.6 to 4.5).

    The data are the book's public file, those with a weight in 1982. The book's model has one
    product term more, its interval is a bootstrap's: hence a tenth of a kilogram or two.
    """
    frame = pd.read_csv(ROOT / "tests/reference/nhefs.csv")
    assert len(frame) == 1566
    dummies = [
        (frame[name].to_numpy()[:, None] == levels).astype(float)
        for name, levels in (("education", [2, 3, 4, 5]), ("exercise", [1, 2]), ("active", [1, 2]))
    ]
    plain = [frame[["sex", "race"]].to_numpy(float)]
    for name in ("age", "smokeintensity", "smokeyrs", "wt71"):
        values = frame[name].to_numpy(float)
        values = (values - values.mean()) / values.std()
        plain += [values[:, None], values[:, None] ** 2]
    x = np.column_stack([*plain, *dummies])
    rows = np.arange(len(frame))
    # each person a stratum
    n, y, _ = cells(rows % 100, frame["qsmk"], rows, frame["wt82_71"].to_numpy(), len(frame))
    found = stats.standardise(n, y, x, n_accounts=np.nan, logistic=False)
    assert round(found.difference.value, 1) == 3.5
    assert found.difference.low == pytest.approx(2.6, abs=0.15)
    assert found.difference.high == pytest.approx(4.5, abs=0.15)


@pytest.mark.parametrize(
    ("ratio", "value"),
    [(3.9, 7.26), (1.8, 3.0), (1.0, 1.0), (0.8, 1.81), (1 / 3.9, 7.26)],
)
def test_e_values(ratio, value):
    """VanderWeele & Ding 2017, Ann Intern Med 167:268: 3.9 (1.8 to 8.7) has 7.26 and 3.0; their
    protective example 0.80 has 1.81."""
    assert stats.e_value(ratio) == pytest.approx(value, abs=0.006)


def test_a_level_in_which_nobody_succeeds_does_no_harm():
    kind, account, exposed, y = some_rows(4)
    y[kind == 2] = 0
    n, sums, _ = cells(account, exposed, kind, y, 4)
    x = (np.arange(4)[:, None] == [1, 2, 3]).astype(float)
    found = stats.standardise(n, sums, x, n_accounts=30)
    others = kind != 2
    means = by_rows(np.where(kind[others] == 3, 2, kind[others]), exposed[others], y[others])
    # nobody of that kind succeeds either way
    assert found.ratio.value == pytest.approx(means[1] / means[0], rel=0.02)


def test_too_few_accounts_have_no_interval():
    kind, account, exposed, y = some_rows(5)
    n, sums, _ = cells(account % 8, exposed, kind, y, 4)
    found = stats.standardise(n, sums, np.zeros((4, 0)), n_accounts=8)
    assert found.ratio.value > 0 and np.isnan(found.ratio.low) and np.isnan(found.pvalue)


def test_later_users_gain_what_the_signal_tells():
    """By hand: of 100 early users with and without, 80 and 20 succeed; of the later ones the same.

    Squared error without the signal: of 200 at one half, 0.25 each; with it 0.16 each: 36 % less.
    """
    n = np.zeros((100, 2, 2))
    n[:, :, :] = 1.0
    y = np.zeros_like(n)
    y[:20, 0, :] = 1
    y[:80, 1, :] = 1
    found = stats.later(n, y, y, np.zeros((2, 0)), np.array([False, True]), n_accounts=np.nan)
    assert found.gain.value == pytest.approx(0.36, abs=1e-4)
    assert found.ratio == pytest.approx(1, abs=1e-4) and found.slope == pytest.approx(1, abs=1e-3)
    # later users who do the opposite: 0.2 x 0.04 + 0.8 x 0.64 = 0.52 each
    turned = y.copy()
    turned[:, :, 1] = y[:, ::-1, 1]
    found = stats.later(
        n, turned, turned, np.zeros((2, 0)), np.array([False, True]), n_accounts=np.nan
    )
    assert found.gain.value == pytest.approx(1 - 0.52 / 0.25, abs=1e-3)
    assert found.slope == pytest.approx(-1, abs=1e-2)


@pytest.mark.parametrize("logistic", [True, False])
def test_of_one_account_the_value_is_told_without_its_ends(logistic):
    """All users in one bucket: 30 of 60 exposed succeed, 20 of 80 others."""
    exposed = np.r_[np.ones(60, int), np.zeros(80, int)]
    y = np.r_[np.ones(30), np.zeros(30), np.ones(20), np.zeros(60)]
    zero = np.zeros(140, int)
    n, sums, _ = cells(zero, exposed, zero, y, 1)
    found = stats.standardise(n, sums, np.zeros((1, 0)), n_accounts=1, logistic=logistic)
    assert found.ratio.value == pytest.approx(2.0, rel=1e-4)
    assert np.isnan([*found.ratio[1:], *found.difference[1:], found.pvalue]).all()
