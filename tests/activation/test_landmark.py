"""What shortens it: hand counts, a per-user loop, planted truth (one true shortener, one that only
looks good, idle ones).
"""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from mctlib import plots
from mctlib.activation import landmark, landmark_activation
from mctlib.activation.landmark import count_landmarks
from mctlib.contract import ParameterError
from tests.support.logs import log_of

DAY = 86_400_000_000
make_log = partial(log_of, unit="D")
ASK = {
    "start": "start",
    "activation": "active",
    "competing": "exit",
    "as_of": "2026-06-30",
    "horizon": "30d",
}


@pytest.fixture(scope="module")
def world():
    """4,000 users, of whom mobile ones are slower and more often guided: the crude figure is small.

    `guide` (30 % at once) doubles the hazard; `visit` happens to whoever stays, and changes
    nothing; `banner` is seen by 40 % on day 1, and changes nothing.
    """
    rng, n = np.random.default_rng(12), 4000
    mobile = rng.random(n) < 0.5
    guide = rng.random(n) < np.where(mobile, 0.45, 0.15)
    hit = rng.exponential(1 / (0.03 * np.where(guide, 2, 1) * np.where(mobile, 0.5, 1)))
    out, visit, banner = (
        rng.exponential(25, n),
        rng.exponential(12, n),
        np.where(rng.random(n) < 0.4, 1.0, np.inf),
    )
    times = {
        "active": np.where(hit < out, hit, np.inf),
        "exit": out,
        "guide": np.where(guide, 0.01, np.inf),
        "visit": np.where(visit < out, visit, np.inf),
        "banner": np.where(banner < out, banner, np.inf),
    }
    rows = [(f"u{i}", "start", 0.0) for i in range(n)] + [
        (f"u{i}", name, t[i]) for name, t in times.items() for i in range(n) if t[i] < 100
    ]
    return make_log(
        rows,
        people=pd.DataFrame(
            {"user_id": [f"u{i}" for i in range(n)], "channel": np.where(mobile, "mobile", "web")}
        ),
    )


def test_planted_truth(world):
    result = landmark_activation(world, **ASK, by="channel")
    table = result.signals.set_index("signal")
    assert set(table.index) == {"guide", "visit", "banner"} and table.index[0] == "guide"
    assert (
        table.loc["guide", "hazard_ratio_ci_lower"]
        < 2
        < table.loc["guide", "hazard_ratio_ci_upper"]
        and table.loc["guide", "qvalue"] < 1e-6
    )

    # truth within a stratum: days lost of the 27 after the landmark, at hazard h with exits at 1/25
    def lost(h):
        return h / (h + 0.04) * (27 - (1 - np.exp(-(h + 0.04) * 27)) / (h + 0.04))

    web, mobile = lost(0.03) - lost(0.06), lost(0.015) - lost(0.03)
    row = table.loc["guide"]
    assert (
        row["rmst_difference_days_ci_lower"]
        < (web + mobile) / 2
        < row["rmst_difference_days_ci_upper"]
    )  # the two differ little: -3.9 and -3.0
    assert (
        row["crude_difference_days"] > row["rmst_difference_days"] + 0.5
    )  # confounded by the device, towards nothing
    for idle in ("visit", "banner"):
        assert (
            table.loc[idle, "hazard_ratio_ci_lower"] < 1 < table.loc[idle, "hazard_ratio_ci_upper"]
            and table.loc[idle, "qvalue"] > 0.05
        )
    assert (
        table.loc["visit", "naive_effect_rate_ci_lower"] > 0.1
    )  # ever against never: more than ten points for nothing
    assert result.details[0].startswith(
        "1 of 3 early micro-conversions in the first 3 days goes with a shorter way to active. "
        "The largest: users with guide spend "
    )
    assert "over 3 tests" in result.rule
    assert "counts in its favour: visit +" in " ".join(result.caveats)


def test_one_stratum_gives_the_crude_figure(world):
    table = landmark_activation(world, **ASK).signals
    np.testing.assert_allclose(table["crude_difference_days"], table["rmst_difference_days"])
    np.testing.assert_allclose(
        table["effect_rate"], table["exposed_rate"] - table["unexposed_rate"]
    )
    assert "over 3 tests" in landmark_activation(world, **ASK).rule


