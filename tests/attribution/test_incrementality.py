"""What sums of users against their own time come to: by hand, in buckets that are all alike."""

import numpy as np
import pytest

from mctlib.attribution import incrementality as inc
from mctlib.attribution.own_time import OwnTime
from mctlib.attribution.rotation import CALENDAR, OTHER_DAYS, VISITS

# Two windows, one partner and any. In all buckets together: conversions compared, their room for
# chance, the chance of the others to be touched, users.
EARNING = [(80, 60, 15, 200), (160, 100, 60, 200)]  # beyond chance 80 - 20 and 160 - 96
NO_CONTROL = [(0, 0, 0, 0)] * 3
QUIET = [(20, 15, 15, 60), (30, 20, 20, 60), (5, 4, 4, 60)]  # as many as by chance


def found(own=EARNING, *, after=QUIET, reach=None, others=(100, 1000), noise=0.0, n=100, **more):
    """The sums of n buckets, all alike, or as far apart as ``noise`` says."""
    sums = np.zeros((n, 3, 2, 2, 4))
    sums[:, CALENDAR] = sums[:, VISITS] = np.array(own, float) / n
    sums[:, OTHER_DAYS] = np.array(more.pop("other_days", own), float) / n
    counts = [(100, 0, 0, 0, 0), (200, 0, 0, 0, 0)] if reach is None else reach
    arrays = {
        "own": sums,
        "later": sums.copy(),
        "after": np.tile(np.array(after, float) / n, (n, 1, 1)),
        "reach": np.tile(np.array(counts, float) / n, (n, 2, 1, 1)),
        "others": np.tile(np.array([others], float) / n, (n, 1, 1)),
    }
    scale = 1 + noise * np.random.default_rng(1).standard_normal(n)
    arrays = {name: (a.T * scale).T for name, a in arrays.items()}
    return OwnTime(**arrays, **({"tied": 0.0, "bare": False} | more))


def test_excess_by_hand():
    result = inc.compare(found(), 0)
    assert result.own.value[-1].tolist() == pytest.approx(
        [80 * (1 - 15 / 60), 160 * (1 - 60 / 100)]
    )
    assert np.ptp(result.own.ends, axis=0) == pytest.approx(0, abs=1e-9)
    # 100 and 200 are credited, 80 and 160 of them compared, so all are judged by these
    assert result.projected.value[-1].tolist() == pytest.approx([100 * 0.75, 200 * 0.4])
    assert inc.excess(np.array([5.0, 0.0, 2.0, 9.0])) == -2, "nobody touched had room for chance"


def test_the_interval_is_of_the_total():
    # of a linear statistic the jackknife is the textbook's: n sd t / sqrt(n), here 2 of 3 columns
    rng = np.random.default_rng(3)
    parts = rng.normal(5, 2, 40)
    estimate = inc.jackknife(parts[:, None], lambda sums: sums)
    half = 40 * parts.std(ddof=1) / np.sqrt(40) * 2.0226909  # R: qt(.975, 39)
    low, high = estimate.ends
    assert (low[0], high[0]) == pytest.approx((parts.sum() - half, parts.sum() + half), rel=1e-6)


def test_verdicts_follow_the_printed_interval():
    for own, noise, verdict in (
        (EARNING, 0.0, inc.EARNS),
        ([(60, 60, 60, 200)] * 2, 0.0, inc.NO_EFFECT),
        ([(60, 60, 90, 200)] * 2, 0.0, inc.BELOW),
        ([(29, 25, 5, 200)] * 2, 0.0, inc.UNTOLD),  # 30 must be compared
        ([(60, 9.9, 5, 200)] * 2, 0.0, inc.UNTOLD),  # and leave room for chance
    ):
        result = inc.compare(found(own, noise=noise), 0)
        assert inc.verdicts(result, 0).tolist() == [verdict]
    few = [(29, 0, 0, 0, 0)] * 2
    assert inc.verdicts(inc.compare(found(reach=few), 0), 0).tolist() == [inc.TOO_FEW]
    # an interval that holds 0: chance is 1.05 in half of the buckets, none in the others
    uneven = found([(60, 60, 45, 200)] * 2)
    uneven.own[:50, :, :, :, 2] += 0.6
    uneven.own[50:, :, :, :, 2] -= 0.45
    low, high = (end[0, 0] for end in inc.compare(uneven, 0).own.ends)
    assert low < 0 < high and inc.verdicts(inc.compare(uneven, 0), 0).tolist() == [inc.NO_EFFECT]


def test_with_few_buckets_nothing_is_judged():
    result = inc.compare(found(n=9), 0)
    assert np.isnan(result.own.ends).all() and result.own.value[-1, 0] == pytest.approx(60)
    assert inc.verdicts(result, 0).tolist() == [inc.UNTOLD]
    assert inc.brings(result, 0).tolist() == [inc.NOBODY] and not result.refused


def test_touches_that_come_soon_after_conversions_are_no_cause_of_them():
    after = [(40, 30, 10, 90), (60, 40, 40, 90), (9, 6, 6, 90)]  # at the first window 27 too many
    result = inc.compare(found(after=after), 0)
    assert result.refused == inc.KEEP_COMPANY
    assert inc.verdicts(result, 0).tolist() == [inc.UNTOLD]
    assert not result.enough.any() and not inc.admissible(result)[0].any()
    # at the reference window, or within a day, they are as many as by chance
    assert not inc.compare(found(after=after), 1).refused
    within_a_day = [*after[:2], (9, 6, 1, 90)]
    assert inc.compare(found(after=within_a_day), 1).refused
    # where touches come with visits, these pass the time, and the calendar's control says nothing
    by_visits = inc.compare(found(after=after, tied=0.51), 0)
    assert not by_visits.refused and inc.verdicts(by_visits, 0).tolist() == [inc.EARNS]
    assert by_visits.upper.value[-1, 0] == pytest.approx(60)
    assert inc.compare(found(tied=0.5), 0).upper is None


