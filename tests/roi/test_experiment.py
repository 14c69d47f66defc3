"""Randomised arms: hand counts, R, SciPy, statsmodels. Coverage: tests/calibration.py."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import chisquare, ttest_ind
from scipy.stats import t as student

from mctlib import stats
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.roi import compare_arms
from mctlib.roi.arms import Side, of_means, of_shares
from mctlib.roi.experiment import effect_row
from mctlib.suppression import Page
from tests.support.logs import log_of

ASK = {
    "of": "start",
    "by": "properties.arm",
    "change_at": "2026-03-10",
    "window": "5d",
    "as_of": "2026-04-30",
}


def with_arms(rows, arm, times=1):
    """A log in which every user comes so many times: of fewer than 10 in an arm nothing is told."""
    many = range(times)
    return log_of([(f"{u}.{k}", *row, arm.get(u)) for k in many for u, *row in rows], "arm")


# ---- who is counted, and how


def test_events_of_known_users_are_counted_on_both_sides_of_the_change():
    arm = {"a": "new", "b": "new", "c": "old", "d": "old", "e": "old", "f": "new"}
    rows = [(u, "start", "2026-03-01") for u in "abcd"] + [
        ("e", "start", "2026-03-10"),
        ("f", "start", "2026-03-09 23:59"),
    ]  # e came with the change
    rows += [
        ("a", "use", "2026-03-05 00:00"),
        ("a", "use", "2026-03-09 23:59:59"),
        ("a", "use", "2026-03-10 00:00"),
        ("a", "use", "2026-03-14 23:59:59"),
        ("b", "use", "2026-03-04 23:59:59"),
        ("b", "use", "2026-03-15 00:00"),
        ("c", "use", "2026-03-12"),
        ("c", "use", "2026-03-13"),
        ("e", "use", "2026-03-11"),
    ]
    log = with_arms(rows, arm, times=10)
    result = compare_arms(log, "use", **ASK)
    row = result.arms.iloc[0]
    assert row[["segment", "reference", "n_users", "n_reference"]].tolist() == [
        *("old", "new", 20, 30)
    ]
    # c 2, d 0; before the change only a: 2
    assert row["mean_before"] == 0 and row["mean_after"] == 1
    assert row["unadjusted_effect"] == pytest.approx(1 - 2 / 3)
    assert any("10 users of these arms came on 10 March 2026 or later" in c for c in result.caveats)
    share = compare_arms(log, "use", **ASK, kind="rate").arms.iloc[0]
    assert share["mean_after"] == 0.5 and share["unadjusted_effect"] == pytest.approx(1 / 2 - 1 / 3)


NEW = [
    *((f"{a}{day}", "start", f"2026-03-1{day} 10:00") for day in range(2) for a in "ab"),
    ("a0", "use", "2026-03-10 10:00"),  # the same moment, but another event
    ("a1", "use", "2026-03-16 10:00"),  # the very end of its five days
    ("b0", "use", "2026-03-15 10:00:01"),  # a second late
    ("b1", "use", "2026-03-11 09:00"),  # before its start
]
ARM = {"a0": "new", "a1": "new", "b0": "old", "b1": "old"}


def test_new_users_have_their_window_from_their_own_start():
    # 20 idle users an arm, so that a share is read at all
    idle = [(f"{a}{i}", "start", "2026-03-20") for a in "ab" for i in range(2, 22)]
    arm = ARM | {u: "new" if u[0] == "a" else "old" for u, *_ in idle}
    ask = ASK | {"users": "new", "reference": "old"}
    row = compare_arms(with_arms(NEW + idle, arm), "use", **ask).arms.iloc[0]
    assert row[["n_users", "n_reference", "n_pending"]].tolist() == [22, 22, 0]
    assert row["mean_after"] == pytest.approx(2 / 22) and row["effect"] == pytest.approx(2 / 22)
    assert row[["mean_before", "variance_ratio", "balance_pvalue"]].isna().all()
    # of a mean, users whose window is open are left out; b0 and b1 here have 2 and 0
    twice = [*NEW, ("b0", "use", "2026-03-12"), ("b0", "use", "2026-03-13")]
    means = compare_arms(with_arms(twice, ARM, 10), "use", **ask).arms.iloc[0]
    assert means[["n_users", "n_reference"]].tolist() == [20, 20] and means["effect"] == 0
    late = compare_arms(with_arms(NEW + idle, arm, 5), "use", **(ask | {"as_of": "2026-03-17"}))
    assert late.arms["n_pending"].item() == 0  # whoever comes later is not there yet
    itself = compare_arms(with_arms(NEW + idle, arm), "start", **ask)  # no start again
    assert itself.arms["mean_after"].item() == 0


def rolling(n=3000, *, lift=0.1, wait=1.0, days=28, share=0.5, seed=3, accounts=None):
    """Users who come one by one and are put into arms by chance; some act some days later."""
    rng = np.random.default_rng(seed)
    came = pd.Timestamp("2026-03-10", tz="UTC") + pd.to_timedelta(rng.uniform(0, days, n), "D")
    new = rng.random(n) < share if accounts is None else accounts(rng)[1]
    did = rng.random(n) < np.where(new, 0.3 + lift, 0.3)
    acts = came + pd.to_timedelta(rng.exponential(wait, n), "D")
    user = np.array([f"u{i}" for i in range(n)])
    start = pd.DataFrame({"user_id": user, "event": "start", "timestamp": came})
    use = pd.DataFrame({"user_id": user, "event": "use", "timestamp": acts})[did]
    people = pd.DataFrame({"user_id": user, "channel": np.where(new, "new", "old")})
    if accounts is not None:
        people["account_id"] = accounts(np.random.default_rng(seed))[0]
    log = EventLog.from_frame(pd.concat([start, use]), people=people, observed_until="2026-04-30")
    return log, pd.DataFrame({"came": came, "new": new, "wait": acts - came, "did": did})


ROLLING = ASK | {"by": "channel", "reference": "old", "window": "7d"}


@pytest.mark.parametrize("change_at", ["2026-03-01", "2026-03-10", "2026-03-24"])
def test_a_test_whose_users_are_put_into_arms_at_their_start(change_at):
    """Welch's and the chi-square test by SciPy, of those who came on that day or later."""
    log, users = rolling(wait=0.01)
    result = compare_arms(log, "use", **(ROLLING | {"change_at": change_at}))
    mine = users[users["came"] >= pd.Timestamp(change_at, tz="UTC")]
    did, other = (mine.loc[side, "did"] for side in (mine["new"], ~mine["new"]))
    row = result.arms.iloc[0]
    assert row["effect"] == pytest.approx(did.mean() - other.mean()) and row["pvalue"] < 0.002
    assert row["pvalue"] == pytest.approx(ttest_ind(did, other, equal_var=False).pvalue, rel=0.1)
    expected = chisquare([len(did), len(other)]).pvalue
    assert row["sample_ratio_pvalue"] == pytest.approx(expected)
    assert (
        result.finding.startswith(
            "The arm new moved the share of users with use within 7 days of start by "
        )
        and f"against {100 * other.mean():.1f} % in old." in result.finding
    )
    n_before = len(users) - len(mine)
    assert any(f"{n_before:,} users of these arms were there" in c for c in result.caveats) == (
        n_before > 0
    )