def test_several_landmarks_are_all_tested_and_a_change_of_sign_is_said():
    """`push` on day 1 brings activation on days 2 to 3 and none later: good at landmark 1d, bad at
    4d among those still waiting.
    """
    rng, n = np.random.default_rng(13), 1500
    push = rng.random(n) < 0.5
    early, late = (
        rng.random(n) < np.where(push, 0.5, 0.05),
        rng.random(n) < np.where(push, 0.05, 0.6),
    )
    hit = np.where(early, rng.uniform(1.1, 3, n), np.where(late, rng.uniform(5, 12, n), np.inf))
    rows = [(f"u{i}", "start", 0.0) for i in range(n)] + [
        (f"u{i}", e, t[i])
        for e, t in (("push", np.where(push, 0.5, np.inf)), ("active", hit))
        for i in range(n)
        if t[i] < 99
    ]
    result = landmark_activation(make_log(rows), **ASK | {"competing": None}, landmark=["1d", "4d"])
    assert result.signals["landmark_days"].tolist() == [1, 4]
    assert result.signals["rmst_difference_days"].prod() < 0 and "over 2 tests" in result.rule
    assert "push points in different directions at different landmarks (" in " ".join(
        result.caveats
    )


def test_kernel_equals_a_loop_over_users():
    rng = np.random.default_rng(14)
    rows = sorted(
        (u, int(t), e)
        for u in range(300)
        for e, t in zip(
            rng.choice(["start", "active", "exit", "s1", "s2"], 6), rng.integers(0, 12, 6)
        )
    )
    log = make_log([(f"u{u:03}", e, t) for u, t, e in rows])
    found = log.reduce(
        partial(
            count_landmarks,
            horizon=8 * DAY,
            unit=DAY,
            landmarks=(2 * DAY, 4 * DAY),
            roles=("start", "activation", "competing"),
            labels={"segment": []},
        ),
        events=["start", "active", "exit", "s1", "s2"],
        as_of="2026-01-11T00:00:00Z",
    )
    expected: dict = {}
    for user in range(300):
        mine = [(t, e) for u, t, e in rows if u == user and t <= 10]
        starts = [t for t, e in mine if e == "start"]
        if not starts or any(e == "active" and t < starts[0] for t, e in mine):
            continue
        zero, seen = starts[0], min(10 - starts[0], 8)
        ends = [
            (t - zero, rank, name)
            for t, e in mine
            for rank, (event, name) in enumerate((("active", "activated"), ("exit", "competing")))
            if e == event and t >= zero
        ]
        ran, _, outcome = min(
            [e for e in ends if e[0] <= seen]
            + [(seen, 2, "censored" if seen < 8 else "not_activated")]
        )
        signals = [(t - zero, 1 << ("s1", "s2").index(e)) for t, e in mine if e in ("s1", "s2")]
        for at, mark in enumerate((2, 4, 99)):
            had = sum({bit for t, bit in signals if 0 <= t <= mark})
            key = (at, had, outcome, max(ran - mark, 0))
            if ran > mark or mark == 99:  # ever
                expected[key] = expected.get(key, 0) + 1
    found = pd.concat([found["ended"], found["ever"].assign(landmark=2, units=0)])
    keys = ["landmark", "had", "outcome", "units"]
    assert found.set_index(keys)["n_users"].to_dict() == expected


def test_default_signals_need_thirty_users_and_two_per_cent_on_either_side():
    rows = [(f"u{i}", "start", 0.0) for i in range(2000)] + [
        (f"u{i}", "active", 10.0 + i % 9) for i in range(0, 2000, 2)
    ]
    for name, users in {
        "often": range(100),
        "rare": range(29),
        "small": range(39),
        "all": range(1980),
        "late": range(900),
    }.items():
        rows += [(f"u{i}", name, 20.0 if name == "late" else 1.0) for i in users]
    assert set(
        landmark_activation(make_log(rows), **ASK | {"competing": None}).signals["signal"]
    ) == {"often"}  # 2 % of 2,000 are 40