def test_without_touches_after_conversions_they_follow_and_no_more_is_said():
    result = inc.compare(found(after=NO_CONTROL), 0)
    assert not result.refused and not result.able
    assert inc.verdicts(result, 0).tolist() == [inc.FOLLOWED]
    assert inc.compare(found(after=[(0, 0, 0, 9)] * 3), 0).able is False
    assert inc.compare(found(after=[(0, 0, 1, 10)] * 3), 0).able


def test_of_bare_days_the_conversions_own_is_not_enough():
    alone = {"bare": True, "other_days": [(60, 60, 60, 200)] * 2}
    result = inc.compare(found(**alone), 0)
    assert result.refused == inc.SAME_DAY and inc.verdicts(result, 0).tolist() == [inc.UNTOLD]
    also_before = inc.compare(found(bare=True, other_days=EARNING), 0)
    assert inc.verdicts(also_before, 0).tolist() == [inc.EARNS]
    # where nothing is beyond chance, nothing is refused either
    idle = [(60, 60, 60, 200)] * 2
    assert inc.verdicts(inc.compare(found(idle, **alone), 0), 0).tolist() == [inc.NO_EFFECT]


def test_all_are_judged_where_half_are_compared():
    half = [(160, 0, 0, 0, 0), (321, 0, 0, 0, 0)]  # 80 and 160 of them are compared
    assert inc.compare(found(reach=half), 0).enough.tolist() == [[True, False]] * 2
    # conversions after the touch that brought the user are a question of their own
    brought = [(160, 0, 0, 0, 0), (321, 100, 0, 0, 0)]
    result = inc.compare(found(reach=brought), 0)
    assert result.enough.tolist() == [[True, True]] * 2
    assert result.projected.value[-1, 1] == pytest.approx(221 * 0.4)


def test_users_brought_beside_those_whom_nobody_brought():
    # others: 100 conversions in 1,000 of the pace's time; 400 users brought, for 500 of it
    for converted, verdict in ((80, inc.MORE), (50, inc.ALIKE), (20, inc.LESS)):
        reach = [(100, converted, 400, converted, 500)] * 2
        result = inc.compare(found(reach=reach), 0)
        assert result.expected[-1] == pytest.approx(50)
        assert result.brought.value[-1] == pytest.approx((converted - 50) / 400)
        noisy = inc.compare(found(reach=reach, noise=0.3), 0)
        assert inc.brings(noisy, 0).tolist() == [verdict]
    few = [(100, 20, 400, 20, 290)] * 2  # 20 convert, 29 are expected
    assert inc.brings(inc.compare(found(reach=few), 0), 0).tolist() == [inc.UNTOLD]
    nobody_else = found(reach=[(100, 80, 400, 80, 500)] * 2, others=(0, 0))
    assert inc.brings(inc.compare(nobody_else, 0), 0).tolist() == [inc.UNTOLD]


def test_late_is_what_both_questions_add_later():
    # within the windows: brought 30 and 60 beyond the others' 10 and 20; of the longest window's
    # 160 compared (for 140) 24 are within the shorter one, 75 % beyond chance, of all 40 %
    sums = found(reach=[(100, 30, 400, 30, 100), (200, 60, 400, 60, 200)])
    sums.later[:, CALENDAR, :, 0] = np.array([24, 12, 3, 90]) / 100
    result = inc.compare(sums, 0)
    early, all_of_it = 20 + 140 / 160 * 24 * 0.75, 40 + 140 * 0.4
    assert result.late.value[-1] == pytest.approx([1 - early / all_of_it, 0])


WIDE = [  # compared, room, chance of windows of 7, 14, 30 and 60 days: excess 20, 45, 60 and 62
    ([(40, 20, 10), (90, 40, 20), (150, 50, 30), (180, 60, 39.33333)], [2]),
    ([(40, 20, 10), (90, 40, 20), (150, 50, 30), (400, 60, 48)], []),  # and 80: it still grows
    ([(40, 20, 20)] * 4, []),
]


@pytest.mark.parametrize(("sums", "fit"), WIDE)
def test_windows_to_use_hold_enough_and_wider_ones_add_none(sums, fit):
    n = 100
    own = np.zeros((n, 3, 2, 4, 4))
    own[:, CALENDAR] = np.array([(*row, 500) for row in sums]) / n
    reach = np.zeros((n, 2, 4, 5))
    reach[..., 0] = np.array([row[0] for row in sums]) / n
    noise = np.random.default_rng(2).normal(0, 0.1, (n, 1, 4))
    own[:, CALENDAR, :, :, 2] *= 1 + noise - noise.mean(axis=0)
    after = np.tile(np.array([(20, 15, 15, 60)] * 5) / n, (n, 1, 1))
    sums = OwnTime(own, own, after, reach, np.ones((n, 1, 2)), tied=0.0, bare=False)
    result = inc.compare(sums, 3)
    usable, why = inc.admissible(result)
    assert np.flatnonzero(usable).tolist() == fit
    if not fit:
        assert why == (
            inc.STILL_RISES if sums.own[:, CALENDAR, 0, 3, 0].sum() > 300 else inc.NONE_ABOVE
        )
