"""The funnel: who leaves, users of one account, steps in any order, and how far it is known."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from mctlib import stats
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Exclusion
from mctlib.funnel.conversion import diagnose_funnel
from tests.support.logs import log_of
from tests.support.walks import row

DAY = pd.Timedelta("1D")


def test_who_leaves_first_does_not_convert_by_hand():
    """ann leaves before b, bob at the very moment of his b, cem after three days; dee's exit lies
    before her entry; fay is seen for two days of her five. Ten of each."""
    rows = [
        ("ann", "a", "2026-01-01"),
        ("ann", "gone", "2026-01-02"),
        ("ann", "b", "2026-01-03"),
        ("bob", "a", "2026-01-01"),
        ("bob", "gone", "2026-01-02"),
        ("bob", "b", "2026-01-02"),
        ("cem", "a", "2026-01-01"),
        ("cem", "gone", "2026-01-04"),
        ("dee", "gone", "2025-12-31"),
        ("dee", "a", "2026-01-01"),
        ("dee", "b", "2026-01-03"),
        ("fay", "a", "2026-01-10"),
    ]
    log = log_of([(f"{user} {i}", *rest) for user, *rest in rows for i in range(10)])
    ask = {"window": "5d", "as_of": "2026-01-12T00:00:00Z"}
    result = diagnose_funnel(log, ["a", "b"], **ask, competing="gone")
    # after 1 day 50 at risk: bob in, ann out, share 1/5, 3/5 still waiting; after 2 days 30 at
    # risk: dee in, + 3/5 * 1/3
    assert row(result, 2)[
        ["n_reached", "n_pending", "n_competing", "conversion_rate"]
    ].tolist() == [30, 10, 20, pytest.approx(0.4)]
    assert (
        row(result, 2)["step_rate"] == 2 / 4
    )  # ann, bob, cem and dee have their five days behind them
    assert "leaving by gone ends the wait" in result.rule
    without = diagnose_funnel(log, ["a", "b"], **ask)
    assert row(without, 2)[["n_competing", "conversion_rate"]].tolist() == [
        0,
        pytest.approx(1 / 5 + 4 / 5 * 2 / 4),
    ]  # cem waits his five days: 1 of 5, then 2 of 4


def nested_log(n_accounts, rng, users=20, icc=0.1, p=0.3, spread=0):
    """Users of accounts that share a beta-distributed rate; all enter within ``spread`` days,
    converters one day later."""
    each = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), n_accounts).repeat(users)
    name = [f"u{i}" for i in range(len(each))]
    entry = pd.Timestamp("2026-01-01") + pd.to_timedelta(
        rng.uniform(0, spread, len(each)), unit="D"
    )
    rows = [
        *zip(name, ["a"] * len(name), entry),
        *((u, "b", t + DAY) for u, t, y in zip(name, entry, rng.random(len(each)) < each) if y),
    ]
    return log_of(
        rows,
        people=pd.DataFrame(
            {"user_id": name, "account_id": [f"acc{i // users}" for i in range(len(name))]}
        ),
    )


def test_users_of_one_account_count_for_less():
    """Design effect of 40 accounts of 20 users with an intra-account correlation of 0.1:
    1 + 19 * 0.1 = 2.9 (Kish)."""
    log = nested_log(40, np.random.default_rng(4))
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    last = row(result, 2)
    assert last["n_accounts"] == 40 and last["design_effect"] == pytest.approx(2.9, abs=1.0)
    assert last[["conversion_rate_ci_lower", "conversion_rate_ci_upper"]].tolist() == pytest.approx(
        last[["step_rate_ci_lower", "step_rate_ci_upper"]].tolist()
    )
    low, high = stats.wilson([last["n_reached"]], [800])
    assert last["conversion_rate_ci_upper"] - last["conversion_rate_ci_lower"] > 1.4 * (
        high[0] - low[0]
    )
    assert f"in 40 accounts (design effect {last['design_effect']:.1f})" in result.rule and any(
        "Users of one account act alike" in c for c in result.caveats
    )
    band = result.times.iloc[-1]
    assert band["reached_rate_ci_upper"] - band["reached_rate_ci_lower"] > 1.4 * (high[0] - low[0])


def test_below_ten_accounts_there_is_no_interval():
    result = diagnose_funnel(
        nested_log(9, np.random.default_rng(4)), ["a", "b"], window="3d", as_of="2026-02-01"
    )
    last = row(result, 2)
    assert last["n_accounts"] == 9 and 0 < last["conversion_rate"] < 1
    assert (
        last.filter(like="_ci_").isna().all() and result.times["reached_rate_ci_upper"].isna().all()
    )
    assert (
        "Too few accounts to say how far accounts differ, so no interval is given."
        in result.caveats
        and "too few accounts for intervals" in result.rule
    )


@pytest.mark.parametrize(
    ("n_accounts", "alone", "given"), [(3, 30, False), (12, 0, True), (3, 2000, True)]
)
def test_a_few_large_accounts_beside_users_without_one(n_accounts, alone, given):
    """Accounts of 100. (3, 30): the 330 users tell as much as 330^2 / 30,030 = 3.6 clusters;
    (3, 2000): as 2300^2 / 32,000 = 165. Printed are the accounts alone."""
    rng = np.random.default_rng(6)
    n = 100 * n_accounts + alone
    name, account = (
        [f"u{i}" for i in range(n)],
        [f"acc{i // 100}" if i < 100 * n_accounts else None for i in range(n)],
    )
    went = (rng.random(n) < 0.3) | (np.arange(n) % 100 < 10 * (np.arange(n) // 100 % 3)) & (
        np.arange(n) < 100 * n_accounts
    )
    log = log_of(
        [(u, "a", "2026-01-01") for u in name]
        + [(u, "b", "2026-01-02") for u, y in zip(name, went) if y],
        people=pd.DataFrame({"user_id": name, "account_id": account}),
    )
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    last = row(result, 2)
    k, m = (
        np.bincount(np.arange(n_accounts).repeat(100), weights=w[: 100 * n_accounts])
        for w in (went, np.ones(n))
    )
    low, high, effect, counted = stats.cluster_rate(
        k, m, alone=(went[100 * n_accounts :].sum(), alone)
    )
    assert last["n_accounts"] == n_accounts and (counted >= 10) == given
    for rate in ("conversion_rate", "step_rate", "naive_rate"):
        assert last[[f"{rate}_ci_lower", f"{rate}_ci_upper"]].tolist() == pytest.approx(
            [float(low), float(high)], nan_ok=True
        )
    assert any(c.startswith("Too few accounts to say") for c in result.caveats) != given
    assert (
        any(f"Theirs are {n_accounts} accounts" in c for c in result.caveats) == given
        and (f"in {n_accounts} accounts (design effect {effect:.1f})" in result.rule) == given
    )


def test_accounts_may_also_make_a_rate_surer():
    """20 accounts of 15, of whom 5 to 7 convert: steadier than 300 strangers would be. All
    intervals are the ratio's, and nobody is said to act alike."""
    n = 300
    name, went = [f"u{i}" for i in range(n)], np.arange(n) // 20 < 5 + np.arange(n) % 20 % 3
    log = log_of(
        [(u, "a", "2026-01-01") for u in name]
        + [(u, "b", "2026-01-02") for u, y in zip(name, went) if y],
        people=pd.DataFrame({"user_id": name, "account_id": [f"acc{i % 20}" for i in range(n)]}),
    )
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    low, high, effect, _ = stats.cluster_rate(
        np.bincount(np.arange(n) % 20, weights=went), np.full(20, 15)
    )
    last = row(result, 2)
    assert last["design_effect"] == pytest.approx(effect) and effect < 0.2 and result.caveats == ()
    for rate in ("conversion_rate", "step_rate", "naive_rate", "horizon_rate"):
        assert last[[f"{rate}_ci_lower", f"{rate}_ci_upper"]].tolist() == pytest.approx(
            [float(low), float(high)]
        )