def test_by_account(world):
    """Every user ten times, in an account of his own: as good as once, but for the t with as many
    accounts.
    """
    rows = [
        (f"u{i}", e, t)
        for i in range(400)
        for e, t in [
            ("start", 0.0),
            *([("s", 1.0)] if i % 3 == 0 else []),
            ("active", 4.0 + i % 23),
        ]
    ]
    copies = [(f"{u}-{k}", e, t) for u, e, t in rows for k in range(10)]
    people = pd.DataFrame({"user_id": list(dict.fromkeys(r[0] for r in copies))}).assign(
        account_id=lambda d: d["user_id"].str.split("-").str[0]
    )
    once, ten = (
        landmark_activation(log, **ASK | {"competing": None})
        for log in (make_log(rows), make_log(copies, people=people))
    )
    width = [
        (r.signals["rmst_difference_days_ci_upper"] - r.signals["rmst_difference_days"]).iloc[0]
        for r in (once, ten)
    ]
    assert width[1] / width[0] == pytest.approx(
        1.965927 / 1.959964 * (400 / 399) ** 0.5, rel=1e-5
    )  # R: qt(.975, 399)
    assert ten.rule.endswith("over 1 test, errors by account.")
    assert once.rule.endswith("over 1 test.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"landmark": "30d"}, "landmark: 30d must lie before the horizon"),
        ({"landmark": "soon"}, 'landmark: "soon" is not a duration'),
        ({"activation": "activ"}, 'activation: event "activ" does not occur'),
        ({"start": None}, "start: None is not an event"),
        (
            {"competing": "active"},
            'competing: one event could be both the exit "active" and "active"',
        ),
        ({"as_of": None}, "as_of"),
    ],
)
def test_wrong_parameters(world, change, words):
    with pytest.raises(ParameterError, match=words):
        landmark_activation(world, **ASK | change)


def test_one_side_without_an_activation_is_the_clearest_signal_and_no_vanity():
    """150 users did `m` on the first day, 100 of them activate between day 2 and 22; of 150 others
    nobody does. lifelines gets the waits after the landmark.
    """
    from lifelines.statistics import logrank_test
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(15)
    hit = 2 + 20 * rng.random(100)
    rows = (
        [(f"u{i}", "start", 0.0) for i in range(300)]
        + [(f"u{i}", "m", 0.5) for i in range(150)]
        + [(f"u{i}", "active", t) for i, t in enumerate(hit)]
    )
    ask = ASK | {"competing": None, "landmark": pd.Timedelta("1d")}
    result = landmark_activation(make_log(rows), **ask)
    row = result.signals.iloc[0]
    days = np.r_[hit - 1, np.full(200, 29.0)]
    event = np.arange(300) < 100
    assert row["logrank_pvalue"] == pytest.approx(
        logrank_test(days[:150], days[150:], event[:150], event[150:]).p_value, rel=1e-6
    )
    assert row["rmst_difference_days"] == pytest.approx(
        days[:150].mean() - 29, abs=1e-9
    )  # nobody is out of view: plain means, exact
    assert np.isnan(row["hazard_ratio"]) and np.isnan(row["risk_ratio"])
    # the side without an activation: of 150 users the upper limit of a share of nought, all at once
    wald, most = 1.959964 * days[:150].std() / 150**0.5, proportion_confint(0, 150, method="wilson")
    assert row["rmst_difference_days"] - row["rmst_difference_days_ci_lower"] == pytest.approx(
        wald, rel=1e-6
    )
    assert row["rmst_difference_days_ci_upper"] - row["rmst_difference_days"] == pytest.approx(
        np.hypot(wald, 29 * most[1]), rel=1e-6
    )
    assert row["pvalue"] == row["qvalue"] < 1e-6
    (told,) = result.details
    assert (
        f"users with m spend {29 - days[:150].mean():.1f} ("
        f"{-row['rmst_difference_days_ci_upper']:.1f} to "
        f"{-row['rmst_difference_days_ci_lower']:.1f}) fewer of the next 29 days"
        in result.details[0]
    )
    assert "66.7 % of them reach it, against nobody without." in result.details[0]
    assert "Good only while" not in " ".join(result.caveats)
    short = landmark_activation(
        make_log(rows), **ask | {"as_of": "2026-01-11T00:00:00Z"}
    )  # all are followed for ten days, nine of them after the landmark
    assert "fewer of the next 9 days not activated" in short.details[0] and short.signals[
        "horizon_days"
    ].tolist() == [9]
    few = pd.DataFrame(
        {"user_id": [f"u{i}" for i in range(300)], "account_id": [f"c{i % 9}" for i in range(300)]}
    )
    few = landmark_activation(make_log(rows, people=few), **ask)
    assert few.details[0].startswith(
        "No early micro-conversion in the first 1 day can be compared: "
        "fewer than 10 accounts are too few for an interval or a test."
    )
    assert (
        "Fewer than 10 accounts are too few for an interval or a test." in few.caveats
        and few.signals[["logrank_pvalue", "effect_rate_ci_lower"]].isna().all(axis=None)
    )