def test_a_date_after_all_of_them_had_come_is_told_from_a_change_without_effect():
    log, _ = rolling(wait=0.01)
    result = compare_arms(log, "use", **(ROLLING | {"change_at": "2026-04-07"}))
    assert result.arms["balance_pvalue"].item() < 0.001
    assert result.finding.startswith(
        "Not supported: unlike shares of new and old had use before 7 April 2026 already, so the "
        "arms were not drawn on that day"
    )


def kaplan_meier(users, end):
    """Share who acted by ``end``; ``users`` have a time and whether it is that of acting."""
    still = 1.0
    for t in np.unique(users.loc[users["acted"] & (users["time"] <= end), "time"]):
        here = users["time"] == t
        still *= 1 - (here & users["acted"]).sum() / (users["time"] >= t).sum()
    return 1 - still


def test_pending_users_are_no_failures():
    """The shares are Kaplan-Meier's, by a loop over times; a date in the middle moves nothing."""
    log, users = rolling(wait=2.0, lift=0.2)
    as_of = pd.Timestamp("2026-03-31", tz="UTC")
    row = compare_arms(log, "use", **(ROLLING | {"as_of": as_of})).arms.iloc[0]
    seen = users[users["came"] <= as_of]
    followed = (as_of - seen["came"]).clip(upper=pd.Timedelta("7D"))
    seen = seen.assign(
        time=seen["wait"].where(seen["did"], followed).clip(upper=followed),
        acted=seen["did"] & (seen["wait"] <= followed),
    )
    new, old = (kaplan_meier(seen[m], pd.Timedelta("7D")) for m in (seen["new"], ~seen["new"]))
    assert row["mean_after"] == pytest.approx(new) and row["effect"] == pytest.approx(new - old)
    assert row["n_pending"] == (followed < pd.Timedelta("7D")).sum() > 500
    assert row["n_users"] == seen["new"].sum()
    # failures they would be, and the effect a third too small
    assert seen.loc[seen["new"], "acted"].mean() < new - 0.03
    early = compare_arms(log, "use", **(ROLLING | {"as_of": "2026-03-17"}))
    assert "Not supported" not in early.finding
    assert any(c.startswith("Pending, since their 7 days are not over: ") for c in early.caveats)


