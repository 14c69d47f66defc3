"""Closed forms against the libraries that have them.

What their intervals promise: `tests/calibration.py`.
"""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chi2
from scipy.stats import t as student
from statsmodels.api import GLM
from statsmodels.genmod.families import Binomial
from statsmodels.stats.proportion import proportion_confint

from mctlib import stats
from tests.support.clusters import share_by_cluster


def test_wilson_is_statsmodels_wilson():
    n = np.repeat([1, 2, 10, 333, 1_000_000], 5)
    k = np.round(n * np.tile([0, 0.001, 0.3, 0.999, 1], 5))
    np.testing.assert_allclose(
        stats.wilson(k, n), proportion_confint(k, n, method="wilson"), rtol=1e-12, atol=1e-15
    )
    assert np.isnan(stats.wilson([0], [0])).all()


def test_the_variance_of_clusters_is_the_jackknifes():
    """statsmodels' regressions without one cluster after the other. Clusters without users change
    nothing, and a user without a cluster is one."""
    rng = np.random.default_rng(2)
    n = np.r_[rng.integers(1, 30, 25), np.ones(40, int)]
    group = np.arange(65).repeat(n)
    y = rng.random(len(group)) < rng.beta(2, 4, 65)[group]

    def logit(some):
        return GLM(y[some], np.ones(some.sum()), family=Binomial()).fit().params[0]

    everyone = np.full(len(y), True)
    centre = logit(everyone)
    squares = sum((logit(group != g) - centre) ** 2 for g in range(65))
    half = student.ppf(0.975, len(y) ** 2 / (n**2).sum() - 1) * np.sqrt(64 / 65 * squares)
    k = np.bincount(group, y)
    low, high, effect, g = stats.cluster_rate(
        np.r_[k[:25], 0], np.r_[n[:25], 0], alone=(k[25:].sum(), 40)
    )
    p = y.mean()
    assert effect == pytest.approx(64 / 65 * squares * p * (1 - p) * len(y), rel=1e-6)
    assert g == pytest.approx(len(y) ** 2 / (n**2).sum())
    assert np.log([low / (1 - low), high / (1 - high)]) == pytest.approx(
        [centre - half, centre + half], rel=1e-6
    )


def test_where_one_cluster_holds_all_successes_the_share_itself_is_jackknifed():
    """Twelve clusters of 10, one of which has 6: without it 0 of 110, whose logit is no number."""
    k = np.r_[6.0, np.zeros(11)]
    low, high, effect, _ = stats.cluster_rate(k, np.full(12, 10.0))
    variance = 11 / 12 * (0.05**2 + 11 * (6 / 110 - 0.05) ** 2)
    assert effect == pytest.approx(variance / (0.05 * 0.95 / 120)) and 0 < low < 0.05 < high < 1
    low, high, same, _ = stats.cluster_rate(10 - k, np.full(12, 10.0))
    assert same == pytest.approx(effect) and 0 < low < 0.95 < high < 1


def test_accounts_of_unlike_sizes_are_fewer_than_they_look():
    """One of 300 and 39 of 5: 495^2 / (300^2 + 39 x 25) = 2.7, but ten are taken as they are."""
    n = np.r_[300.0, np.full(39, 5.0)]
    assert stats.count_clusters(n) == 40 and stats.count_clusters(n, alike=False) == 10
    n = np.r_[np.full(20, 30.0), np.full(20, 10.0)]  # 800^2 / (20 x 900 + 20 x 100)
    assert stats.count_clusters(n, alike=False) == 32 and stats.count_clusters(n[:9]) == 9


def test_where_clusters_do_not_vary_they_count_as_one_user_each():
    low, high, effect, g = stats.cluster_rate(np.zeros(20), np.full(20, 50))
    assert np.isnan(effect) and (low, high) == (
        0,
        pytest.approx(0.1611, abs=5e-5),
    )  # Newcombe 1998, table I: 0 of 20
    low, high, effect, g = stats.cluster_rate(
        [1, 2] * 10, [3, 6] * 10
    )  # a third of each: no variance, yet no certainty
    assert np.isnan(effect) and low < 0.15 and high > 0.55
    assert np.isnan(
        stats.cluster_rate([1, 2, 3] * 3, [3, 5, 8] * 3)[:2]
    ).all()  # nine clusters are too few