def with_signals(rng, n, hit, **signals):
    """A log of n users who activate at ``hit`` (inf: never); signals: who has them on day 1."""
    rows = [(f"u{i}", "start", 0.0) for i in range(n)]
    rows += [(f"u{i}", "active", hit[i]) for i in range(n) if hit[i] < 99]
    rows += [(f"u{i}", name, 1.0) for name, has in signals.items() for i in np.flatnonzero(has)]
    return make_log(rows)


def test_harm_is_named_as_benefit_is():
    """Users whom the chatbot meets wait 2.7 times as long, whom a guide meets half as long."""
    rng, n = np.random.default_rng(1), 3000
    chatbot, guide, idle = (rng.random(n) < 1 / 3 for _ in range(3))
    hit = 3.5 + rng.exponential(15 * np.where(chatbot, 40 / 15, 1) * np.where(guide, 0.5, 1))
    ask = ASK | {"competing": None, "horizon": "90d"}
    result = landmark_activation(with_signals(rng, n, hit, chatbot=chatbot), **ask)
    row = result.signals.iloc[0]
    assert row["rmst_difference_days_ci_lower"] > 0 and row["hazard_ratio_ci_upper"] < 1
    assert result.details[0].startswith(
        "1 of 1 early micro-conversions in the first 3 days goes with a longer way to active. "
        "The largest: users with chatbot spend "
    )
    assert " more of the next 87 days not activated, and " in result.details[0]
    both = landmark_activation(
        with_signals(rng, n, hit, chatbot=chatbot, guide=guide, idle=idle), **ask
    )
    assert both.details[0].startswith(
        "1 of 3 early micro-conversions in the first 3 days goes with a shorter way to active, "
        "1 with a longer one. The largest: users with guide spend "
    )
    assert "; the largest delay: users with chatbot spend " in both.details[0]
    assert "idle" not in both.details[0]
    shown = plots.plot_landmark(both.signals, most=2).get_yticklabels()
    assert [t.get_text() for t in shown] == ["guide", "chatbot"]


def test_a_signal_after_which_nobody_activates_is_harm_and_one_of_few_users_is_not():
    """Of 3,000 users one in five activates, but of 300 with `wall` nobody. Of the 60 with `rare`
    nobody either, and of 20 such signals that change nothing about one would have none of 60 by
    chance at a share of 5 %."""
    rng, n = np.random.default_rng(6), 3000
    wall = np.arange(n) < 300
    hit = np.where(~wall & (rng.random(n) < 0.2), rng.uniform(4, 29, n), np.inf)
    ask = ASK | {"competing": None}
    result = landmark_activation(with_signals(rng, n, hit, wall=wall), **ask)
    assert (
        "goes with a longer way to active. The largest: users with wall spend " in result.details[0]
    )
    assert "and nobody of them reaches it, against 19." in result.details[0]  # planted: 20
    scarce = np.where(rng.random(n) < 0.03, rng.uniform(4, 29, n), np.inf)
    rare = np.flatnonzero(np.isinf(scarce))[:60]
    few = landmark_activation(with_signals(rng, n, scarce, rare=np.isin(np.arange(n), rare)), **ask)
    row = few.signals.iloc[0]
    assert row["exposed_rate"] == 0 and row["effect_rate"] < -0.02
    assert row["effect_rate_ci_lower"] < 0 < row["effect_rate_ci_upper"]
    assert row["rmst_difference_days_ci_lower"] < 0 < row["rmst_difference_days_ci_upper"]
    assert few.details[0].startswith("None of the 1 early micro-conversions")


def test_of_signals_that_change_nothing_hardly_any_is_named():
    """40 signals of 2 to 40 % of 2,000 users, 4 % of whom activate; none does anything. With plain
    standard errors most of the rare ones exclude nought, for they have no or one success."""
    rng, n = np.random.default_rng(7), 2000
    hit = np.where(rng.random(n) < 0.04, rng.uniform(4, 29, n), np.inf)
    idle = {f"s{k}": rng.random(n) < share for k, share in enumerate(np.geomspace(0.021, 0.4, 40))}
    table = landmark_activation(
        with_signals(rng, n, hit, **idle), **ASK | {"competing": None}
    ).signals
    assert len(table) > 30 and not (table["qvalue"] < 0.05).any()
    for column in ("effect_rate", "rmst_difference_days"):
        ends = table[f"{column}_ci_lower"] * table[f"{column}_ci_upper"]
        assert (ends > 0).sum() <= 4  # two are to be expected