def test_a_segment_without_accounts_has_none():
    name = [f"u{i}" for i in range(240)]
    people = pd.DataFrame(
        {
            "user_id": name,
            "account_id": [f"acc{i % 12}" if i < 120 else None for i in range(240)],
            "plan": ["team" if i < 120 else "free" for i in range(240)],
        }
    )
    log = log_of(
        [(u, "a", "2026-01-01") for u in name] + [(u, "b", "2026-01-02") for u in name[::3]],
        people=people,
    )
    steps = (
        diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01", by="plan")
        .steps.query("step == 2")
        .set_index("segment")
    )
    assert steps["n_accounts"].to_dict() == {"all": 12, "free": 0, "team": 12}
    low, high, effect, _ = stats.cluster_rate(np.empty(0), np.empty(0), alone=(40, 120))
    assert steps.loc[
        "free", ["conversion_rate_ci_lower", "conversion_rate_ci_upper", "design_effect"]
    ].tolist() == pytest.approx([float(low), float(high), float(effect)])


def test_open_windows_borrow_the_design_effect_and_a_share_of_nought_keeps_an_interval():
    log = nested_log(40, np.random.default_rng(4), spread=12)
    result = diagnose_funnel(log, ["a", "b", "c"], window="5d", as_of="2026-01-09", by="week")
    first, last, whole = row(result, 2, "2025-12-29"), row(result, 2, "2026-01-05"), row(result, 2)
    assert (
        first["design_effect"] > 1
        and np.isnan(last["design_effect"])
        and np.isnan(last["conversion_rate"])
        and last["n_accounts"] == 40
    )
    ends = [
        stats.cluster_interval(
            last["horizon_rate"], row(result, 1, "2026-01-05")["n_reached"], effect, 40
        )
        for effect in (1, 1.5 * whole["design_effect"])
    ]
    (inner_low, inner_high), (outer_low, outer_high) = (
        ends  # more than independent users, less than the larger accounts of both weeks
    )
    assert (
        outer_low
        < last["horizon_rate_ci_lower"]
        < inner_low
        < last["horizon_rate"]
        < inner_high
        < last["horizon_rate_ci_upper"]
        < outer_high
    )
    never = row(result, 3)
    assert never["conversion_rate"] == 0 and np.isnan(never["design_effect"])
    matured = diagnose_funnel(log, ["a", "b", "c"], window="5d", as_of="2026-02-01")
    (low,), (high,) = stats.wilson(
        [0], [800 / row(matured, 2)["design_effect"]]
    )  # worth no more users than the step before
    assert row(matured, 3)[
        ["conversion_rate_ci_lower", "conversion_rate_ci_upper"]
    ].tolist() == pytest.approx([float(low), float(high)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude": [Exclusion("x", 1, 4)]},
        {"hold": "platform"},
        {"by": "week"},
        {"order": "strict", "competing": "x"},
        {"optional": [2]},
    ],
)
def test_the_count_in_any_order_is_of_who_ever_did_all_of_them(options):
    """Users with step 1 and, ever, each required step up to this one, in a plain loop; sparse and
    busy users, with exclusions, held properties and other events between."""
    rng = np.random.default_rng(7)
    n = 2000
    frame = pd.DataFrame(
        {
            "user_id": np.where(rng.random(n) < 0.05, 0, rng.integers(0, 600, n)),
            "event": rng.choice(["a", "b", "c", "d", "x"], n),
            "platform": rng.choice(["web", "ios"], n),
            "timestamp": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(rng.integers(0, 24 * 20, n), unit="h"),
        }
    )
    log = EventLog.from_frame(frame.assign(user_id=frame["user_id"].map("u{}".format)))
    seen = frame[frame["timestamp"] < "2026-01-19"].groupby("user_id")["event"].agg(set)
    needs = [
        {"a"},
        {"a", "b"},
        {"a", "c"} if "optional" in options else {"a", "b", "c"},
        {"a", "c", "d"} if "optional" in options else {"a", "b", "c", "d"},
    ]
    found = diagnose_funnel(
        log, ["a", "b", "c", "d"], **{"window": "50h", "as_of": "2026-01-18"} | options
    )
    table = (
        found.steps.query("segment == 'all'")
        if "by" not in options
        else found.steps.query("segment != 'all'")
        .groupby("step", as_index=False)[["n_any_order", "n_reached"]]
        .sum()
    )
    lost = found.checks.loc[found.checks["check"] == "taken out by an exclusion", "n_users"].sum()
    naive = [sum(need <= did for did in seen) for need in needs]
    assert table["n_any_order"].iloc[0] == naive[0] - lost
    assert table["n_any_order"].tolist() == naive or "exclude" in options
    assert (table["n_any_order"] >= table["n_reached"]).all() and table["n_any_order"].iloc[
        -1
    ] > table["n_reached"].iloc[-1]