def test_new_users_are_preferred_where_two_arms_have_30_of_them():
    rows = [(f"{a}{i}", "start", "2026-03-01") for a in "ab" for i in range(50)]
    rows += [(f"{a}{i}", "use", "2026-03-11") for a in "ab" for i in range(0, 50, 2 + (a == "b"))]
    for n, known in ((29, True), (30, False)):
        come = [(f"{a}n{i}", "start", "2026-03-12") for a in "ab" for i in range(n)]
        arm = {u: u[0] for u, *_ in rows + come}
        found = compare_arms(with_arms(rows + come, arm), "use", **ASK).arms.iloc[0]
        assert found["n_users"] == (50 if known else 30)
        asked = compare_arms(with_arms(rows + come, arm), "use", **ASK, users="known").arms.iloc[0]
        assert asked["n_users"] == 50


# ---- the estimates


CYL = "66468684466888888444488884448684"
MPG = """21 21 22.8 21.4 18.7 18.1 14.3 24.4 22.8 19.2 17.8 16.4 17.3 15.2 10.4 10.4 14.7 32.4 30.4
    33.9 21.5 15.5 15.2 13.3 19.2 27.3 26 30.4 15.8 19.7 15 21.4"""
MANUAL = "11100000000000000111000001111111"


def satterthwaite(*sides):
    """Degrees of freedom of a difference, of (variance, degrees of freedom) pairs."""
    return sum(v for v, _ in sides) ** 2 / sum(v**2 / df for v, df in sides)


def test_lins_estimator_has_the_numbers_of_r():
    # tests/reference/roi.R: lm(mpg ~ am * (cyl - mean(cyl))), HC2 by hand
    numbers = [list(map(float, x)) for x in (CYL, MPG.split(), MANUAL)]
    cars = pd.DataFrame(dict(zip(("before", "after", "manual"), numbers))).assign(n_users=1)
    sides = [cars[cars["manual"] == m] for m in (1, 0)]
    found = effect_row(*map(Side, sides))
    assert found["effect"] == pytest.approx(2.10000293, abs=1e-7)
    centred = [np.c_[np.ones(len(s)), s["before"] - cars["before"].mean()] for s in sides]
    fits = [sm.OLS(s["after"], x).fit(cov_type="HC2") for s, x in zip(sides, centred)]
    df = satterthwaite(*((f.bse.iloc[0] ** 2, len(s) - 2) for f, s in zip(fits, sides)))
    half = (found["effect_ci_upper"] - found["effect_ci_lower"]) / 2
    assert half == pytest.approx(0.71707731 * student.ppf(0.975, df), rel=1e-6)