def test_one_small_stratum_does_not_end_the_comparison_of_the_others():
    """1,000 users in each of two cohorts, seen for the whole horizon; of a third of 40 half are
    seen for two days after the landmark, so that fewer than 10 with the signal wait longer."""
    rng, n = np.random.default_rng(8), 2040
    cohort = np.r_[["a"] * 1000, ["b"] * 1000, ["c"] * 40]
    hit = 3.5 + rng.exponential(20, n)
    begun = np.where((cohort == "c") & (np.arange(n) % 4 > 0), 55.0, 0.0)
    rows = [(f"u{i}", "start", begun[i]) for i in range(n)]
    rows += [(f"u{i}", "s", begun[i] + 1) for i in range(n) if i % 2]
    rows += [(f"u{i}", "active", begun[i] + hit[i]) for i in range(n)]
    people = pd.DataFrame({"user_id": [f"u{i}" for i in range(n)], "channel": cohort})
    result = landmark_activation(
        make_log(rows, people=people),
        **ASK | {"competing": None, "as_of": "2026-03-02T00:00:00Z"},
        by="channel",
    )
    assert result.signals.iloc[0]["horizon_days"] == 27
    assert "(at worst 2 of 3 are used)" in " ".join(result.caveats)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [(f"u{i}", e, d) for i in range(50) for e, d in (("start", 0.0), ("active", 5.0))],
            "the data hold no event beside start, activation and exit",
        ),
        (
            [
                (f"u{i}", e, d)
                for i in range(50)
                for e, d in (("start", 0.0), ("other", 1.0), ("active", 2.0))
            ],
            "nobody is still waiting and in view 3 days after start",
        ),
        (
            [(f"u{i}", e, 0.0) for i in range(50) for e in ("start", "active", "other")],
            "nobody is still waiting and in view 3 days after start",
        ),
        (
            [
                *((f"u{i}", "start", 0.0) for i in range(80)),
                *((f"u{i}", "other", 1.0) for i in range(40)),
                ("v", "active", 1.0),
            ],
            "none of them reaches active later",
        ),
    ],
)
def test_nothing_to_compare_is_an_answer(rows, why):
    result = landmark_activation(
        make_log(rows), **ASK | {"competing": "exid"}, landmark=["3d", "7d"]
    )
    assert result.signals["qvalue"].isna().all() and set(landmark.COLUMNS) == set(result.signals)
    assert (
        result.details[0].startswith(
            "No early micro-conversion in the first 3 days can be compared: "
        )
        and result.details[0].endswith(f"{why}.")
        and result.rule.startswith("Landmark 3 days after")
    )
    assert result.caveats[0].startswith('competing: event "exid" does not occur')
    assert plots.plot_landmark(result.signals).texts


def test_more_events_than_one_walk_knows():
    rows = (
        [(f"u{i}", "start", 0.0) for i in range(100)]
        + [(f"u{i}", "active", 9.0) for i in range(100)]
        + [(f"u{i}", f"e{k}", 1.0) for k in range(62) for i in range(9 + k // 31)]
    )
    result = landmark_activation(make_log(rows), **ASK | {"competing": None})
    assert "Only the 60 events that most users have are looked at; 2 are not." in result.caveats
    assert result.signals.empty and result.details[0].startswith(
        "No early micro-conversion in the first 3 days can be compared: "
        "30 users and 2 % must have had it"
    )
    assert landmark.MOST_SIGNALS + 4 == 64  # start, activation, exit and one to spare


def test_picture_shows_both_figures(world):
    import matplotlib.pyplot as plt

    result = landmark_activation(world, **ASK, by="channel")
    ax = plots.plot_landmark(result.signals)
    assert [t.get_text() for t in ax.get_yticklabels()] == result.signals["signal"].tolist()
    assert {"● by landmark", "○ ever against never (misleading)"} <= {
        t.get_text() for t in ax.texts
    }
    (plain,) = [t for t in ax.texts if "misleading" in t.get_text()]
    assert plain.get_color() == plots.style.MUTED and "activated" not in ax.get_xlabel()
    assert plots.plot_landmark(result.signals.iloc[:0]).texts
    plt.close("all")
