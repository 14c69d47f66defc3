"""Time to activation: hand counts, a per-user loop, accounts, delayed entry, and the demo."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctlib import plots
from mctlib.activation import survival_groups, time_to_activation, waits_of
from mctlib.activation.clocks import count_durations, resolution
from mctlib.activation.pooling import POOLED
from mctlib.activation.survival_groups import Clock, Group
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.steps import Step
from mctlib.sources import demo
from tests.support.clocks import ASK, END, clocked, clocks, coarse
from tests.support.logs import log_of, people_of

DAY = 86_400_000_000
of_march = partial(log_of, unit="D", since="2026-03-01")  # time: days after the first


def all_counts(tables):
    """The tables of `count_durations` as one dict: (..., outcome, units) -> users.

    And (..., "immature", 0) -> users whose horizon is not over.
    """
    ended = tables["ended"]
    young = ended.assign(outcome="immature", units=0, n_users=ended["n_immature"])
    parts = [ended, young[young["n_users"] > 0], tables["left_out"].assign(units=0)]
    return pd.concat(parts).groupby(["segment", "outcome", "units"])["n_users"].sum().to_dict()


# ---------------------------------------- counting by hand


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("start 01, active 03", {("activated", 2): 1, ("immature", 0): 1}),
        (
            "start 01, active 01",
            {("activated", 0): 1, ("immature", 0): 1},
        ),  # the same moment counts
        (
            "start 01, active 03, active 02",
            {("activated", 1): 1, ("immature", 0): 1},
        ),  # the first one after
        (
            "start 03, start 01, active 04",
            {("activated", 3): 1, ("immature", 0): 1},
        ),  # the first start is time zero
        ("active 01, start 02, active 05", {("already", 0): 1}),
        ("start 01, exit 02, active 03", {("competing", 1): 1, ("immature", 0): 1}),
        (
            "start 01, exit 03, active 03",
            {("activated", 2): 1, ("immature", 0): 1},
        ),  # at one moment the activation comes first
        ("start 01, exit 01", {("competing", 0): 1, ("immature", 0): 1}),
        (
            "exit 01, start 02, active 05",
            {("activated", 3): 1, ("immature", 0): 1},
        ),  # an exit before the start counts for nothing
        (
            "start 04, active 12",
            {("censored", 6): 1, ("immature", 0): 1},
        ),  # activated after as_of, the 10th
        (
            "start -02, active 10",
            {("not_activated", 10): 1},
        ),  # activated after the horizon of 10 days
        (
            "start -02, active 08",
            {("activated", 10): 1},
        ),  # on the horizon: counts
        ("active 03", {("unstarted", 0): 1}),
        ("exit 03", {}),
        ("start 01, gone 04, active 06", {("censored", 3): 1, ("immature", 0): 1}),
        # at one moment the activation and the exit come before the end of view
        ("start 01, gone 04, active 04", {("activated", 3): 1, ("immature", 0): 1}),
        ("start 01, gone 04, exit 04", {("competing", 3): 1, ("immature", 0): 1}),
        # before the start it counts for nothing, and after the horizon neither
        ("gone 01, start 02, active 05", {("activated", 3): 1, ("immature", 0): 1}),
        ("start -05, gone 06", {("not_activated", 10): 1}),
    ],
)
def test_outcome_of_one_user(rows, expected):
    rows = [("u", event, int(day) - 1) for event, day in (r.split() for r in rows.split(", "))]
    rows += [
        ("other", "noise", 0),
        ("other", "active", 0),
        ("other", "start", 0),
    ]  # one more user, activated at once
    found = of_march(rows).reduce(
        partial(
            count_durations,
            horizon=10 * DAY,
            unit=DAY,
            roles=("start", "activation", "competing", "censor"),
            labels={"segment": []},
        ),
        events=["start", "active", "exit", "gone"],
        as_of="2026-03-10T00:00:00Z",
    )
    expected = {
        **expected,
        ("activated", 0): expected.get(("activated", 0), 0) + 1,
        ("immature", 0): expected.get(("immature", 0), 0) + 1,
    }
    assert all_counts(found) == {("all", *key): n for key, n in expected.items()}


def test_one_event_as_start_and_activation_means_its_second_occurrence():
    log = log_of(
        [
            ("u", "apply", "2026-03-01"),
            ("u", "apply", "2026-03-05"),
            ("v", "apply", "2026-03-01"),
        ]
    )
    row = time_to_activation(
        log, start="apply", activation="apply", as_of="2026-03-20"
    ).summary.iloc[0]
    assert (row["n_users"], row["n_activated"], row["n_censored"]) == (2, 1, 1)


ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 12),
        st.integers(1, 7),
        st.integers(0, 1),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(0, 12), st.integers(1, 8))
def test_kernel_equals_a_loop_over_users(rows, as_of, horizon):
    rows = sorted(r for r in rows if r[1] <= as_of)
    levels = {"plan": ["free", "paid"], "channel": ["x", "y", "z"]}
    expected: dict = {}
    for user in {r[0] for r in rows}:
        mine = [r for r in rows if r[0] == user]
        starts, hits, exits = (
            [i for i, r in enumerate(mine) if r[2] >> bit & 1] for bit in (0, 1, 2)
        )
        if not starts and not hits:
            continue
        *_, plan, channel = mine[(starts or hits)[0]]
        segment, keys = f"{levels['plan'][plan]} · {levels['channel'][channel]}", []
        if not starts:
            keys = [("unstarted", 0)]
        elif any(mine[i][1] < mine[starts[0]][1] for i in hits):
            keys = [("already", 0)]
        else:
            zero = mine[starts[0]][1]
            ends = [(mine[i][1] - zero, 0, "activated") for i in hits if i != starts[0]]
            ends += [
                (mine[i][1] - zero, 1, "competing")
                for i in exits
                if i != starts[0] and mine[i][1] >= zero
            ]
            seen = min(as_of - zero, horizon)
            length, _, outcome = min(
                [e for e in ends if e[0] <= seen]
                + [(seen, 2, "censored" if seen < horizon else "not_activated")]
            )
            keys = [(outcome, length)] + [("immature", 0)] * (as_of - zero < horizon)
        for key in keys:
            expected[segment, *key] = expected.get((segment, *key), 0) + 1
    user, time, mask, plan, channel = (np.array([r[k] for r in rows], np.int64) for k in range(5))
    j = Journeys(
        user, time, mask.astype(np.uint64), as_of, {"plan": plan, "channel": channel}, levels
    )
    labels = {"segment": ["plan", "channel"]}
    assert all_counts(count_durations(j, horizon=horizon, unit=1, labels=labels)) == expected


def test_small_table_by_hand(monkeypatch):
    # durations 1 activated, 2 exit, 2 activated, 3 still waiting at as_of, 5 activated, two
    # users through the whole horizon of 10 days
    monkeypatch.setattr("mctlib.stats.survival.MIN_WAITING", 1)
    log = clocked([1, 2, 2, 3, 5, 11, 11], [1, 2, 1, 0, 1, 0, 0])
    result = time_to_activation(log, **ASK, horizon="10d")
    row = result.summary.iloc[0]
    assert list(
        row[["n_users", "n_activated", "n_competing", "n_censored", "n_not_activated"]]
    ) == [7, 3, 1, 1, 2]
    # 1/7 on day 1; 6/7 remain: 1/6 of them activate and 1/6 leave on day 2; 4/7 remain, of 3
    # in view one activates on day 5
    rate = 1 / 7 + 1 / 7 + 4 / 7 / 3
    assert row["activated_rate"] == pytest.approx(rate)
    assert row["rmst_days"] == pytest.approx(10 - (9 / 7 + 8 / 7 + 5 * 4 / 21))
    assert row["horizon_days"] == 10 and np.isnan(row["median_days"])
    at_day = result.curve.set_index("days")
    assert at_day["activated_rate"][[0.0, 1.0, 2.0, 5.0, 10.0]].tolist() == pytest.approx(
        [0, 1 / 7, 2 / 7, rate, rate]
    )
    assert at_day["n_at_risk"][[0.0, 1.0, 2.0, 3.0, 5.0, 10.0]].tolist() == [7, 7, 6, 4, 3, 2]
    assert (result.curve.sort_values("days")["activated_rate"].diff().dropna() >= 0).all()


@pytest.mark.parametrize(
    ("horizon", "minutes"), [("90d", 12), ("730d", 96), ("14d", 2), ("36h", 0.2), ("1h", 1 / 60)]
)
def test_resolution_divides_a_day_and_the_horizon_and_is_at_most_a_ten_thousandth(horizon, minutes):
    us = int(pd.Timedelta(horizon) / pd.Timedelta("1us"))
    unit = resolution(us, False)
    assert unit == minutes * 60e6
    assert DAY % unit == 0 and us % unit == 0 and (unit <= us / 10_000 or unit == 1_000_000)
    assert resolution(us, True) == 1


# ---------------------------------------- users who share an account


def test_with_every_user_in_an_account_of_his_own_nothing_changes_but_the_t():
    rng = np.random.default_rng(4)
    counts = pd.DataFrame(
        {
            "outcome": rng.choice(["activated", "competing", "censored"], 400),
            "units": rng.integers(0, 30, 400),
            "n_users": 1,
        }
    )
    for account in (np.arange(400), np.full(400, -1)):
        cells = counts.assign(account=account)
        own = Group.of("x", cells, Clock(30 * DAY, DAY, 400)).with_band()
        plain = Group.of("x", counts, Clock(30 * DAY, DAY))
        np.testing.assert_allclose(own.steps["rate_se"], plain.steps["rate_se"], rtol=1e-9)
        assert own.mean(25) == pytest.approx(
            plain.mean(25), rel=1e-9
        ) and own.design_effect == pytest.approx(1)
        assert survival_groups.critical([own]) == pytest.approx(
            1.96594 * (400 / 399) ** 0.5, rel=1e-5
        )  # R: qt(.975, 399)


def test_ten_copies_of_every_user_are_as_good_as_one():
    """Users of one account who all do the same: errors by account see through it, errors by user do
    not.
    """
    rng = np.random.default_rng(6)
    days, status, channel = (
        rng.integers(1, 25, 240),
        rng.choice([0, 1, 1, 2], 240),
        np.array(["a", "b"] * 120),
    )
    once = time_to_activation(
        clocked(days, status, list(channel)), **ASK, by="channel", horizon="20d", reference="a"
    )
    log = clocked(
        np.repeat(days, 10),
        np.repeat(status, 10),
        list(np.repeat(channel, 10)),
        account=[f"c{i}" for i in np.repeat(np.arange(240), 10)],
    )
    copies = time_to_activation(log, **ASK, by="channel", horizon="20d", reference="a")
    assert "Users share accounts (240 of them" in " ".join(
        copies.caveats
    ) and "design effect of the activated share 10." in " ".join(copies.caveats)
    row, row_1 = copies.contrasts.iloc[0], once.contrasts.iloc[0]
    width, width_1 = (
        r["rmst_difference_days_ci_upper"] - r["rmst_difference_days"] for r in (row, row_1)
    )
    assert row["rmst_difference_days"] == pytest.approx(row_1["rmst_difference_days"], abs=1e-9)
    assert width / width_1 == pytest.approx(
        1.969939 / 1.959964 * (240 / 239) ** 0.5, rel=1e-5
    )  # R: qt(.975, 239)
    assert not {"c0", "c1", "c239"} & set(
        " ".join([*copies.caveats, copies.details[0], *copies.curve.astype(str).sum()]).split()
    )


def test_with_few_accounts_intervals_are_refused():
    rng = np.random.default_rng(7)
    log = clocked(
        rng.integers(1, 19, 300),
        [1] * 300,
        list(rng.choice(["a", "b"], 300)),
        account=list(rng.choice([f"c{i}" for i in range(9)], 300)),
    )
    result = time_to_activation(log, **ASK | {"competing": None}, by="channel", horizon="20d")
    assert "Fewer than 10 accounts, too few for an interval: " in " ".join(result.caveats)
    table = pd.concat(
        [
            result.summary.filter(regex="^(activated|rmst).*_ci_"),
            result.contrasts.filter(regex="_ci_|pvalue|qvalue").drop(columns="ph_pvalue"),
        ],
        axis=1,
    )
    assert table.isna().all(axis=None) and result.summary["activated_rate"].notna().all()


@pytest.mark.parametrize(("n_alone", "refused"), [(9, True), (600, False)])
def test_three_large_accounts_are_few_whoever_stands_beside_them(n_alone, refused):
    """Effective number of clusters: (309 users)^2 / (3 x 100^2 + 9) is 3.2; (900)^2 / (3 x 100^2 +
    600) is 26.
    """
    account = [f"c{i // 100}" for i in range(300)] + [None] * n_alone
    rng = np.random.default_rng(11)
    result = time_to_activation(
        clocked(
            rng.integers(1, 25, len(account)), [1] * len(account), ["a"] * len(account), account
        ),
        **ASK | {"competing": None},
        horizon="20d",
    )
    text = " ".join(result.caveats)
    assert (
        "Users share accounts (3 of them)" in text
        and ("Fewer than 10 accounts, too few for an interval: all." in text) is refused
    )
    assert (
        result.summary.filter(like="_ci_").filter(regex="^(activated|rmst)").isna().all(axis=None)
        == refused
    )


def test_a_segment_of_few_accounts_is_compared_with_nobody_however_many_the_others_have():
    """Two accounts of 60 users, in one of which everybody is quick; 100 accounts of 3 others."""
    rng = np.random.default_rng(12)
    account = np.r_[np.repeat([0, 1], 60), 2 + np.arange(300) // 3]
    days = np.where(account == 0, rng.uniform(0, 5, 420), rng.uniform(0, 40, 420))
    result = time_to_activation(
        clocked(
            np.minimum(days, 31),
            (days < 31).astype(int),
            list(np.where(account < 2, "few", "many")),
            [f"c{i}" for i in account],
        ),
        **ASK | {"competing": None},
        by="channel",
        horizon="30d",
    )
    row = result.contrasts.iloc[0]
    assert row["segment"] == "few" and row["rmst_difference_days"] < -5
    assert row.filter(like="_ci_").isna().all() and np.isnan(row["pvalue"])
    assert np.isnan(row["logrank_pvalue"]) and result.overall.empty
    assert "Fewer than 10 accounts, too few for an interval: few." in " ".join(result.caveats)
    assert (
        result.details[0].startswith("Within 30 days of start ")
        and "few" not in result.details[0][:60]
    )


# ---------------------------------------- delayed entry, plateau


def test_delayed_entry_by_hand(monkeypatch):
    coarse(monkeypatch)
    monkeypatch.setattr("mctlib.stats.survival.MIN_WAITING", 1)
    rows = [(u, "start", 0) for u in "abcdef"] + [
        ("a", "seen", 0),
        ("a", "active", 2),
        ("b", "seen", 3),
        ("b", "active", 5),
        ("c", "active", 1),
        ("c", "seen", 4),
        ("e", "seen", 0),
        ("f", "seen", 6),
        ("f", "active", 6.0001),
        ("z", "noise", 12),
    ]
    result = time_to_activation(
        of_march(rows),
        start="start",
        activation="active",
        observed_from="seen",
        as_of="2026-03-13T00:00:00Z",
        horizon="10d",
    )
    # a and e from the start: one of two activates on day 2; b is in view from day 3, and
    # activates on day 5 as one of two (b, e)
    row = result.summary.iloc[0]
    assert row[["n_users", "n_activated", "n_not_activated"]].tolist() == [3, 2, 1]
    assert row["activated_rate"] == pytest.approx(1 - 1 / 2 * 1 / 2)
    assert row["rmst_days"] == pytest.approx(2 + 3 / 2 + 5 / 4)
    assert result.curve.set_index("days")["n_at_risk"][[0.0, 2.0, 3.0, 5.0]].tolist() == [
        2,
        2,
        1,
        2,
    ]
    text = " ".join(result.caveats)
    assert (
        "never in view: 1 without seen" in text
        and "no longer waiting when they came into view: 2." in text
    )  # c; f within the unit of 1 min
    assert "counted from seen on" in result.rule
    monkeypatch.setattr(
        "mctlib.eventlog.event_log.EXACT_EVENTS", 16
    )  # to the microsecond f comes into view, as one of two (e, f), before activating
    row = time_to_activation(
        of_march(rows),
        start="start",
        activation="active",
        observed_from="seen",
        as_of="2026-03-13T00:00:00Z",
        horizon="10d",
    ).summary.iloc[0]
    assert row["n_users"] == 4 and row["activated_rate"] == pytest.approx(1 - 1 / 2 * 1 / 2 * 1 / 2)


def test_late_entry_is_that_of_lifelines_and_a_thin_start_is_said():
    """20 users are in view from day 1 but for 5 of them, all others from day 5."""
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(9)
    life = rng.exponential(12, 4000)
    entry = np.where(np.arange(4000) < 20, 1, 5)
    entry[:5] = 0
    rows = [
        row
        for i, (t, seen) in enumerate(zip(life, entry))
        for row in ((f"u{i}", "start", 0), (f"u{i}", "seen", seen), (f"u{i}", "active", t))
    ]
    result = time_to_activation(
        of_march(rows),
        start="start",
        activation="active",
        observed_from="seen",
        as_of="2026-06-01",
        horizon="30d",
    )
    seen = life > entry
    km = KaplanMeierFitter().fit(np.minimum(life, 30)[seen], life[seen] <= 30, entry=entry[seen])
    row, curve = result.summary.iloc[0], result.curve
    assert row["n_users"] == seen.sum() and curve["days"].min() == 0
    # a log has microseconds, lifelines the whole float
    np.testing.assert_allclose(
        1 - curve["activated_rate"], km.predict(curve["days"] + 1e-9), atol=1e-9
    )
    assert row["activated_rate"] == pytest.approx(1 - km.predict(30), abs=1e-9)
    text = " ".join(result.caveats)
    assert (
        "Thin start: fewer than 10 users of some segment were in view during the first 24 hours."
        in text
    )
    assert result.details[0].startswith("Within 30 days of start ")


@pytest.mark.parametrize(
    ("n", "never", "mean", "state"),
    [(2000, 0.6, 2, "flat"), (2000, 0.0, 60, "still rising"), (40, 0.6, 2, "too few to say")],
)
def test_plateau(n, never, mean, state):
    rng = np.random.default_rng(10)
    life = np.where(rng.random(n) < never, 1000, rng.exponential(mean, n))
    result = time_to_activation(
        clocked(np.minimum(life, 31), (life < 31).astype(int)),
        **ASK | {"competing": None},
        horizon="30d",
    )
    row = result.summary.iloc[0]
    assert row["plateau"] == state
    if state == "flat":
        assert row["never_rate_ci_lower"] < never < row[
            "never_rate_ci_upper"
        ] and "gone flat; not activated by then: all " in " ".join(result.caveats)
    else:
        assert np.isnan(row["never_rate"])
    waiting = (life >= 20).sum()
    if not (
        (life > 20) & (life <= 30)
        # rule of three, two-sided: no event in the days that `waiting` users spent in the
        # last third
    ).any():
        assert row["further_rate_ci_upper"] == pytest.approx(
            (waiting / n) * (1 - np.exp(np.log(0.025) / waiting)), rel=1e-9
        )


# ---------------------------------------- what the reader is told


@pytest.fixture(scope="module")
def channels():
    """60 users in a activate sooner than 65 in b; c has 5 users, d 40 that were followed for 6 days
    only; two users need a word.
    """
    rng = np.random.default_rng(2)
    days = np.r_[rng.integers(1, 8, 60), rng.integers(5, 20, 65), 3, 3, 3, 3, 3, np.full(40, 6)]
    status = np.r_[
        rng.choice([1, 1, 2], 60), rng.choice([1, 1, 2], 65), 1, 1, 1, 1, 1, np.zeros(40, int)
    ]
    rows = clocks(days, status) + [
        (user, event, pd.Timestamp(day, tz="UTC"))
        for user, event, day in (
            ("early", "active", "2026-06-01"),
            ("early", "start", "2026-06-02"),
            ("lost", "active", "2026-06-01"),
        )
    ]
    channel = ["a"] * 60 + ["b"] * 65 + ["c"] * 5 + ["d"] * 40
    return log_of(rows, people=people_of(len(days), channel=channel))


def test_caveats_and_finding(channels):
    result = time_to_activation(channels, **ASK, by="channel", horizon="20d")
    text = " ".join(result.caveats)
    assert "already activated: 1 with active before their first start" in text
    assert "no clock to start: 1 with active but without start" in text
    assert "40 of 170 users (24 %) started less than 20 days before 1 July 2026" in text
    assert "exit ends the clock unactivated" in text and "users still there" in text
    assert "the last day on which so many were: small cohorts (2) (6 days)." in text
    assert (
        "Too small to stand alone (fewer than 30 activations, even at everybody's rate), taken "
        "together as small cohorts (2): c and d." in text
    )
    assert (
        "Too small to be compared (fewer than 30 activations, even at everybody's rate): "
        "small cohorts (2)." in text
    )
    assert list(result.summary["segment"]) == ["b", "a", "small cohorts (2)"]  # the largest first
    table = result.summary.set_index("segment")
    assert (
        table[["n_activated", "n_competing", "n_censored", "n_not_activated"]].sum(axis=1)
        == table["n_users"]
    ).all()
    assert table.loc["small cohorts (2)", ["n_users", "n_activated", "horizon_days"]].tolist() == [
        45,
        5,
        6,
    ]
    assert result.curve.loc[result.curve["segment"] == "small cohorts (2)", "days"].max() == 6
    contrasts = result.contrasts.set_index("segment")
    assert (contrasts["reference"] == "b").all() and contrasts.loc[
        "small cohorts (2)", ["rmst_difference_days", "hazard_ratio", "qvalue"]
    ].isna().all()
    assert contrasts.loc["a", "qvalue"] == contrasts.loc["a", "pvalue"]  # one test, not two
    assert (
        result.details[0].startswith("Segment a is faster than b: within 20 days of start ")
        and "exit counts as an exit" in result.rule
    )


def test_a_single_small_cohort_keeps_its_name_and_makes_no_claim():
    days = np.r_[np.tile(np.arange(1, 41) / 2, 2), np.full(40, 6)]
    status = np.r_[np.ones(80, int), np.zeros(40, int)]
    log = clocked(days, status, ["a"] * 40 + ["b"] * 40 + ["c"] * 40)
    result = time_to_activation(
        log, **ASK | {"competing": None}, by="channel", horizon="20d", reference="a"
    )
    words = "Too small to be compared (fewer than 30 activations, even at everybody's rate): c."
    assert words in " ".join(result.caveats)
    row = result.contrasts.set_index("segment").loc["c"]
    assert row["reference"] == "a" and row[["rmst_difference_days", "logrank_pvalue"]].isna().all()
    table = result.summary.set_index("segment")
    # Wilson's upper limit of 0 of 40: z^2 / (40 + z^2), of six days
    most = 1.959964**2 / (40 + 1.959964**2)
    assert table.loc["c", "activated_rate"] == table.loc["c", "activated_rate_ci_lower"] == 0
    assert table.loc["c", "activated_rate_ci_upper"] == pytest.approx(most, rel=1e-6)
    assert table.loc["c", "rmst_days_ci_lower"] == pytest.approx(6 - 6 * most, rel=1e-6)
    alone = time_to_activation(
        log, **ASK | {"competing": None}, by="channel", horizon="20d", reference="c"
    )  # a reference is never pooled away
    assert "c" in set(alone.summary["segment"]) and (alone.contrasts["reference"] == "c").all()


@pytest.mark.parametrize(
    ("reference", "shown", "against"),
    [
        ("a", ["others", "a"], "a"),
        ("c", ["others", "b"], "others"),
        (["a"], ["others", POOLED], POOLED),
    ],
)
def test_a_cohort_below_ten_users_is_told_with_the_smallest_other(reference, shown, against):
    """40 users in a, 45 in b, 9 in c: nothing tells of the 9, also where c is asked for."""
    log = clocked(np.arange(94) / 10, [1] * 94, ["a"] * 40 + ["b"] * 45 + ["c"] * 9)
    ask = ASK | {"competing": None, "horizon": "20d"}
    result = time_to_activation(log, **ask, by="channel", reference=reference)
    assert sorted(result.summary["segment"]) == sorted(shown)
    assert set(result.contrasts["reference"]) == {against}
    joined = "b" if "b" not in shown else "a"
    assert (
        f"Told together, so that no group has fewer than 10 users: c and {joined} as others."
        in result.caveats
    )
    assert set(result.curve["segment"]) == set(shown)  # nor does its picture


def test_finding_of_several_segments_names_the_largest_gap_and_says_how_many_differ():
    days = np.r_[np.tile(np.arange(1, 41), 2), np.arange(1, 41) / 2, np.arange(1, 41) / 9]
    result = time_to_activation(
        clocked(days, [1] * 160, ["x"] * 80 + ["y"] * 40 + ["z"] * 40),
        **ASK | {"competing": None},
        by="channel",
        horizon="40d",
    )
    assert result.details[0].startswith(
        "2 of 2 segments differ from x (5 % false discovery rate): y and z are faster. "
        "The largest gap: segment z is faster than x: "
    )
    # mean of 1..40 is 20.5 days in x, a ninth of it in z; both groups are whole, so the means
    # are plain
    assert result.contrasts.set_index("segment").loc["z", "rmst_difference_days"] == pytest.approx(
        20.5 / 9 - 20.5, abs=1e-9
    )
    assert (result.contrasts["qvalue"] >= result.contrasts["pvalue"]).all()


def test_pooled_reference_becomes_one_segment(channels):
    result = time_to_activation(
        channels, **ASK, by="channel", horizon="20d", reference=["b", "c", "d"]
    )
    assert result.summary[["segment", "n_users"]].to_numpy().tolist() == [
        ["all others", 110],
        ["a", 60],
    ]
    assert result.contrasts[["segment", "reference"]].to_numpy().tolist() == [["a", "all others"]]
    apart = time_to_activation(
        channels, **ASK, by="channel", horizon="20d", reference="b"
    ).contrasts
    swapped = time_to_activation(
        channels, **ASK, by="channel", horizon="20d", reference="a"
    ).contrasts
    there, back = apart.set_index("segment").loc["a"], swapped.set_index("segment").loc["b"]
    assert there["rmst_difference_days"] == pytest.approx(-back["rmst_difference_days"])
    assert there["hazard_ratio"] == pytest.approx(1 / back["hazard_ratio"]) and there[
        "ph_pvalue"
    ] == pytest.approx(back["ph_pvalue"])


def test_without_segments(channels):
    result = time_to_activation(channels, **ASK | {"competing": None}, horizon="20d")
    assert result.contrasts.empty and len(result.summary) == 1
    assert (
        result.details[0].startswith("Within 20 days of start ")
        and "of 170 users reach active" in result.details[0]
    )


def test_waits_of_all_and_of_each_segment_are_those_of_two_calls(channels):
    asked = {"start": "start", "activation": "active", "as_of": ASK["as_of"]}
    found = waits_of(channels, **asked, by="channel")
    apart = [time_to_activation(channels, **asked, by=by).summary for by in (None, "channel")]
    pd.testing.assert_frame_equal(found, pd.concat(apart, ignore_index=True))
    pd.testing.assert_frame_equal(waits_of(channels, **asked), apart[0])


def test_a_curve_ends_where_fewer_than_ten_wait_in_view_unless_nobody_waits_out_of_it():
    # one activates on each of 14 days, one user waits through all 20: 15 at risk on day 1, 10
    # on day 6, 9 on day 7
    days = [*range(1, 15), 25]
    whole = time_to_activation(
        clocked(days, [1] * 14 + [0]), **ASK | {"competing": None}, horizon="20d"
    )
    # all 15 were followed to the end
    end = whole.curve.iloc[-1]
    assert (end["days"], end["n_at_risk"], end["activated_rate"]) == (20, 1, pytest.approx(14 / 15))
    assert whole.summary.loc[0, "horizon_days"] == 20
    assert whole.details[0].startswith("Within 20 days of start 93.3 % (")
    # the same, and 15 whom nobody has seen for longer than half a day: 10 still wait on day 6
    young = time_to_activation(
        clocked([*days, *[0.5] * 15], [1] * 14 + [0] * 16),
        **ASK | {"competing": None},
        horizon="20d",
    )
    end = young.curve.iloc[-1]
    assert (end["days"], end["n_at_risk"], end["activated_rate"]) == (6, 10, pytest.approx(6 / 15))
    assert young.summary.loc[0, ["horizon_days", "activated_rate"]].tolist() == [
        6,
        pytest.approx(6 / 15),
    ]
    assert young.details[0].startswith("So far, within 6 days of start 40.0 % (")
    assert "on which so many were: all (6 days). Nothing is said of later days." in " ".join(
        young.caveats
    )


@pytest.mark.parametrize("exact", [True, False])
def test_activations_at_once_are_named(exact, monkeypatch):
    if not exact:
        coarse(monkeypatch)
    result = time_to_activation(
        clocked([0] * 10 + [3] * 10, [1] * 20), **ASK | {"competing": None}, horizon="7d"
    )
    assert (
        f"10 of 20 activations (50 %) come {'at the very moment' if exact else 'within 1 minute'} "
        "of the start" in " ".join(result.caveats)
    )
    assert result.summary.loc[0, ["activated_rate", "rmst_days"]].tolist() == [1, 1.5]
    assert result.curve["activated_rate"].iloc[0] == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": "strat"}, 'start: event "strat" does not occur in frame. Did you mean "start"'),
        ({"activation": ["activ"]}, 'activation: event "activ" does not occur'),
        (
            {"start": Step("start", {"platform": "web"})},
            'start: event "start .platform=web." does not occur in frame. '
            'No such event has "platform"',
        ),
        ({"reference": "e"}, 'no segment is called "e"; there are a, b, c, d'),
        ({"reference": "a", "by": None}, 'without "by"'),
        ({"horizon": "soon"}, "horizon"),
        ({"as_of": "2020-01-01"}, "before the first event"),
        ({"by": "chanel"}, 'Did you mean "channel"'),
        ({"start": None}, "start: None is not an event"),
        ({"activation": 3}, "activation: 3 is not an event"),
        (
            {"competing": {"evnt": "exit"}},
            'competing: "evnt" is not one of event, where. Did you mean "event"',
        ),
        ({"observed_from": []}, "observed_from: .* is not an event"),
        (
            {"competing": "active"},
            'competing: one event could be both the exit "active" and "active"',
        ),
        (
            {"censor": "exit"},
            'censor: one event could be both the end of view "exit" and "exit"',
        ),
        ({"censor": "start"}, 'censor: one event could be both the end of view "start"'),
        ({"competing": Step("start", {"platform": "ios"})}, "competing: one event could be both"),
        (
            {"observed_from": "start"},
            "observed_from: none of 170 users with start is still waiting and has start after it",
        ),
        ({"as_of": None}, "as_of"),
    ],
)
def test_wrong_parameters(channels, change, words):
    options = ASK | {"by": "channel", "horizon": "20d"} | change
    with pytest.raises(ParameterError, match=words):
        time_to_activation(channels, **options)


@pytest.mark.parametrize(
    ("horizon", "unit", "words"),
    [
        (
            "7h",
            1 / 24,
            (
                "Within 7 hours of start 57.1 % (",
                "half are activated by hour 4.0",
                "on average 4.4 (",
                "of these hours pass",
                "seen for less than 7 hours count",
            ),
        ),
        (
            "90s",
            1 / 86_400,
            ("Within 90 seconds of start ", "by second 4.0", "of these seconds pass"),
        ),
    ],
)
def test_short_waits_are_told_in_a_unit_in_which_something_is_left_of_them(horizon, unit, words):
    result = time_to_activation(
        clocked(np.r_[np.tile([1, 2, 3, 4], 10), np.full(30, 200)] * unit, [1] * 40 + [0] * 30),
        **ASK | {"competing": None},
        horizon=horizon,
    )
    assert all(
        word in f"{result.details[0]} {result.rule}" for word in words
    )  # 40 of 70; of 7 hours 1, 2, 3, 4 or all: (10 + 20 + 30 + 40 + 210) / 70


def test_waits_of_no_length_are_told():
    rows = [(f"u{i}", event, END) for i in range(40) for event in ("start", "active")]
    result = time_to_activation(
        log_of(rows),
        **ASK | {"competing": None},
    )
    # Wilson's lower limit of 40 of 40: 40 / (40 + z^2)
    assert result.details[0].startswith(
        "Within 90 days of start 100.0 % (91.2 to 100.0) of 40 users reach active;"
    )
    assert result.summary.loc[0, ["horizon_days", "activated_rate", "median_days"]].tolist() == [
        90,
        1,
        0,
    ]


def test_start_and_activation_swapped():
    with pytest.raises(ParameterError, match="are start and activation swapped"):
        time_to_activation(clocked([1, 2], [1, 1]), start="active", activation="start", as_of=END)


def test_as_of_after_the_last_event_lengthens_the_view(channels):
    later = time_to_activation(
        channels, **ASK | {"as_of": "2026-08-01"}, horizon="20d", by="channel"
    ).summary
    assert later["n_censored"].sum() == 0 and later["n_users"].sum() == 170


def test_users_who_went_out_of_view_count_for_as_long_as_they_were_seen():
    """40 activate on day 2, 40 go out of view on day 4, of 20 others half activate on day 6.

    By hand: 0.4, then half of the 0.6 that wait.
    """
    rows = [
        (f"u{i}", event, float(day))
        for i in range(100)
        for event, day in (
            ("start", 0),
            *([("active", 2)] if i < 40 else [("trial_ended", 4)] if i < 80 else []),
            *([("active", 6)] if 80 <= i < 90 or 40 <= i < 80 else []),
        )
    ]
    ask = {"start": "start", "activation": "active", "as_of": "2026-06-01", "horizon": "10d"}
    result = time_to_activation(of_march(rows), **ask, censor=["trial_ended", "deletd"])
    row = result.summary.iloc[0]
    assert row[["n_activated", "n_censored", "n_not_activated"]].tolist() == [50, 40, 10]
    assert row["activated_rate"] == pytest.approx(0.4 + 0.6 / 2)
    assert "out of view from trial_ended or deletd on" in result.rule
    text = " ".join(result.caveats)
    assert "trial_ended or deletd takes users out of view: they count for as long as" in text
    assert 'censor: event "deletd" does not occur in frame.' in text
    # as an exit they would count as not activated for good
    left = time_to_activation(of_march(rows), **ask, competing="trial_ended").summary.iloc[0]
    assert left["activated_rate"] == pytest.approx(0.5)


def waiting(followed, hits, channel=None):
    """Users followed for so many days who activate after so many; the data end with the events."""
    rows = [
        (f"u{i}", event, END - pd.Timedelta(days=float(seen)) + pd.Timedelta(days=float(after)))
        for i, (seen, hit) in enumerate(zip(followed, hits))
        for event, after in (("start", 0.0), ("active", hit))
        if after <= seen
    ]
    people = None if channel is None else people_of(len(channel), channel=channel)
    return log_of(rows, people=people, observed_until=None)


@pytest.mark.parametrize(("n_old", "quick"), [(15, True), (1, False), (9, False)])
def test_a_few_old_users_do_not_speak_for_the_young_ones(n_old, quick):
    """500 users of the last fortnight, waits of 40 days on average, so 89 % by day 90.

    Beside them 15 early adopters who were quick, or some of long ago who wait on and on.
    """
    rng = np.random.default_rng(2)
    hits = rng.exponential(40, 500 + n_old)
    hits[500:] = rng.uniform(1, 10, n_old) if quick else 200
    log = waiting([14] * 500 + [120] * n_old, hits)
    result = time_to_activation(log, **ASK | {"competing": None}, horizon="90d")
    row = result.summary.iloc[0]
    assert row["horizon_days"] == result.curve["days"].max() == 14
    truth = (500 * (1 - np.exp(-14 / 40)) + n_old * quick) / (500 + n_old)
    assert row["activated_rate_ci_lower"] < truth < row["activated_rate_ci_upper"] < 0.5
    assert result.details[0].startswith("So far, within 14 days of start ")
    assert "half" in result.details[0] and "90 days" not in result.details[0]
    assert row[["median_days", "p75_days", "never_rate"]].isna().all()


def test_a_comparison_goes_no_further_than_either_side():
    rng = np.random.default_rng(3)
    channel = np.repeat(list("aby"), 400)
    hits = rng.exponential(np.where(channel == "y", 20, 40))
    log = waiting(np.where(channel == "b", 14, 120), hits, channel)
    result = time_to_activation(
        log, **ASK | {"competing": None}, by="channel", horizon="90d", reference="a"
    )
    contrasts = result.contrasts.set_index("segment")
    assert contrasts["horizon_days"].to_dict() == {"b": 14, "y": 90}
    # one that is read at 90 days is not the larger gap for being read later
    assert (
        "1 of 2 segments differs from a (5 % false discovery rate): y is faster."
        in (result.details[0])
    )
    picture = plots.plot_contrasts(result.contrasts)
    assert {t.get_text() for t in picture.get_yticklabels()} == {"b (of 14)", "y (of 90)"}


def test_where_everybody_has_ended_the_curve_is_flat():
    """60 of 200 activate and 140 leave within 20 days, the last of them when the data end."""
    rows = [(f"u{i}", "start", 0.0) for i in range(200)] + [
        (f"u{i}", "active" if i < 60 else "exit", float(i % 20 + 1)) for i in range(200)
    ]
    result = time_to_activation(
        log_of(rows, unit="D", observed_until=None),
        **ASK | {"as_of": "2026-12-31"},
        horizon="90d",
    )
    row = result.summary.iloc[0]
    assert row[["plateau", "activated_rate", "never_rate", "further_rate"]].tolist() == [
        "flat",
        pytest.approx(0.3),
        pytest.approx(0.7),
        0,
    ]
    assert row["never_rate_ci_lower"] < 0.7 < row["never_rate_ci_upper"]
    assert row["horizon_days"] == result.curve["days"].max() == 90
    assert "the curve is flat there, 70.0 % (63.1 to 75.8) never do" in result.details[0]
    assert "seen. The late part" not in " ".join(result.caveats)  # nobody is pending
    shown = [t.get_text() for t in plots.plot_activation_curves(result.curve, result.summary).texts]
    assert "flat, 70.0 % never" in shown


def test_an_as_of_after_the_data_makes_nobody_fail():
    rng = np.random.default_rng(4)
    log = waiting(rng.uniform(0.1, 60, 400), rng.exponential(30, 400))
    ask = ASK | {"competing": None, "horizon": "30d"}
    at_end = time_to_activation(log, **ask | {"as_of": "2026-06-30"})
    later = time_to_activation(log, **ask | {"as_of": "2026-08-15"})
    assert at_end.summary["n_censored"].item() > 50
    # the end of the last day, less a microsecond and not
    pd.testing.assert_frame_equal(later.summary, at_end.summary, rtol=1e-6)
    assert later.caveats[0].startswith(
        "as_of 2026-08-15 lies after the end of the data and is read"
    )
    assert "lies after" not in " ".join(at_end.caveats)
    assert "before 30 June 2026" in " ".join(at_end.caveats)


def test_identical_events_are_told():
    log = clocked([1, 2, 3] * 10, [1] * 30)
    assert "identical" not in " ".join(
        time_to_activation(log, **ASK | {"competing": None}, horizon="9d").caveats
    )
    rows = clocks([1, 2, 3] * 10, [1] * 30)
    twice = time_to_activation(log_of(rows + rows[:4]), **ASK | {"competing": None}, horizon="9d")
    assert twice.caveats[0].startswith("4 events of 64 are identical to another one and without")


# ---------------------------------------- one criterion


def days_of(shares, n, rng):
    """Days until activation within 30, with these shares by segment; the others wait for 31."""
    return np.concatenate(
        [np.where(rng.random(n) < share, rng.uniform(1, 20, n), 31) for share in shares]
    )


def test_segments_in_which_hardly_anybody_activates_are_named_as_slower():
    """Of 300 users each, 40 % activate in a and b, 2 % in x and y: no more than 12 in both."""
    rng = np.random.default_rng(5)
    days = days_of([0.4, 0.4, 0.02, 0.02], 300, rng)
    result = time_to_activation(
        clocked(days, (days < 31).astype(int), list(np.repeat(list("abxy"), 300))),
        **ASK | {"competing": None},
        by="channel",
        horizon="30d",
        reference="a",
    )
    assert result.details[0].startswith(
        "2 of 3 segments differ from a (5 % false discovery rate): x and y are slower. "
    )
    table = result.contrasts.set_index("segment")
    assert (table.loc[["x", "y"], "risk_ratio_ci_upper"] < 0.3).all()
    assert (table.loc[["x", "y"], "rmst_difference_days_ci_lower"] > 0).all()


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ((12, 45), "Segment b is faster than a, but fewer of its users get there: "),
        ((18, 50), "Segment b is not clearly slower or faster than a, but fewer of its users get "),
    ],
)
def test_curves_that_cross_are_told_by_the_days_and_no_sentence_contradicts_itself(late, said):
    """Half of b are sooner than a, the others later; all of a are activated in 30 days."""
    rng = np.random.default_rng(11)
    days = np.where(rng.random(800) < 0.5, rng.uniform(0, 6, 800), rng.uniform(*late, 800))
    days = np.r_[rng.uniform(0, 30, 800), days]
    result = time_to_activation(
        clocked(np.minimum(days, 31), (days <= 30).astype(int), ["a"] * 800 + ["b"] * 800),
        **ASK | {"competing": None, "by": "channel", "horizon": "30d", "reference": "a"},
    )
    row = result.contrasts.iloc[0]
    assert row["logrank_pvalue"] < 1e-6
    assert (row["rmst_difference_days_ci_upper"] < 0) == ("is faster" in said)
    assert result.details[0].startswith(said)
    assert "og-rank" not in result.details[0] and "azard" not in result.details[0]


@pytest.mark.parametrize("seed", range(3))
def test_where_no_interval_excludes_nought_nobody_is_named(seed):
    rng = np.random.default_rng(seed)
    days = days_of([0.4] * 5, 200, rng)
    result = time_to_activation(
        clocked(days, (days < 31).astype(int), list(np.repeat(list("abcde"), 200))),
        **ASK | {"competing": None},
        by="channel",
        horizon="30d",
        reference="a",
    )
    table = result.contrasts
    holds = table["rmst_difference_days_ci_lower"] * table["rmst_difference_days_ci_upper"] < 0
    # the p-value is that of the interval
    assert (holds == (table["pvalue"] > 0.05)).all()
    assert result.details[0].startswith(
        "None of 4 segments is clearly slower or faster than a. Within 30 days of start "
    )


def test_a_misspelt_exit_is_refused_and_an_unknown_one_a_caveat(channels):
    with pytest.raises(ParameterError, match='competing: event "exid" does not occur.*"exit"'):
        time_to_activation(channels, **ASK | {"competing": ["exit", "exid"]}, horizon="20d")
    result = time_to_activation(channels, **ASK | {"competing": ["exit", "gone"]}, horizon="20d")
    assert result.caveats[0].startswith('competing: event "gone" does not occur in frame.')


def test_demo_truth():
    tables, planted = (
        demo.generate(users=8000, seed=2),
        demo.truth(users=8000, seed=2)["activation"],
    )
    events = tables["events"]
    events = events[
        events["event"].isin(["signed_up", "interview_scheduled", "account_deleted"])
    ].drop(columns="properties")
    begun = events[events["event"] == "signed_up"].groupby("user_id")["timestamp"].min()
    old = begun.index[begun < pd.Timestamp("2026-08-10", tz="UTC")]  # their 90 days are over
    options = {
        "start": "signed_up",
        "activation": "interview_scheduled",
        "competing": "account_deleted",
        "by": "channel",
        "reference": ["organic", "paid_search", "job_board", "referral"],
        "as_of": "2026-11-29",
    }
    log = EventLog.from_frame(events[events["user_id"].isin(old)], people=tables["people"])
    result = time_to_activation(log, **options)
    truth = (
        planted[planted["cohort"] == "before 2026-08-10"]
        .set_index("segment")
        .rename(index={"not creator": "all others"})
    )
    for row in result.summary.itertuples():
        assert row.n_users == truth.loc[row.segment, "n_users"]
        near = (
            4 * (0.25 * 0.75 / row.n_users) ** 0.5
        )  # four standard errors of a share of a quarter
        assert row.activated_rate == pytest.approx(
            truth.loc[row.segment, "activated_90d_rate"], abs=near
        )
        curve = result.curve[result.curve["segment"] == row.segment].set_index("days")[
            "activated_rate"
        ]
        assert curve[30.0] == pytest.approx(truth.loc[row.segment, "activated_30d_rate"], abs=near)
    contrast = result.contrasts.iloc[0]
    assert contrast["rmst_difference_days_ci_lower"] > 0 and contrast["ph_pvalue"] < 0.05
    assert "creator is slower than all others" in result.details[0]
    assert "changes over time (p < 0.05): creator. Read the difference in days" in " ".join(
        result.caveats
    )


def test_pictures_show_every_segment_and_its_numbers(channels):
    import matplotlib.pyplot as plt

    result = time_to_activation(channels, **ASK, by="channel", horizon="20d")
    texts = [t.get_text() for t in plots.plot_activation_curves(result.curve, result.summary).texts]
    assert {"a", "b", "65", "60"} <= {word for text in texts for word in text.split(": ")}
    forest = plots.plot_contrasts(result.contrasts)
    assert [t.get_text() for t in forest.get_yticklabels()] == [
        "a"
    ] and forest.get_xlabel().endswith("than b")
    assert plots.plot_contrasts(result.contrasts.iloc[:0]).texts
    few = time_to_activation(
        clocked([1, 2], [1, 1], ["a", "b"]), **ASK | {"competing": None}, by="channel"
    )
    assert [t.get_text() for t in plots.plot_activation_curves(few.curve, few.summary).texts] == [
        "No segment has 10 users."
    ]
    plt.close("all")


def test_of_many_months_the_newest_are_drawn():
    months = [f"{day:%Y-%m-%d}" for day in pd.date_range("2025-10-01", periods=14, freq="MS")]
    shuffled = [months[(5 * k) % 14] for k in range(14)]  # as the largest come first
    rate = {"activated_rate": 0.2, "activated_rate_ci_lower": 0.1, "activated_rate_ci_upper": 0.3}
    curve = pd.DataFrame(
        [{"segment": m, "days": 1.0 * d, **rate} for m in shuffled for d in (0, 9)]
    )
    summary = pd.DataFrame({"segment": months, "plateau": "flat", "never_rate": 0.8})
    ax = plots.plot_activation_curves(curve, summary, waiting=False)
    said = {t.get_text().split(":")[0] for t in ax.texts}
    newest = ("Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov")
    assert said == {f"{month} 2026" for month in newest}
    assert ax.get_title("left") == "The 8 newest of 14"
    assert ax.get_ylabel() == "share who have it", "teams disagree on what activated means"