def test_welchs_test_has_the_numbers_of_r():
    # tests/reference/roi.R: t.test(extra ~ group, data = sleep)
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    sides = [Side(pd.DataFrame({"before": 0, "after": x, "n_users": 1})) for x in (two, one)]
    found = of_means(*sides)
    assert [found.value, found.df, found.pvalue] == pytest.approx(
        [1.58, 17.77647, 0.07939414], rel=1e-5
    )
    assert [found.low, found.high] == pytest.approx([-0.2054832, 3.3654832], rel=1e-6)


def test_counted_users_are_users_one_by_one():
    rng = np.random.default_rng(0)
    x, treated = rng.poisson(1.5, 600), rng.random(600) < 0.5
    y = rng.poisson(0.5 + 0.6 * x + 0.4 * treated)
    rows = pd.DataFrame({"before": x, "after": y, "treated": treated})
    counts = rows.value_counts().reset_index(name="n_users")
    sides = [Side(counts[counts["treated"] == t]) for t in (True, False)]
    found, plain = of_means(*sides, adjust=True), effect_row(*sides)
    z = x - x.mean()
    peer = sm.OLS(y, np.c_[np.ones(600), treated, z, treated * z]).fit(cov_type="HC2")
    assert [found.value, found.se] == pytest.approx([peer.params[1], peer.bse[1]])
    welch = ttest_ind(y[treated], y[~treated], equal_var=False)
    low, high = welch.confidence_interval()
    names = ["unadjusted_effect", "unadjusted_effect_ci_lower", "unadjusted_effect_ci_upper"]
    expected = [y[treated].mean() - y[~treated].mean(), low, high]
    assert [plain[name] for name in names] == pytest.approx(expected)
    se = (high - low) / 2 / student.ppf(0.975, welch.df)
    assert plain["variance_ratio"] == pytest.approx((peer.bse[1] / se) ** 2)


def colleagues(seed=1, n_accounts=40):
    """Users of accounts in both arms: cluster, before, after, arm."""
    rng = np.random.default_rng(seed)
    account = np.arange(n_accounts).repeat(rng.integers(2, 30, n_accounts))
    n, keen = len(account), rng.gamma(2, 0.5, n_accounts)[account]
    frame = pd.DataFrame(
        {"cluster": account, "before": rng.poisson(keen), "after": rng.poisson(keen)}
    )
    return frame.assign(arm=rng.random(n) < 0.6, n_users=1)


def test_in_accounts_the_variance_is_the_jackknifes_by_a_loop():
    users = colleagues()
    sides = [Side(users[users["arm"] == arm]) for arm in (True, False)]

    def lin(some):
        z, arm = some["before"] - some["before"].mean(), some["arm"].astype(float)
        x = np.c_[np.ones(len(some)), arm, z, arm * z]
        return np.linalg.lstsq(x, some["after"].to_numpy(float), rcond=None)[0][1]

    whole = lin(users)
    changes = [lin(users[users["cluster"] != b]) - whole for b in users["cluster"].unique()]
    found = of_means(*sides, adjust=True, n_accounts=40)
    n_accounts = users.groupby("arm")["cluster"].nunique().min()  # one lies in one arm whole
    assert [found.value, found.se, found.df] == pytest.approx(
        [whole, np.sqrt(39 / 40 * np.square(changes).sum()), n_accounts - 1]
    )
    did = users.assign(on=users["after"] > 0)
    shares = of_shares(*(Side(s.counts.assign(after=s.of("after") > 0)) for s in sides), 0)
    mean = did.groupby("arm")["on"].mean()
    assert shares.value == pytest.approx(mean[True] - mean[False]) and np.isnan(
        shares.design_effect
    )
    few = users[users["cluster"].isin(users["cluster"].unique()[:9])]
    nine = [Side(few[few["arm"] == arm]) for arm in (True, False)]
    for found in (of_means(*nine, n_accounts=9), of_shares(*nine, 0, n_accounts=9)):
        assert np.isnan([found.low, found.high, found.pvalue]).all()