@pytest.mark.parametrize(
    "steps",
    [
        ["a", "a"],
        ["a", "b", "a"],
        ["a", "a", "b", "a"],
        ["a", ["a", "b"], ["b", "c"]],
        ["a", ["a", "b"], ["a", "b", "c"], "c"],
    ],
)
def test_in_any_order_too_one_event_fills_one_step(steps):
    """Users of up to five events, all ways to give their events to the steps tried; skipped steps
    by events that fit no step up to the skipped one."""
    rng = np.random.default_rng(12)
    did = [["a"]] * 8 + [list(rng.choice(list("abc"), rng.integers(1, 6))) for _ in range(150)]
    rows = [
        (f"u{u}", e, pd.Timestamp("2026-01-01") + pd.Timedelta(hours=h))
        for u, events in enumerate(did)
        for h, e in enumerate(events)
    ]
    result = diagnose_funnel(log_of(rows), steps, window="9d", as_of="2026-02-01")

    def fits(events, k):
        return any(all(e in s for e, s in zip(some, steps)) for some in permutations(events, k))

    assert result.steps["n_any_order"].tolist() == [
        sum(fits(events, k) for events in did) for k in range(1, len(steps) + 1)
    ]
    assert (result.steps["n_any_order"] >= result.steps["n_reached"]).all()
    for k in range(2, len(steps)):
        later = set().union(*steps[k:]) - set().union(*steps[:k])
        naive = sum(
            "a" in events
            and any(e in later for e in events)
            and not any(e in steps[k - 1] for e in events)
            for events in did
        )
        assert result.checks.query("check == 'a later step, but never this one' and step == @k")[
            "n_users"
        ].tolist() == [naive]