def test_an_interval_by_bucket_leaves_out_buckets_and_without_accounts_it_is_wilsons():
    """Two shares at once; the last bucket holds nobody."""
    rng = np.random.default_rng(3)
    n = np.r_[rng.integers(1, 40, (30, 2)), [[0, 0]]]
    k = rng.binomial(n, rng.beta(3, 5, (31, 1)))
    low, high, effect = stats.share_interval(k, n, n_accounts=100)
    for i in range(2):
        bucket = np.arange(31).repeat(n[:, i])
        did = np.concatenate([np.arange(size) < hits for hits, size in zip(k[:, i], n[:, i])])
        _, ends, expected = share_by_cluster(bucket, did)
        assert [low[i], high[i], effect[i]] == pytest.approx([*ends, expected]) and effect[i] > 1
    low, high, effect = stats.share_interval(k, n, n_accounts=np.nan)
    np.testing.assert_array_equal([low, high], stats.wilson(k.sum(axis=0), n.sum(axis=0)))
    assert np.isnan(effect).all() and all(
        np.isnan(a).all() for a in stats.share_interval(k[:9], n[:9], n_accounts=9)
    )


@pytest.mark.parametrize(
    ("n_accounts", "size", "alone", "given"),
    [
        (3, 100, 30, False),
        (3, 100, 0, False),
        (12, 100, 0, True),
        (12, 100, 30, True),
        (0, 0, 300, True),
    ],
)
def test_a_few_accounts_beside_users_without_one_are_few_clusters_by_bucket_too(
    n_accounts, size, alone, given
):
    """400 worlds, rate .3, correlation .1 in accounts, hashed into 100 buckets.

    Effective: 330^2 / (3 x 100^2 + 30) = 3.6 clusters, though they lie in some 30 buckets.
    """
    rng, n = np.random.default_rng(n_accounts + alone), 400
    sizes = np.r_[np.full(n_accounts, size), np.ones(alone, int)]
    did = rng.binomial(
        sizes, np.c_[rng.beta(0.3 * 9, 0.7 * 9, (n, n_accounts)), np.full((n, alone), 0.3)]
    )
    cell = rng.integers(0, 100, did.shape) * n + np.arange(n)[:, None]
    k, users = (
        np.bincount(cell.ravel(), np.broadcast_to(a, did.shape).ravel(), 100 * n).reshape(100, n)
        for a in (did, sizes)
    )
    low, high, effect = stats.share_interval(k, users, n_accounts=n_accounts)
    side = rng.binomial(users.astype(int), 0.5)
    on = rng.hypergeometric(k.astype(int), (users - k).astype(int), side)
    design, df = stats.difference_design(
        *(a[..., None] for a in (on, side, k - on, users - side)), n_accounts=n_accounts
    )
    if given:
        known = ~np.isnan(low)  # twelve accounts may fall into fewer than ten buckets
        assert (
            known.mean() > 0.9
            and 0.915 <= ((low <= 0.3) & (high >= 0.3))[known].mean() <= 0.98
            and (~np.isnan(design)).mean() > 0.9
        )
    else:
        assert np.isnan(low).all() and np.isnan(effect).all() and np.isnan(design).all()
        assert n_accounts == 0 or not alone or ((users > 0).sum(axis=0) > 20).all()