def test_shares_in_accounts_have_the_design_effect_of_the_difference():
    users = colleagues(2).assign(after=lambda t: (t["after"] > 0).astype(int))
    sides = [Side(users[users["arm"] == arm]) for arm in (True, False)]
    four = [
        np.bincount(s.counts["cluster"], s.counts[c], minlength=40)[:, None]
        for s in sides
        for c in ("after", "n_users")
    ]
    design = stats.difference_design(*four, n_accounts=40)
    found, total = of_shares(*sides, 0, n_accounts=40), [x.sum() for x in four]
    assert [found.low, found.high] == pytest.approx([*stats.newcombe(*total, design=design)])
    assert found.design_effect == design.effect and found.df == design.df


# ---- whether the draw was one


def world(n_new, n_old, lift, seed=1):
    """Users who all start on 1 March and use the product some days before and after 10 March."""
    rng = np.random.default_rng(seed)
    arm = {f"u{i}": "new" if i < n_new else "old" for i in range(n_new + n_old)}
    rows = [(u, "start", pd.Timestamp("2026-03-01")) for u in arm]
    for u, a in arm.items():
        taste = rng.gamma(2.0, 0.5)
        for start, rate in (("2026-03-05", taste), ("2026-03-10", taste + lift * (a == "new"))):
            rows += [
                (u, "use", pd.Timestamp(start) + pd.Timedelta(hours=h))
                for h in rng.uniform(0, 119, rng.poisson(rate))
            ]
    return with_arms(rows, arm)


def test_a_planted_lift_is_found_and_said():
    result = compare_arms(world(300, 300, 0.5), "use", **ASK, reference="old")
    row = result.arms.iloc[0]
    assert row["effect_ci_lower"] < 0.5 < row["effect_ci_upper"] and row["pvalue"] < 0.001
    assert row["variance_ratio"] < 0.9 and row["balance_pvalue"] > 0.001
    assert result.finding.startswith(
        "The arm new moved the use events per user within 5 days of 10 March 2026 by +0."
    ) and result.rule.startswith("arms assigned by chance, 300 and 300 users known before")
    null = compare_arms(world(300, 300, 0.0), "use", **ASK, reference="old")
    assert null.finding.startswith("No effect of the arm new on the use events per user")


def test_arms_of_uneven_size_are_refused_but_not_where_they_were_planned():
    log, equal = world(300, 180, 0.5), chisquare([300, 180]).pvalue
    result = compare_arms(log, "use", **ASK)
    assert result.arms["sample_ratio_pvalue"].item() == pytest.approx(equal) and equal < 0.001
    assert result.finding.startswith(
        "Not supported: the arms hold new 300 users and old 180 users; "
        "chance alone does not make arms this uneven"
    )
    planned = compare_arms(log, "use", **ASK, shares={"new": 6, "old": 4}, reference="old")
    expected = chisquare([300, 180], [288, 192]).pvalue
    assert planned.arms["sample_ratio_pvalue"].item() == pytest.approx(expected)
    assert planned.finding.startswith("The arm new moved")
    assert planned.caveats[0] == (
        "Planned were new 60 % (62.5 % came) and old 40 % (37.5 % came); arms of these sizes, "
        f"drawn of users: p = {expected:.3f}."
    )


@pytest.mark.parametrize("whole", [True, False])
def test_the_sizes_of_arms_are_judged_by_what_was_drawn(whole):
    """30 accounts of 10 to 300 users; drawn as wholes, users lie 70 : 30 by chance."""
    sizes = np.linspace(10, 300, 30).astype(int)
    account = np.arange(30).repeat(sizes)
    drawn = np.arange(30) % 2 == 0
    drawn[-6:] = True

    def accounts(rng):
        side = drawn[account] if whole else rng.random(len(account)) < drawn[account].mean()
        return [f"acc{a}" for a in account], side

    log, users = rolling(len(account), accounts=accounts, wait=0.01)
    row = compare_arms(log, "use", **ROLLING).arms.iloc[0]
    n = users["new"].sum()
    assert chisquare([n, len(users) - n]).pvalue < 1e-9
    expected = chisquare([drawn.sum(), (~drawn).sum()]).pvalue if whole else 0
    assert row["sample_ratio_pvalue"] == pytest.approx(expected, abs=1e-9)
    assert (row["design_effect"] > 0) and (row["sample_ratio_pvalue"] > 0.05) == whole