def test_checks_say_whom_the_counts_leave_out():
    """Two exclusions: x takes out ann, y takes out bob, either of them eva. gil's profile is on
    another platform, hal skips b, ida ties, joe comes back later."""
    day = "2026-01-0{}".format

    def path(user, *events):
        return [(user, e, t, p) for e, t, p in events]

    rows = [
        *path("ann", ("a", day(1), "web"), ("x", day(2), "web"), ("b", day(3), "web")),
        *path(
            "bob",
            ("a", day(1), "web"),
            ("b", day(2), "web"),
            ("y", day(3), "web"),
            ("c", day(4), "web"),
        ),
        *path(
            "eva",
            ("a", day(1), "web"),
            ("x", day(2), "web"),
            ("b", day(3), "web"),
            ("y", day(4), "web"),
            ("c", day(5), "web"),
        ),
        *path("gil", ("a", day(1), "web"), ("b", day(2), "ios"), ("c", day(3), "ios")),
        *path("hal", ("a", day(1), "web"), ("c", day(2), "web")),
        *path("ida", ("a", day(1), "web"), ("b", day(1), "web"), ("c", day(2), "web")),
        *path(
            "joe",
            ("a", day(1), "web"),
            ("a", "2026-01-20", "web"),
            ("b", "2026-01-21", "web"),
            ("c", "2026-01-22", "web"),
        ),
        *path("kim", ("a", "2026-01-30", "web")),
    ]
    log = log_of(rows, "platform")
    checks = diagnose_funnel(
        log,
        ["a", "b", "c"],
        window="9d",
        as_of="2026-02-01",
        exclude=[Exclusion("x", 1, 2), Exclusion("y", 2, 3)],
        hold="platform",
    ).checks
    assert [tuple(None if pd.isna(v) else v for v in r) for r in checks.to_numpy(object)] == [
        ("window still open, step not reached", 3, "c", 1),
        ("reached only on a later attempt", 3, "c", 1),
        ("taken out by an exclusion", 2, "x after step 1", 2),
        ("taken out by an exclusion", 3, "y after step 2", 2),
        ("taken out by an exclusion", None, "any of these", 3),
        ("taken out by an exclusion on the first attempt only", None, "", 0),
        ("reached, but not with the same platform", 3, "c", 1),
        ("two steps at the very same time", None, "", 1),
        ("a later step, but never this one", 2, "b", 1),
    ]


