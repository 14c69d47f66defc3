"""Why a funnel changed: hand counts, identities, and the demo's planted truth."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mctlib import change as change_module
from mctlib import demo, plots
from mctlib.change import explain_change
from mctlib.log import EventLog
from mctlib.store import ParameterError

matplotlib.use("Agg")
DAY = pd.Timedelta("1D")


def make_log(rows, columns=("user_id", "event", "timestamp"), **tables):
    return EventLog.from_frame(pd.DataFrame(rows, columns=list(columns)), **tables)


def period(user, day, converts, platform, tracked=True):
    """Rows of one user: entry, and a conversion that the server sees in any case."""
    entry = pd.Timestamp(day)
    events = [(user, "a", entry, platform)] + ([(user, "b", entry + DAY, platform)] if converts and tracked else [])
    return events, [(user, "b", entry + DAY)] if converts else []


def two_periods(*groups):
    """groups: (day, platform, n users, n converters, n of those tracked)."""
    events, server = [], []
    for g, (day, platform, n, converts, tracked) in enumerate(groups):
        for i in range(n):
            e, s = period(f"{g}-{i}", day, i < converts, platform, i < tracked)
            events, server = events + e, server + s
    return events, server


GROUPS = (("2026-01-01", "web", 60, 30, 30), ("2026-01-02", "ios", 40, 10, 10), ("2026-02-01", "web", 40, 20, 20), ("2026-02-02", "ios", 60, 24, 12))
WHEN = {"window": "7d", "before": ("2026-01-01", "2026-01-07"), "after": ("2026-02-01", "2026-02-07"), "by": "platform"}


def test_a_change_by_hand():
    """Web stays at 50 %. iOS truly goes from 25 % to 40 % but half of it is lost: 20 % tracked. Weights .6/.4 become .4/.6.

    Overall .40 -> .32. Tracking, iOS: (.5 - 1) * (.25 + .40)/2 * .5 = -.08125. Behaviour, iOS: (.20 - .25) * .5 + .08125 = .05625.
    Mix, centred on .36: web (-.2)(.5 - .36) = -.028, iOS (.2)(.225 - .36) = -.027.
    """
    events, server = two_periods(*GROUPS)
    log = make_log(events, ("user_id", "event", "timestamp", "platform"), backend=pd.DataFrame(server, columns=["user_id", "event", "timestamp"]))
    result = explain_change(log, ["a", "b"], **WHEN, as_of="2026-03-01")
    effect = result.parts.set_index(["segment", "part"])["effect_rate"]
    assert effect["web"].to_dict() == pytest.approx({"mix": -0.028, "behaviour": 0, "tracking": 0}, abs=1e-12)
    assert effect["ios"].to_dict() == pytest.approx({"mix": -0.027, "behaviour": 0.05625, "tracking": -0.08125}, abs=1e-12)
    total = result.total.iloc[0]
    assert total[["n_before", "before_rate", "n_after", "after_rate", "change_rate"]].tolist() == pytest.approx([100, 0.4, 100, 0.32, -0.08])
    assert effect["all"].sum() == pytest.approx(total["change_rate"], abs=1e-12)
    # a bootstrap comes near Newcombe's interval: two standard errors of the 2.5 % point of 1000 draws are 0.01, of the spread of 100 buckets 0.02
    from statsmodels.stats.proportion import confint_proportions_2indep
    assert total[["change_rate_ci_lower", "change_rate_ci_upper"]].tolist() == pytest.approx(confint_proportions_2indep(32, 100, 40, 100, method="newcomb"), abs=0.03)
    assert "tracking in ios" in result.finding and result.caveats == ()
    inside = result.parts.dropna()
    assert (inside["effect_rate_ci_lower"] <= inside["effect_rate"]).all() and (inside["effect_rate"] <= inside["effect_rate_ci_upper"]).all()


def test_without_a_backend_tracking_is_not_known_and_behaviour_holds_it():
    events, _ = two_periods(*GROUPS)
    result = explain_change(make_log(events, ("user_id", "event", "timestamp", "platform")), ["a", "b"], **WHEN, as_of="2026-03-01")
    effect = result.parts.set_index(["segment", "part"])["effect_rate"]
    assert np.isnan(effect["all", "tracking"]) and effect["ios", "behaviour"] == pytest.approx(-0.025)
    assert effect["all"].sum() == pytest.approx(-0.08, abs=1e-12) and "tracking not known" in result.finding
    assert result.caveats == ("Tracking loss is not known: backend has no users with these steps in both periods. Behaviour may hold it.",)


@pytest.mark.parametrize("by", [None, "platform"])
def test_one_quantity_has_one_interval(by):
    """With a single segment behaviour is the whole change."""
    groups = (("2026-01-01", "web", 60, 30, 30), ("2026-02-01", "web", 50, 20, 20))
    result = explain_change(make_log(two_periods(*groups)[0], ("user_id", "event", "timestamp", "platform")), ["a", "b"], **{**WHEN, "by": by}, as_of="2026-03-01")
    ends = ["_ci_lower", "_ci_upper"]
    behaviour = result.parts.query("part == 'behaviour'")[["effect_rate", *("effect_rate" + e for e in ends)]].to_numpy()
    assert len(behaviour) == (2 if by else 1)
    change = result.total[["change_rate", *("change_rate" + e for e in ends)]].to_numpy()
    np.testing.assert_allclose(behaviour, np.broadcast_to(change, behaviour.shape), atol=1e-12)
    assert change[0, 1] < -0.1 < change[0, 2]


def test_parts_add_up_whatever_the_counts():
    rng = np.random.default_rng(11)
    for _ in range(200):
        n = rng.integers(1, 500, (2, 5))
        checked = rng.integers(0, 50, (2, 5))
        cells = np.stack([n, rng.binomial(n, 0.3), checked, rng.binomial(checked, 0.8)], axis=-1).astype(float)
        cells[rng.integers(0, 2), rng.integers(0, 5)] = 0  # a segment absent from one period
        parts = change_module._parts(cells)
        change = cells[1, :, 1].sum() / cells[1, :, 0].sum() - cells[0, :, 1].sum() / cells[0, :, 0].sum()
        assert parts[0].sum() == pytest.approx(change, abs=1e-12) and parts[1:].sum(axis=0) == pytest.approx(parts[0], abs=1e-12)


@pytest.mark.parametrize(("options", "words"), [
    ({"after": ("2026-02-01", "2026-02-28"), "as_of": "2026-03-01"}, "on 2026-02-28 were still inside their window of 7 days on 2026-03-01; the last usable day is 2026-02-22."),
    ({"before": ("2026-02-05", "2026-02-06")}, "before: it must end before the period after begins (2026-02-01)."),
    ({"before": "2026-01-01"}, "before: give two days, the first and the last."),
    ({"before": ("2026-01-07", "2026-01-01")}, "before: the last day (2026-01-01) lies before the first (2026-01-07)."),
    ({"before": ("2026-01-20", "2026-01-21")}, "before: nobody entered the funnel in that period."),
])
def test_change_errors_say_what_to_do(options, words):
    log = make_log(two_periods(*GROUPS)[0], ("user_id", "event", "timestamp", "platform"))
    with pytest.raises(ParameterError) as error:
        explain_change(log, ["a", "b"], **{**WHEN, "as_of": "2026-03-01", **options})
    assert words in str(error.value)


def test_the_last_usable_day_is_usable():
    log = make_log(two_periods(*GROUPS)[0], ("user_id", "event", "timestamp", "platform"))
    assert explain_change(log, ["a", "b"], **{**WHEN, "after": ("2026-02-01", "2026-02-22"), "as_of": "2026-03-01"}).total["n_after"].item() == 100


# ------------------------------------------------------------------------------------------------------------------- the planted truth

PATH = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]


@pytest.fixture(scope="module")
def product():
    return EventLog.from_frame(**demo.generate(users=6000, seed=3)), demo.truth(users=6000, seed=3)


def test_the_demos_lost_tracking_is_found_on_android_and_nowhere_else(product):
    log, truth = product
    loss = truth["tracking_loss"]
    change = explain_change(log, PATH, window="14d", before=("2026-03-02", "2026-04-26"), after=("2026-05-11", "2026-06-21"), by="platform")
    tracking = change.parts[change.parts["part"] == "tracking"].set_index("segment")
    assert loss["platform"] == "android" and tracking.loc["android", "effect_rate_ci_upper"] < 0
    assert tracking.loc[["web", "ios"], "effect_rate"].tolist() == pytest.approx([0, 0], abs=0.002)
    assert tracking.loc["all", "effect_rate"] == pytest.approx(tracking.loc["android", "effect_rate"], abs=0.002)


def test_the_plot_shows_every_part(product):
    log, _ = product
    change = explain_change(log, PATH, window="14d", before=("2026-03-02", "2026-04-26"), after=("2026-05-11", "2026-06-21"), by="platform")
    assert {t.get_text() for t in plots.plot_change(change.parts).texts} == {"mix", "behaviour", "tracking"}
    matplotlib.pyplot.close("all")