def test_users_without_an_arm_are_no_arm():
    rows = [
        (f"{a}{i}", "start", "2026-03-01")
        for a, n in (("new", 10), ("old", 10), ("odd", 9), ("x", 20))
        for i in range(n)
    ]
    rows += [
        (f"{a}{i}", "use", "2026-03-11")
        for a in ("new", "old")
        for i in range(0, 10, 1 + (a == "old"))
    ]
    arm = {u: u[:3] for u, *_ in rows if u[0] != "x"}
    result = compare_arms(with_arms(rows, arm), "use", **ASK)
    assert result.arms[["segment", "reference", "n_users", "n_reference"]].to_numpy().tolist() == [
        ["old", "new", 10, 10]
    ]
    assert result.arms["unadjusted_effect"].iloc[0] == pytest.approx(5 / 10 - 1)
    # 49 in all, 10 and 10 in the arms: 20 more would tell the 9
    assert "Users without an arm are left out." in result.caveats
    assert (
        "Left out, since fewer than 10 users of each were followed for 5 days by now: odd."
        in result.caveats
    )
    assert not [c for c in result.caveats if "odd" in c and "Left out" not in c]


@pytest.mark.parametrize("n_odd", [6, 0])
def test_neither_table_nor_sentence_gives_back_an_arm_that_is_left_out(n_odd):
    """All users less 15 and 12 in the arms are the 6 of another one."""
    arms = (("new", 15), ("old", 12), ("odd", n_odd))
    rows = [(f"{arm}{i}", "start", "2026-03-11") for arm, n in arms for i in range(n)]
    rows += [(f"{arm}{i}", "use", "2026-03-12") for arm, *_ in arms[:2] for i in range(7)]
    log = with_arms(rows, {u: u[:3] for u, *_ in rows})
    result = compare_arms(log, "use", **ASK)
    page = Page()
    page.begin(27 + n_odd)
    assert page.publish("arms", result.arms, result.groups)[1].tolist() == [n_odd > 0]
    said = " ".join((result.finding, result.rule, result.reason, *result.caveats))
    assert ("12 and 15 users" in said) == (n_odd == 0) and "6 users" not in said


def test_the_surest_arm_is_spoken_of():
    rows = [(f"{a}{i:02d}", "start", "2026-03-01") for a in "abc" for i in range(40)]
    rows += [(f"a{i:02d}", "use", "2026-03-11") for i in range(20)] + [
        (f"b{i:02d}", "use", "2026-03-11") for i in range(38)
    ]  # +0.45, surely
    rows += [
        ("c00", "use", f"2026-03-11 {k // 60:02d}:{k % 60:02d}") for k in range(400)
    ]  # +9.5, all by one user
    result = compare_arms(with_arms(rows, {u: u[0] for u, *_ in rows}), "use", **ASK, reference="a")
    assert result.arms.set_index("segment")["effect"].to_dict() == pytest.approx(
        {"b": 0.45, "c": 9.5}
    )
    assert result.finding.startswith("The arm b moved the use events per user") and (
        "by +0.45 events per user" in result.finding
    )


def test_among_many_arms_one_that_may_differ_by_chance_is_not_named():
    """Six arms of 100; one has 47 where the others have 33: p = .04, but one of five."""
    rows = [(f"{a}{i:02d}", "start", "2026-03-12") for a in "abcdef" for i in range(100)]
    rows += [
        (f"{a}{i:02d}", "use", "2026-03-13")
        for a in "abcdef"
        for i in range(47 if a == "f" else 33)
    ]
    result = compare_arms(with_arms(rows, {u: u[0] for u, *_ in rows}), "use", **ASK, reference="a")
    row = result.arms.set_index("segment").loc["f"]
    assert row["pvalue"] < 0.05 < row["qvalue"] and row["effect_ci_lower"] > 0
    assert result.finding.startswith("Inconclusive: the arm f moved the share of users with use")
    assert "of 6 arms one may differ so by chance" in result.finding