def nested(seed, n_clusters=14, n_strata=3):
    """Users of clusters of unlike sizes: cluster, stratum, side, success; and their counts
    (clusters, strata) of success and all, with and without."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n_clusters).repeat(rng.integers(3, 30, n_clusters))
    stratum, side = (
        rng.integers(0, n_strata, len(cluster)),
        rng.random(len(cluster)) < rng.beta(2, 2, n_clusters)[cluster],
    )
    y = rng.random(len(cluster)) < rng.beta(2, 3, n_clusters)[cluster] * 0.8 + 0.1 * side
    counts = [np.zeros((n_clusters, n_strata)) for _ in range(4)]
    for c, s, with_it, success in zip(cluster, stratum, side, y):
        counts[1 if with_it else 3][c, s] += 1
        counts[0 if with_it else 2][c, s] += success
    return cluster, stratum, side, y, counts


def test_the_design_effect_of_a_difference_by_a_loop_that_leaves_out_clusters_user_by_user():
    """The difference of the users left is a least-squares coefficient with a level a stratum
    (`test_drivers` holds the estimate to it)."""
    cluster, stratum, side, y, counts = nested(1)

    def coefficient(some):
        levels = stratum[some][:, None] == np.unique(stratum[some])
        return np.linalg.lstsq(
            np.c_[side[some], levels].astype(float), y[some].astype(float), rcond=None
        )[0][0]

    whole, squares = coefficient(np.full(len(y), True)), 0.0
    for c in range(14):
        squares += (coefficient(cluster != c) - whole) ** 2
    difference, low, high, _ = stats.mantel_haenszel(*(a.sum(axis=0) for a in counts))
    plain = ((high - low) / 2 / stats.Z) ** 2
    effect, df = stats.difference_design(*counts)
    assert (
        difference == pytest.approx(whole)
        and effect == pytest.approx(13 / 14 * squares / plain)
        and df == 13
    )
    estimate, wide_low, wide_high, pvalue = stats.mantel_haenszel(
        *(a.sum(axis=0) for a in counts), design=stats.Design(effect, df)
    )
    half = student.ppf(0.975, 13) * np.sqrt(13 / 14 * squares)
    assert estimate == difference and [wide_low, wide_high] == pytest.approx(
        [whole - half, whole + half]
    )
    *_, plain_pvalue = stats.mantel_haenszel(*(a.sum(axis=0) for a in counts))
    assert pvalue == pytest.approx(2 * student.sf(np.sqrt(chi2.isf(plain_pvalue, 1) / effect), 13))
    stacked = stats.difference_design(
        *(np.stack([a, b], axis=1) for a, b in zip(counts, nested(2)[-1]))
    )
    assert stacked[0].shape == (2,) and stacked[0][0] == pytest.approx(effect)


def test_where_users_are_their_own_clusters_nothing_changes():
    """2,000 users, each a cluster: design effect 1 but for the jackknife's own noise of order
    1 / n; with exactly 1 and endless degrees of freedom the plain formulas."""
    rng = np.random.default_rng(4)
    side, y, stratum = rng.random(2000) < 0.4, rng.random(2000) < 0.3, rng.integers(0, 2, 2000)
    level = stratum[:, None] == np.arange(2)
    counts = [(level * a[:, None]).astype(float) for a in (side & y, side, ~side & y, ~side)]
    effect, df = stats.difference_design(*counts)
    assert effect == pytest.approx(1, abs=0.01) and df == side.sum() - 1
    total = [a.sum(axis=0) for a in counts]
    np.testing.assert_allclose(
        stats.mantel_haenszel(*total, design=stats.Design(1.0, 1e12)),
        stats.mantel_haenszel(*total),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        stats.newcombe(30, 100, 20, 90, design=stats.Design(1.0, 1e12)),
        stats.newcombe(30, 100, 20, 90),
        rtol=1e-9,
    )
    wide = stats.newcombe(30, 100, 20, 90, design=stats.Design(2.0, 1e12))
    np.testing.assert_allclose(wide, stats.newcombe(15, 50, 10, 45), rtol=1e-9)


def test_too_few_clusters_on_one_side_give_no_interval():
    *_, counts = nested(1)
    few = [a.copy() for a in counts]
    few[0][9:], few[1][9:] = 0, 0  # fourteen clusters, nine of them with users on one side
    effect, df = stats.difference_design(*few)
    assert np.isnan(effect) and df == 8
    assert np.isnan(
        stats.mantel_haenszel(*(a.sum(axis=0) for a in few), design=stats.Design(effect, df))[1:]
    ).all()
    assert np.isnan(stats.newcombe(30, 100, 20, 90, design=stats.Design(effect, df))).all()
    alike = [
        np.full((12, 1), x) for x in (2.0, 5.0, 1.0, 5.0)
    ]  # every cluster the same: what chance does cannot be seen
    assert np.isnan(stats.difference_design(*alike)[0])


def test_colleagues_on_both_sides_make_a_difference_surer():
    """Twelve clusters at levels of their own, half with and half without: the levels cancel."""
    level = np.array([2, 4, 6, 8, 10, 12, 14, 16, 3, 7, 11, 15.0])
    k = (level + np.tile([1, 0, 1], 4))[:, None]
    effect, _ = stats.difference_design(
        k, np.full((12, 1), 20.0), level[:, None], np.full((12, 1), 20.0)
    )
    assert effect < 0.1


def change_by_orders(before, after):
    """What each factor adds to the change of the product, averaged over all orders in which the
    factors can change one by one."""
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
    np.testing.assert_allclose(
        found, [change_by_orders(b, a) for b, a in zip(before, after)], atol=1e-14
    )
    np.testing.assert_allclose(
        found.sum(axis=1), after.prod(axis=1) - before.prod(axis=1), atol=1e-12
    )
    assert (found[before == after] == 0).all()


def test_shapley_of_many_factors_adds_up():
    before, after = np.random.default_rng(1).uniform(0.5, 1.5, (2, 20, 126))
    np.testing.assert_allclose(
        stats.shapley_product(before, after).sum(axis=1)
        / (after.prod(axis=1) - before.prod(axis=1)),
        1,
        rtol=1e-9,
    )


def test_kitagawa_by_hand():
    """Weights .6/.4 become .4/.6. Segment 1 stays at .5 x 1; segment 2 goes from .25 x 1 to
    .4 x .5, so by symmetry -.5 x .325 and .15 x .75. Overall .4 -> .32."""
    found = stats.kitagawa(
        [60, 40], np.array([[0.5, 1], [0.25, 1]]), [40, 60], np.array([[0.5, 1], [0.4, 0.5]])
    )
    np.testing.assert_allclose(
        found,
        [
            [-0.2 * (0.5 - 0.36), 0, 0],
            [0.2 * (0.225 - 0.36), 0.15 * 0.75 * 0.5, -0.5 * 0.325 * 0.5],
        ],
        atol=1e-15,
    )
    assert found.sum() == pytest.approx(-0.08, abs=1e-15)


def test_what_is_missing_in_one_period_is_taken_as_unchanged():
    """A segment that is new has only a mix part: .2 users at a rate of .3 against the mean overall
    rate (.5 + .46) / 2."""
    found = stats.kitagawa([10, 0], np.array([[0.5], [np.nan]]), [8, 2], np.array([[0.5], [0.3]]))
    np.testing.assert_allclose(
        found, [[-0.2 * (0.5 - 0.48), 0], [0.2 * (0.3 - 0.48), 0]], atol=1e-15
    )


def curve_of(*groups):
    """Curve of groups (users, days until they end, how: event, competing, censored)."""
    n, time, how = (np.array(column) for column in zip(*groups))
    return stats.incidence(time, *(n * (how == end) for end in ("event", "censored", "competing")))


@pytest.mark.parametrize(
    "groups, until",
    [
        # the fortnight's 500 users and one of long ago: he does not speak for them
        ([(150, 3, "event"), (350, 14, "censored"), (1, 120, "censored")], 14),
        # nor do nine, although all of them end, so that by the curve nobody waits any more
        ([(150, 3, "event"), (350, 14, "censored"), (9, 30, "event")], 14),
        ([(150, 3, "event"), (350, 14, "censored"), (10, 30, "event")], np.inf),  # ten do
        # everybody ended: nothing can come any more
        ([(60, 5, "event"), (137, 7, "competing"), (3, 9, "competing")], np.inf),
        ([(60, 5, "event"), (135, 7, "competing"), (2, 1, "censored"), (3, 9, "event")], np.inf),
        # everybody followed to the 90th day: few wait, yet all are counted
        ([(95, 5, "event"), (5, 90, "censored")], 90),
        ([(992, 5, "event"), (8, 20, "censored")], np.inf),  # 0.8 % left
        ([(988, 5, "event"), (12, 20, "censored")], 20),
        ([(980, 5, "event"), (12, 20, "censored"), (8, 60, "censored")], 20),
        ([(9, 5, "event")], np.nan),
    ],
)
def test_a_curve_is_supported_while_ten_wait_in_view_or_hardly_anybody_waits_out_of_it(
    groups, until
):
    np.testing.assert_equal(stats.supported_until(curve_of(*groups)), until)
    arrays = {k: v.to_numpy() for k, v in curve_of(*groups).items()}
    np.testing.assert_equal(stats.supported_until(arrays), until)


def test_q_values_are_those_of_scipy_and_missing_ones_are_no_tests():
    from scipy.stats import false_discovery_control

    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 7, 40):
        p = rng.choice([0, 1e-9, 0.01, 0.04, 0.05, 0.3, 0.9, 1.0], n)  # some are the same
        q = stats.fdr(np.insert(p, n // 2, np.nan))
        assert np.isnan(q[n // 2])
        assert np.delete(q, n // 2).tolist() == (false_discovery_control(p).tolist() if n else [])
    table = rng.uniform(size=(3, 4))
    assert (stats.fdr(table) == false_discovery_control(table.ravel()).reshape(3, 4)).all()


def test_a_search_is_allowed_for_as_permutations_do():
    """Of independent scores the smallest p-value is 1 - (1 - p)^m: here of 8, by the formula."""
    rng = np.random.default_rng(0)
    scores = rng.choice([-1.0, 1.0], (100, 8))
    scores[:, 0] = np.r_[np.ones(63), -np.ones(37)]  # a score of 2.6, p .0093 alone
    pvalue, size = stats.search_pvalues(scores)
    assert size[0] == pytest.approx(2.6)
    assert pvalue[0] == pytest.approx(1 - (1 - 0.0093) ** 8, abs=0.035)