def test_times_are_the_curve_of_everybody_who_might_go_on():
    """40 users do b after 1, 2, ..., 40 hours, 40 never; from hour 31 on fewer than 10 of them are
    left to go, 50 are at risk."""
    rows = [(f"u{i}", "a", "2026-01-01") for i in range(80)] + [
        (f"u{i}", "b", pd.Timestamp("2026-01-01") + pd.Timedelta(hours=i + 1)) for i in range(40)
    ]
    result = diagnose_funnel(log_of(rows), ["a", "b"], window="3d", as_of="2026-02-01")
    assert row(result, 2)[["p25_days", "median_days", "p75_days"]].tolist() == [
        20 / 24,
        40 / 24,
        pytest.approx(np.nan, nan_ok=True),
    ]
    times = result.times
    assert times["days"].iloc[0] == 0 and times["days"].iloc[-1] == 3 and len(times) <= 122
    hours = np.round(times["days"] * 24).astype(int)
    assert times["reached_rate"].tolist() == pytest.approx(np.minimum(hours, 40) / 80)
    assert times["n_at_risk"].tolist() == [
        80 - min(max(h - 1, 0), 40) for h in hours
    ]  # at risk at an hour: those not there an hour before


def test_the_horizon_is_as_far_as_ten_were_followed_and_waited():
    """One enters a day, twelve in all, seen up to the end of the twelfth: the tenth longest was
    followed for 3 days but for a microsecond. Six do b after two days: then ten wait, later six."""
    rows = [(f"u{d}", "a", f"2026-01-{d:02d}") for d in range(1, 13)] + [
        (f"u{d}", "b", f"2026-01-{d + 2:02d}") for d in range(1, 7)
    ]
    early = row(diagnose_funnel(log_of(rows), ["a", "b"], window="20d", as_of="2026-01-12"), 2)
    assert early["horizon_days"] == 2 and np.isnan(early["conversion_rate"])
    assert early["horizon_rate"] == pytest.approx(
        6 / 10
    )  # the last two were seen for less than two days, the eleventh by a microsecond
    late = row(diagnose_funnel(log_of(rows), ["a", "b"], window="20d", as_of="2026-02-12"), 2)
    assert late["horizon_days"] == 20 and late["horizon_rate"] == late["conversion_rate"] == 0.5
    assert late["horizon_rate_ci_upper"] == late["conversion_rate_ci_upper"]