def test_users_who_do_not_differ_say_nothing():
    rows = [(f"{a}{i}", "start", "2026-03-01") for a in "ab" for i in range(10)] + [
        ("z", "start", "2026-03-01"),
        ("z", "use", "2026-03-11"),
    ]
    result = compare_arms(with_arms(rows, {u: u[0] for u, *_ in rows if u != "z"}), "use", **ASK)
    assert result.finding.startswith(
        "Not supported: users within the arms do not differ at all"
    ) and "nan" not in " ".join(result.caveats)
    assert "Fewer than 10 users without an arm are left out." in result.caveats


# ---- how long to wait


def test_what_so_many_users_show_and_how_long_a_smaller_effect_takes():
    """By statsmodels' power of two shares that differ by that much, to a tenth of it."""
    log, users = rolling(2000, lift=0.0, wait=0.01)
    result = compare_arms(log, "use", **ROLLING, wish=3.0)
    row = result.arms.iloc[0]
    p, n = users["did"].mean(), users["new"].sum()
    power = sm.stats.NormalIndPower().power(
        row["detectable_effect"] / np.sqrt(p * (1 - p)), n, 0.05, (2000 - n) / n
    )
    assert power == pytest.approx(0.8, abs=0.01)
    needed = (row["detectable_effect"] / 0.03) ** 2 * 4  # weeks: a quarter of them so far
    assert row["more_weeks"] == np.ceil(needed - 4)
    assert result.caveats[-1] == (
        "With a power of about 80 % so many users show an effect of "
        f"{100 * row['detectable_effect']:.1f} percentage points; 3.0 percentage points, "
        f"as wished, takes {row['more_weeks']:.0f} more weeks of new users."
    )
    enough = compare_arms(log, "use", **ROLLING, wish=20).arms
    assert enough["more_weeks"].item() == 0
    assert compare_arms(log, "use", **ROLLING).arms["more_weeks"].isna().all()


def test_errors_name_the_parameter():
    log = with_arms(
        [
            ("a", "start", "2026-03-01"),
            ("b", "start", "2026-03-01"),
            ("c", "start", "2026-03-02"),
            ("d", "start", "2026-03-02"),
            ("a", "use", "2026-03-12"),
        ],
        {"a": "new", "b": "old", "c": "new", "d": "old"},
        times=5,
    )
    for message, options in [
        (
            'reference: "nw" is none of the arms of 10 users or more.*Did you mean "new"',
            {"reference": "nw"},
        ),
        (
            "window: 5 days after 2026-03-10 are not over on 2026-03-12, the last",
            {"as_of": "2026-03-12"},
        ),
        ("fewer than two arms", {"by": "event.event"}),
        ('"strt" does not occur', {"of": "strt"}),
        ('shares: "nwe" is none of the arms.*Did you mean "new"', {"shares": {"nwe": 1, "old": 1}}),
        ('shares: the arm "old" has none; every arm needs one', {"shares": {"new": 1}}),
        ("shares: .* must be numbers above 0", {"shares": {"new": 1, "old": 0}}),
        ('kind: "rates" is not one of mean, rate. Did you mean "rate"', {"kind": "rates"}),
        ('users: "old" is not one of new, known', {"users": "old"}),
    ]:
        with pytest.raises(ParameterError, match=message):
            compare_arms(log, "use", **(ASK | options))


def test_without_arms_it_says_so():
    log = with_arms([("a", "start", "2026-03-01"), ("a", "use", "2026-03-12")], {"a": "new"})
    result = compare_arms(log, "use", **(ASK | {"by": ""}))
    assert result.finding == "No randomised arms were named." and result.arms.empty
