"""Lists, delays and changes of a share against published numbers and the libraries that have them.

What their intervals promise: `tests/calibration_audit.py`.
"""

import numpy as np
import pytest
from statsmodels.api import GLM
from statsmodels.datasets import nile
from statsmodels.genmod.families import Binomial
from statsmodels.stats.contingency_tables import mcnemar

from mctlib import stats

# Taylor & Ashe 1983, cumulative claims, as in Mack 1993 (Distribution-free calculation of the
# standard error of chain ladder reserve estimates, ASTIN Bulletin 23) and R's ChainLadder::GenIns.
TAYLOR_ASHE = """
357848 1124788 1735330 2218270 2745596 3319994 3466336 3606286 3833515 3901463
352118 1236139 2170033 3353322 3799067 4120063 4647867 4914039 5339085
290507 1292306 2218525 3235179 3985995 4132918 4628910 4909315
310608 1418858 2195047 3757447 4029929 4381982 4588268
443160 1136350 2128333 2897821 3402672 3873311
396132 1333217 2180715 2985752 3691712
440832 1288463 2419861 3483130
359480 1421128 2864498
376686 1363294
344014
"""


def test_the_chain_ladder_is_macks():
    """The factors that Mack 1993 prints, and his reserve of 18,681 thousand."""
    triangle = np.full((10, 10), np.nan)
    for row, line in enumerate(TAYLOR_ASHE.split("\n")[1:-1]):
        cumulative = np.array(line.split(), float)
        triangle[row, : len(cumulative)] = np.diff(cumulative, prepend=0)
    share = stats.arrived(triangle)
    factors = [3.491, 1.747, 1.457, 1.174, 1.104, 1.086, 1.054, 1.077, 1.018]
    assert share[1:] / share[:-1] == pytest.approx(factors, abs=6e-4) and share[-1] == 1
    paid = np.nansum(triangle, axis=1)
    assert (paid / share[::-1] - paid).sum() == pytest.approx(18_680_856, abs=1)


def test_delays_that_are_all_seen_are_counted():
    assert stats.arrived([[5, 3, 2], [10, 0, 0]]).tolist() == pytest.approx([0.75, 0.9, 1])
    assert stats.arrived([[0, 0, np.nan]]).tolist() == [1, 1, 1]


def test_chapman_by_the_turtles():
    """10 turtles marked, 15 caught later, 5 of them marked: 28.3 (Wikipedia, Mark and recapture),
    with Seber's variance 34.9; the interval by hand from Chao's formula."""
    n, low, high = stats.chapman(10, 15, 5)
    assert n == pytest.approx(28 + 1 / 3)
    unseen, variance = 28 + 1 / 3 - 20, 16 * 11 * 10 * 5 / (36 * 7)
    factor = np.exp(stats.Z * np.sqrt(np.log(1 + variance / unseen**2)))
    assert (low, high) == pytest.approx((20 + unseen / factor, 20 + unseen * factor))


def test_where_a_list_holds_all_of_the_other_nobody_is_unseen():
    assert [float(x) for x in stats.chapman(40, 10, 10)] == [40, 40, 40]


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 3), (121, 59), (0, 7), (10, 2)])
def test_mcnemar_is_statsmodels(b, c):
    expected = mcnemar([[9, b], [c, 9]], exact=True).pvalue
    assert stats.mcnemar(b, c) == pytest.approx(min(expected, 1))


def test_the_dispersion_is_the_quasi_binomials():
    rng = np.random.default_rng(3)
    n = rng.integers(30, 90, 12)
    k = rng.binomial(n, rng.beta(20, 5, 12))
    fit = GLM(np.c_[k, n - k], np.ones(12), family=Binomial()).fit()
    found = stats.quasi_binomial(k, n)
    assert found.dispersion == pytest.approx(fit.pearson_chi2 / 11) and found.dispersion > 1
    assert found.value == pytest.approx(k.sum() / n.sum())
    assert found.low < found.value < found.high


def test_a_share_of_what_could_be_there_is_told():
    """50 of 100, where only half could have come yet: all of it."""
    found = stats.quasi_binomial([50], [100], ripe=0.5)
    assert found.value == 1 and found.high == 1 and found.low == pytest.approx(0.8077, abs=1e-3)


def test_the_nile_changed_in_1899():
    """Cobb 1978: the annual flow fell after 1898, the 28th year. A year above the mean is a 1."""
    flow = nile.load_pandas().data["volume"]
    found = stats.change_point(flow > flow.mean(), np.ones(len(flow)), seed=1)
    assert found.at == 28 and found.pvalue == 0.001


def test_a_level_share_has_no_change():
    rng = np.random.default_rng(5)
    n = np.full(40, 50)
    pvalues = [
        stats.change_point(rng.binomial(n, 0.9), n, seed=i, draws=199).pvalue for i in range(40)
    ]
    assert np.mean(np.array(pvalues) <= 0.05) <= 0.125
    assert stats.change_point([5], [9], seed=1).pvalue == 1
