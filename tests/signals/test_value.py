"""Signals: who is at risk by hand, planted truth, a naive recount, what cannot be asked."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from mctlib import plots, signal_value
from mctlib.contract import ParameterError
from mctlib.signals.verdicts import judge
from mctlib.sources import demo
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import FIRST, log_of, people_of
from tests.support.project import ROOT
from tests.support.signals import world

ASK = {"horizon": "30d", "as_of": "2026-06-30", "start": "start", "landmark": "7d"}
ALL = ["cause", "harm", "visit", "page", "asked", "dummy"]
WORLD = {"horizon": "60d", "as_of": "2025-06-30", "start": "start", "landmark": "7d"}


def starts(n=100):
    return [(f"u{i}", "start", 0.0) for i in range(n)]


def group(name, users, day):
    return [(f"u{i}", name, day) for i in users]


def row(result, signal="tip"):
    return result.signals.set_index("signal").loc[signal]


PLAIN = ("naive_", "landmark_")


def test_the_landmark_itself_still_counts_and_later_does_not():
    """Of 100 users 0-29 have the tip exactly on day 7, 30-49 a moment later."""
    rows = starts() + group("tip", range(30), 7.0) + group("tip", range(30, 50), 7.00001)
    rows += group("won", range(20, 60), 20.0)
    found = row(signal_value(log_of(rows, unit="D"), ["tip"], "won", **ASK))
    assert found[["n_exposed", "n_unexposed"]].tolist() == [30, 70]
    # 10 of 30 against 30 of 70
    assert found["risk_ratio"] == pytest.approx((10 / 30) / (30 / 70), rel=1e-5)
    assert found["risk_difference"] == pytest.approx(10 / 30 - 30 / 70, rel=1e-5)
    # ever against never: 30 of 50 against 10 of 50
    assert found["naive_risk_ratio"] == pytest.approx(3.0, rel=1e-5)


def test_who_left_or_had_the_outcome_by_the_landmark_is_not_at_risk():
    """0-9 leave on day 7 (an event), 10-19 on day 5 (people), 20-29 won on day 7; 30-39 won on the
    last moment of the horizon, 40-49 after it."""
    rows = starts() + group("tip", range(60), 1.0) + group("gone", range(10), 7.0)
    rows += group("won", range(20, 30), 7.0) + group("won", range(30, 40), 30.0)
    rows += group("won", range(40, 50), 30.001) + group("won", range(60, 70), 9.0)
    gone = [FIRST + pd.Timedelta("5D") if 10 <= i < 20 else pd.NaT for i in range(100)]
    log = log_of(rows, unit="D", people=people_of(100, churned_at=gone))
    found = row(signal_value(log, ["tip"], "won", **ASK, competing="gone"))
    assert found[["n_exposed", "n_unexposed"]].tolist() == [30, 40]
    assert found["risk_ratio"] == pytest.approx((10 / 30) / (10 / 40), rel=1e-5)


def test_users_whose_horizon_is_not_over_are_pending():
    rows = starts() + group("tip", range(40), 1.0) + group("won", range(20, 60), 20.0)
    rows += [(f"late{i}", "start", 20.0) for i in range(7)]
    log = log_of(rows, unit="D", observed_until="2026-02-05")
    result = signal_value(log, ["tip"], "won", **ASK | {"as_of": "2026-02-04"})
    assert row(result)[["n_exposed", "n_unexposed"]].sum() == 100
    assert "7 of 107 users with start are left out: 30 days are not over" in str(result.caveats)


def test_people_of_fewer_than_ten_are_not_told():
    """Nor does the other side, or a share of them, give them back."""
    rows = starts() + group("tip", range(4), 1.0) + group("won", range(50), 20.0)
    rows += group("use", range(3), 1.0) + group("most", range(96), 1.0)
    table = signal_value(log_of(rows, unit="D"), ["tip", "most"], "won", **ASK).signals
    hidden = ["n_exposed", "n_unexposed", "comparable_rate", "without_use_rate"]
    assert table[hidden].isna().all(axis=None) and set(table["verdict"]) == {"not enough data"}


def test_nobody_of_the_exposed_succeeds():
    """0 of 300 against 100 of 300: as harmful as it can be, with an end of the range."""
    rows = starts(600) + group("tip", range(300), 1.0) + group("won", range(300, 400), 20.0)
    found = row(signal_value(log_of(rows, unit="D"), ["tip"], "won", **ASK))
    assert found["risk_ratio"] == 0 and 0 < found["risk_ratio_ci_upper"] < 0.25
    assert found["verdict"] == "harmful"


@pytest.fixture(scope="module")
def plain():
    return signal_value(world(1), ALL, "renewed", **WORLD, adjust="plan")


def test_a_world_of_known_truth(plain):
    table = plain.signals.set_index("signal")
    assert plain.signals["signal"].iloc[0] == "cause"
    cause = table.loc["cause"]
    assert cause["risk_ratio_ci_lower"] < 2 < cause["risk_ratio_ci_upper"]
    assert cause["verdict"] == "signal" and cause["out_of_time_gain"] > 0
    assert (table.drop("cause")["verdict"] != "signal").all()
    assert not (table["verdict"] == "harmful").any()
    # immortal time: who stays for months has a visit at last
    assert table.loc["visit", "naive_risk_ratio_ci_lower"] > 1.5
    assert table.loc["visit", "landmark_risk_ratio_ci_lower"] < 1
    # confounded by activity: the landmark alone does not help
    page = table.loc["page"]
    assert page["landmark_risk_ratio_ci_lower"] > 1 > page["risk_ratio_ci_lower"]
    # asked of who had renewed: nobody is at the landmark
    assert table.loc["asked", "naive_risk_ratio"] > 10 and table.loc["asked", "n_exposed"] == 0
    assert plain.finding.startswith("“cause” in the first 7 days goes with 2.0 times as many ren")


def test_a_harmful_one_is_named_as_a_good_one_is():
    result = signal_value(world(2, cause=1.0, harm=0.4), ALL, "renewed", **WORLD, adjust="plan")
    assert (
        row(result, "harm")["verdict"] == "harmful" and row(result, "cause")["verdict"] != "signal"
    )
    assert result.headlines[0].act and result.headlines[0].tone == "unwanted"
    assert result.actions[0].text.startswith("Find out why “harm” goes with fewer ")
    assert result.watch["act"].iloc[0] == "look into"
    ax = plots.plot_signals(result.signals)
    (diamonds,) = [line for line in ax.lines if line.get_marker() == "D"]
    plain = [diamonds.get_mec(), *(t.get_color() for t in ax.texts if "ever" in t.get_text())]
    assert plain == [plots.style.GREY, plots.style.MUTED], "orange means that somebody must act"
    (harm,) = [t for t in ax.texts if t.get_text() == "harmful"]
    assert harm.get_color() == plots.style.ACT
    assert ax.get_xlabel() == "times as many with it as without it (range)"
    assert result.tells["picture"].endswith("how many times as many renewals")


def test_leaving_is_an_outcome_of_which_less_is_better():
    """What doubles leaving is harmful, what halves it a signal."""
    rng = np.random.default_rng(3)
    n = 3000
    bad, good = rng.random(n) < 0.3, rng.random(n) < 0.3
    leaves = rng.random(n) < 0.2 * np.where(bad, 2, 1) * np.where(good, 0.5, 1)
    rows = starts(n) + group("bad", np.flatnonzero(bad), 1.0)
    rows += group("good", np.flatnonzero(good), 2.0) + group("use", range(n), 3.0)
    at = [FIRST + pd.Timedelta("20D") if gone else pd.NaT for gone in leaves]
    log = log_of(rows, unit="D", people=people_of(n, churned_at=at))
    table = signal_value(log, ["bad", "good"], "churned", **ASK).signals.set_index("signal")
    assert table["verdict"].to_dict() == {"bad": "harmful", "good": "signal"}


def test_without_anything_that_tells_who_is_active_nothing_is_a_signal():
    """The active do more of both and renew oftener; no plan, and all events are asked about."""
    rng = np.random.default_rng(4)
    n = 2000
    eager = rng.random(n) < 0.5
    does = [rng.random(n) < np.where(eager, 0.8, 0.2) for _ in range(2)]
    renewed = rng.random(n) < np.where(eager, 0.5, 0.1)
    rows = starts(n)
    for name, who in zip(("view", "search"), does):
        rows += group(name, np.flatnonzero(who), 1.0)
    at = [FIRST + pd.Timedelta("20D") if yes else pd.NaT for yes in renewed]
    log = log_of(rows, unit="D", people=people_of(n, renewed_at=at))
    result = signal_value(log, None, "renewed", **ASK)
    table = result.signals
    assert (table["risk_ratio_ci_lower"] > 1).all() and table["without_use_rate"].isna().all()
    assert (table["verdict"] == "not enough data").all() and result.watch.empty
    assert "hours of activity" not in result.rule and "had not been active" not in str(result)
    assert "the tracking plan names no `active`" in str(result.caveats)
    assert "Who is more active could not be told" in str(result.how_sure)
    one = signal_value(log, ["view"], "renewed", **ASK)
    assert "hours of activity" in one.rule and one.signals["without_use_rate"].notna().all()


def test_columns_in_which_nobody_is_alike_are_told_and_each_once():
    rows = starts(200) + group("tip", range(90), 1.0) + group("won", range(40, 150), 20.0)
    people = people_of(200, seats=np.arange(200) % 80, plan=["a", "b"] * 100)
    log = log_of(rows, unit="D", people=people)
    many = signal_value(log, ["tip"], "won", **ASK, adjust=["seats", "plan", "plan"])
    assert '"seats" has 80 values, which make nobody alike; write bands' in str(many.caveats)
    assert many.rule.count("plan") == 1
    bands = signal_value(log, ["tip"], "won", **ASK, adjust=[{"seats": [10, 40]}, "plan"])
    assert "make nobody alike" not in str(bands.caveats)


def test_an_outcome_named_twice_is_asked_about_once():
    rows = starts() + group("tip", range(40), 1.0) + group("use", range(100), 2.0)
    at = [FIRST + pd.Timedelta("20D") if i % 2 else pd.NaT for i in range(100)]
    log = log_of(rows, unit="D", people=people_of(100, renewed_at=at))
    once, twice = (
        signal_value(log, ["tip"], asked, **ASK).signals
        for asked in ("renewed", ["renewed", "renewed_at", "renewed"])
    )
    pd.testing.assert_frame_equal(once, twice)


def test_money_is_compared_by_its_mean():
    rng = np.random.default_rng(5)
    n = 2000
    tip = rng.random(n) < 0.4
    paid = np.round(rng.gamma(2, 20, n) * np.where(tip, 1.5, 1), 2)
    log = log_of(
        starts(n) + group("tip", np.flatnonzero(tip), 1.0),
        unit="D",
        people=people_of(n, revenue=paid),
    )
    found = row(signal_value(log, ["tip"], "revenue", **ASK))
    assert found["exposed_rate"] == pytest.approx(paid[tip].mean(), rel=1e-3)
    assert found["risk_ratio"] == pytest.approx(paid[tip].mean() / paid[~tip].mean(), rel=1e-3)
    assert found["risk_ratio_ci_lower"] > 1.3


def test_of_refunds_there_is_no_ratio():
    """-20 against -10 a user is less money, not twice as much; nobody calls it a signal."""
    rng = np.random.default_rng(5)
    n, tip = 2000, np.arange(2000) % 5 < 2
    paid = np.round(rng.normal(-10, 5, n) - 10 * tip, 2)
    rows = starts(n) + group("tip", np.flatnonzero(tip), 1.0)
    log = log_of(rows, unit="D", people=people_of(n, revenue=paid))
    result = signal_value(log, ["tip"], "revenue", **ASK)
    found = row(result)
    assert np.isnan(found["risk_ratio"]) and np.isnan(found["naive_risk_ratio"])
    assert found["risk_difference"] == pytest.approx(paid[tip].mean() - paid[~tip].mean(), rel=1e-3)
    assert found["verdict"] == "not enough data" and "as much" not in str(result.details)
    assert "bring nothing or cost money, which has no ratio: tip;" in str(result.caveats)
    assert "Too few" not in str(result.caveats)


def test_each_outcome_says_its_own_follow_up():
    """Of 110 users 7 begin 25 days before the end, 3 more 15: not over are 30 days, or 20."""
    rows = starts() + group("tip", range(40), 1.0) + group("won", range(20, 60), 20.0)
    rows += [(f"late{i}", "start", 20.0 if i < 3 else 10.0) for i in range(10)]
    log = log_of(rows, unit="D", observed_until="2026-02-05")
    back = {"returns": "won", "period": "10d", "in_period": 1}
    result = signal_value(log, ["tip"], ["won", back], **ASK | {"as_of": "2026-02-04"})
    assert "won, to 30 days after it, of users whose 30 days are over;" in result.rule
    assert "from 10 days to 20 days after it, of users whose 20 days are over." in result.rule
    own = "of 110 users with start are left out:"
    assert [caveat for caveat in result.caveats if "left out" in caveat] == [
        f"10 {own} 30 days are not over for them (won).",
        f"3 {own} 20 days are not over for them (won in period 1 of 10 days).",
    ]


def test_an_outcome_may_have_a_horizon_of_its_own():
    """40 users win on day 40: within 45 days 30 of 40 against 10 of 60, within 30 nobody."""
    rows = starts() + group("tip", range(40), 1.0) + group("won", range(10, 50), 40.0)
    log = log_of(rows, unit="D")
    result = signal_value(log, ["tip"], {"outcome": "won", "horizon": "45d"}, **ASK)
    assert "won, to 45 days after it" in result.rule
    assert row(result)["risk_ratio"] == pytest.approx((30 / 40) / (10 / 60), rel=1e-5)
    assert not row(signal_value(log, ["tip"], "won", **ASK))["exposed_rate"] > 0
    with pytest.raises(ParameterError, match='"horizons" is not one of outcome, horizon'):
        signal_value(log, ["tip"], {"outcome": "won", "horizons": "45d"}, **ASK)


def test_coming_back_in_a_period_is_an_outcome():
    """Week 4 is day 28 to before day 35; who came before it is at risk all the same."""
    rows = starts(200) + group("tip", range(80), 1.0) + group("won", range(50), 28.0)
    rows += group("won", range(80, 100), 34.9) + group("won", range(60, 80), 27.9)
    rows += group("won", range(100, 120), 35.0) + group("won", range(20), 3.0)
    asked = {"returns": "won", "period": "1w", "in_period": 4}
    found = row(signal_value(log_of(rows, unit="D"), ["tip"], asked, **ASK))
    # those of the first week are many, most weeks later none
    assert found["risk_ratio"] == pytest.approx((50 / 80) / (20 / 120), rel=0.01)
    assert found["outcome"] == "won in week 4"


def test_standardised_as_a_model_of_rows_has_it():
    """Row by row with statsmodels: logistic, then everyone exposed and everyone not."""
    rng = np.random.default_rng(7)
    n = 3000
    plan, channel = rng.integers(3, size=n), rng.integers(2, size=n)
    tip = rng.random(n) < np.array([0.2, 0.4, 0.6])[plan]
    won = rng.random(n) < np.array([0.1, 0.2, 0.3])[plan] + 0.1 * channel + 0.1 * tip
    rows = starts(n) + group("tip", np.flatnonzero(tip), 1.0)
    rows += group("won", np.flatnonzero(won), 20.0)
    people = people_of(n, plan=np.array(list("abc"))[plan], channel=np.array(list("xy"))[channel])
    log = log_of(rows, unit="D", people=people)
    found = row(signal_value(log, ["tip"], "won", **ASK, adjust=["plan", "channel"]))
    x = np.c_[np.ones(n), tip, plan == 1, plan == 2, channel].astype(float)
    model = sm.GLM(won, x, family=sm.families.Binomial()).fit()
    means = []
    for side in (1, 0):
        x[:, 1] = side
        means.append(model.predict(x).mean())
    assert found["exposed_rate"] == pytest.approx(means[0], rel=1e-6)
    assert found["unexposed_rate"] == pytest.approx(means[1], rel=1e-6)


def test_accounts_widen_the_interval():
    """Colleagues who all do and all succeed tell as much as one."""
    n = 2000
    account = np.arange(n) // 50
    rows = starts(n) + group("tip", np.flatnonzero(account % 2 == 0), 1.0)
    rows += group("won", np.flatnonzero(account % 4 < 2), 20.0)
    alone = row(signal_value(log_of(rows, unit="D"), ["tip"], "won", **ASK))
    people = people_of(n, account_id=[f"a{k}" for k in account])
    log = log_of(rows, unit="D", people=people)
    together = row(signal_value(log, ["tip"], "won", **ASK))
    widths = [
        np.log(each["risk_ratio_ci_upper"] / each["risk_ratio_ci_lower"])
        for each in (alone, together)
    ]
    assert (
        alone["risk_ratio"] == pytest.approx(together["risk_ratio"]) and widths[1] > 3 * widths[0]
    )


PLAN = {
    "start": "start",
    "micro_conversions": {
        "tip": {"within": "3d", "owner": "growth", "priority": 1},
        "slow": {"events": ["other"], "within": "60d"},
        "won": {},
        "gone": {"bad": "up"},
    },
}


def test_a_plan_says_start_landmark_and_who_acts():
    rng = np.random.default_rng(2)
    n = 2000
    tip = rng.random(n) < 0.4
    won = rng.random(n) < np.where(tip, 0.5, 0.2)
    rows = starts(n) + group("tip", np.flatnonzero(tip), 3.0) + group("other", range(900), 2.0)
    rows += group("won", np.flatnonzero(won), 20.0) + group("gone", range(0, n, 9), 25.0)
    plan, asked = as_plan(PLAN, "plan.yaml"), {"horizon": "30d", "as_of": "2026-06-30"}
    result = signal_value(log_of(rows, unit="D"), plan, "won", **asked)
    found = row(result, "Tip")
    assert found["landmark_days"] == 3 and found["verdict"] == "signal"
    assert set(result.sensitivity["landmark_days"]) == {7.0, 14.0} or 30.0 not in set(
        result.sensitivity["landmark_days"]
    )
    assert "“Slow” (60 days)" in str(result.caveats) and "“Won”" in str(result.caveats)
    assert result.actions[0].role == "Growth lead" and result.watch["owner"].iloc[0] == "growth"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"landmark": "40d"}, "landmark: 40 days is not before the end of the outcome, 30 days."),
        ({"outcome": "renewd"}, 'outcome: event "renewd" does not occur in frame. Did you mean'),
        ({"outcome": "renewed"}, 'outcome: of nobody is "renewed_at" known; map it'),
        ({"outcome": {"returns": "won", "in_perod": 3}}, 'outcome: "in_perod" is not one of'),
        ({"start": None}, "start: say where users' time begins"),
        ({"start": "strat"}, 'start: event "strat" does not occur in frame. Did you mean "start"'),
        ({"plan_or_events": ["won"]}, "plan_or_events: “won” cannot be a signal"),
        ({"adjust": "plna"}, '"plna" '),
        ({"adjust": 5}, "adjust: 5 is no column; write names such as channel"),
        ({"adjust": ["plan", 5]}, "adjust: 5 is no column; write names such as channel"),
        ({"outcome": "start"}, "outcome: users' time begins with “start”; name what comes after"),
        ({"competing": "start"}, "competing: users' time begins with “start”; it cannot mean lea"),
        ({"adjust": "renewed_at"}, 'adjust: "renewed_at" says what became of users'),
        ({"adjust": ["people.revenue"]}, 'adjust: "people.revenue" says what became of users'),
        (
            {"outcome": {"returns": "won"}, "landmark": "30d"},
            "landmark: 30 days is after the outcome's period begins, 28 days.",
        ),
        ({"outcome": []}, "outcome: name one, such as renewed"),
        ({"horizon": "30"}, 'horizon: "30" is not a duration'),
    ],
)
def test_what_cannot_be_asked(asked, said):
    log = log_of(starts() + group("tip", range(40), 1.0) + group("won", range(50), 9.0), unit="D")
    given = {"plan_or_events": ["tip"], "outcome": "won"} | ASK | asked
    with pytest.raises(ParameterError) as told:
        signal_value(log, given.pop("plan_or_events"), given.pop("outcome"), **given)
    assert said in str(told.value)


def test_the_demo_tells_its_truth(demo_log):
    planted = demo.truth()["renewal"]
    asked = {"horizon": planted["horizon"], "as_of": "2026-11-29", "competing": "account_deleted"}
    names = ["feedback_given", "email_clicked", "job_saved", "job_viewed", "help_desk_contacted"]
    result = signal_value(demo_log, names, "renewed", **asked, adjust=["channel", "plan"])
    table = result.signals.set_index("signal")
    best = table.loc["Feedback given"]
    assert best["risk_ratio_ci_lower"] < planted["risk_ratio"] < best["risk_ratio_ci_upper"]
    assert best["verdict"] == "signal" and table.index[0] == "Feedback given"
    for idle in ("E-mail clicked", "Job saved", "Job viewed"):
        assert table.loc[idle, "naive_risk_ratio_ci_lower"] > 5, idle
        assert table.loc[idle, "verdict"] in ("vanity", "not enough data"), idle
    assert table.loc["E-mail clicked", "verdict"] == "vanity"
    assert table.loc["Job saved", "landmark_risk_ratio"] > 1.2  # the plan confounds it
    assert table.loc["Help desk contacted", "verdict"] == "harmful"


@pytest.mark.parametrize(("side", "verdict"), [(1, "vanity"), (-1, "not enough data")])
def test_what_turns_round_for_later_users_is_no_harm(side, verdict):
    """A clear ratio of 2, or 1/2, and a prediction that is worse for later users by knowing it."""
    row = {"pvalue": 1e-6, "without_use_rate": 0.0}
    for name, low, value, high in (
        ("risk_difference", 0.05 * side, 0.1 * side, 0.15 * side),
        *((f"{each}risk_ratio", 1.8**side, 2.0**side, 2.2**side) for each in ("", *PLAIN)),
        ("out_of_time_gain", -0.03, -0.02, -0.01),
    ):
        low, high = sorted((low, high))
        row |= {name: value, f"{name}_ci_lower": low, f"{name}_ci_upper": high}
    yes = pd.Series([True])
    assert judge(pd.DataFrame([row]), yes, yes)["verdict"].tolist() == [verdict]


def test_bone_marrow_transplants():
    """A landmark at day 180 of Klein & Moeschberger's 137 patients (KMsurv's bmt, public).

    103 are alive then, 41 of them with chronic graft-versus-host disease; of these 22 die within
    two years, of the other 62 17 (counted in the file). Ever against never says the opposite: who
    dies early has no time for the disease.
    """
    frame = pd.read_csv(ROOT / "tests/reference/bmt.csv")
    rows = [(f"u{i}", "transplant", 0.0) for i in range(len(frame))]
    for i, patient in enumerate(frame.itertuples()):
        rows += [(f"u{i}", "disease", float(patient.tc))] if patient.dc else []
        rows += [(f"u{i}", "died", float(patient.t1))] if patient.d1 else []
    log = log_of(rows, unit="D", since="2010-01-01", observed_until="2020-01-01")
    asked = {"horizon": "730d", "as_of": "2019-12-31", "start": "transplant", "landmark": "180d"}
    found = row(signal_value(log, ["disease"], "died", **asked), "disease")
    assert found[["n_exposed", "n_unexposed"]].to_list() == [41, 62]
    assert found["risk_ratio"] == pytest.approx((22 / 41) / (17 / 62), rel=0.01)
    assert found["naive_risk_ratio"] < 0.85 and found["naive_risk_ratio_ci_upper"] < 1.1


def test_counts_of_chunks_add_up(monkeypatch):
    """The log read some users at a time gives the same tables."""
    asked = {"landmark": "7d", "adjust": ["plan"], "horizon": "60d", "as_of": "2025-06-30"}
    log = world(6, users=600)
    whole = signal_value(log, ALL, "renewed", **asked, start="start").signals
    monkeypatch.setattr("mctlib.eventlog.event_log.CHUNK_ROWS", 700)
    parts = signal_value(log, ALL, "renewed", **asked, start="start").signals
    pd.testing.assert_frame_equal(whole, parts)
