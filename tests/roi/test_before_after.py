"""Before/after: hand counts, independent recomputation, published numbers, the demo's lift."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from mctlib import plots
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.roi import Money, compare_before_after
from mctlib.roi import rung as roi
from mctlib.sources import demo
from tests.support.series import noise, panel, series_of


def test_plain_rates_have_newcombes_published_interval():
    # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: 56/70 - 48/80
    # -> 0.0524 to 0.3339
    frame = pd.DataFrame(
        {"day": pd.date_range("2026-01-05", periods=14), "n": 0, "value": np.nan, "n_success": 0}
    )
    frame.loc[3, ["n", "n_success"]] = [80, 48]
    frame.loc[9, ["n", "n_success"]] = [70, 56]
    result = compare_before_after(frame, change_at="2026-01-12")
    naive = result.rungs.iloc[0]
    assert naive[["effect", "effect_ci_lower", "effect_ci_upper"]].tolist() == pytest.approx(
        [0.2, 0.0524, 0.3339], abs=5e-5
    )
    assert naive["rel_effect"] == pytest.approx(0.2 / 0.6)
    assert naive["pvalue"] == pytest.approx(
        sps.chi2_contingency([[56, 14], [48, 32]], correction=False).pvalue
    )
    assert not result.rungs["supported"].any() and result.verdict == "not supported"
    assert "too few to fit anything" in result.details[0] and "no evidence" in result.details[0]
    assert (
        result.path["observed"].tolist() == [48 / 80, 56 / 70]
        and result.path["counterfactual"].isna().all()
    )


def test_interrupted_series_is_observed_minus_projected_trend():
    week = np.arange(-20, 10)
    values = (
        0.2 + 0.002 * week + np.where(week >= 0, 0.05 + 0.003 * week, 0) + 0.01 * (-1.0) ** week
    )  # alternating noise: rho is 0
    frame, change = series_of(values, n_pre=20)
    result = compare_before_after(frame, change_at=change)
    slope, start = np.polyfit(week[:20], values[:20], 1)
    its = result.rungs.set_index("rung").loc[roi.ITS]
    assert its["effect"] == pytest.approx(np.mean(values[20:] - (start + slope * week[20:])))
    assert its["rel_effect"] == pytest.approx(its["effect"] / np.mean(start + slope * week[20:]))
    assert its["supported"] and result.verdict == "supported" and "rho 0.00" in its["reason"]
    with_ci = [
        f"{c}{side}"
        for c in ("counterfactual", "gap", "gain_amount")
        for side in ("", "_ci_lower", "_ci_upper")
    ]
    assert (
        list(result.path.columns) == ["day", "n", "observed", *with_ci]
        and result.path["gain_amount"].isna().all()
    )
    np.testing.assert_allclose(
        result.path["gap"], result.path["observed"] - result.path["counterfactual"]
    )
    np.testing.assert_allclose(result.path["observed"], values)
    np.testing.assert_allclose(result.path["counterfactual"], start + slope * week)
    assert result.path["day"].iloc[20] == change
    assert "percentage points" in result.details[0] and "No control group" in " ".join(
        result.caveats
    )


def test_path_band_is_the_prediction_interval_of_least_squares():
    week = np.arange(-20, 10)
    values = 5 + 0.1 * week + 0.4 * (-1.0) ** week + (week >= 0)
    result = compare_before_after(
        series_of(values, n_pre=20, kind="mean")[0], change_at="2025-05-26"
    )
    x = np.c_[np.ones(30), week, week >= 0, week * (week >= 0)]
    peer = sm.OLS(values, x).fit().get_prediction(x * [1, 1, 0, 0]).summary_frame(alpha=0.05)
    np.testing.assert_allclose(result.path["counterfactual_ci_lower"], peer["obs_ci_lower"])
    np.testing.assert_allclose(result.path["counterfactual_ci_upper"], peer["obs_ci_upper"])


def test_effect_weighs_weeks_by_their_users():
    week = np.arange(-14, 7)
    values = np.where(week >= 0, 0.3 + 0.01 * week, 0.2) + 0.004 * (-1.0) ** week
    frame, change = series_of(values, n_pre=14)
    frame["n"] = np.repeat(np.arange(10, 31), 7)
    frame["n_success"] = frame["n"] * frame["value"]
    fit = sm.WLS(
        values,
        np.c_[np.ones(21), week, week >= 0, week * (week >= 0)],
        weights=7 * np.arange(10, 31),
    ).fit()
    gap = values[14:] - (fit.params[0] + fit.params[1] * week[14:])
    assert compare_before_after(frame, change_at=change).rungs.set_index("rung").loc[
        roi.ITS, "effect"
    ] == pytest.approx(np.average(gap, weights=np.arange(24, 31)))


@pytest.mark.simulation
def test_difference_in_differences_recovers_the_lift_that_the_plain_comparison_overstates():
    found, covered = [], []
    for seed in range(8):
        frame, change = panel(seed)
        rungs = compare_before_after(frame, change_at=change, treated="a").rungs.set_index("rung")
        assert rungs.loc[roi.NAIVE, "effect_ci_lower"] > 0.15 + 0.03  # drift of 19 weeks: + 0.076
        found.append(rungs.loc[roi.DID, "effect"])
        covered.append(
            rungs.loc[roi.DID, "effect_ci_lower"] < 0.15 < rungs.loc[roi.DID, "effect_ci_upper"]
        )
    assert np.mean(found) == pytest.approx(
        0.15, abs=0.01
    )  # three standard errors of a mean of 8: one run has 0.0090 (binomial, 26 and 12 weeks)
    assert sum(covered) >= 7


def test_difference_in_differences_of_one_segment_by_hand():
    week = np.arange(-13, 8)
    treated = series_of(0.2 + 0.01 * (-1.0) ** week + 0.1 * (week >= 0), segment="t")
    tilts = (0.002, -0.002, 0.001, -0.001)  # of the controls, together none
    controls = [series_of(0.3 + k * week, segment=f"c{i}") for i, k in enumerate(tilts)]
    ask = {"change_at": "2025-04-07", "treated": "t"}
    result = compare_before_after(pd.concat([treated, *controls]), **ask)
    gap, post = treated["value"].to_numpy()[::7] - 0.3, week >= 0
    peer = sm.OLS(gap, np.c_[np.ones(21), post, week * post]).fit()  # alternating: rho is 0
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["effect"] == pytest.approx(gap[post].mean() - gap[~post].mean())
    half = sps.t.ppf(0.975, 18) * np.sqrt(peer.mse_resid * (1 / 8 + 1 / 13))
    ends = [did["effect"] - half, did["effect"] + half]
    assert did[["effect_ci_lower", "effect_ci_upper"]].tolist() == pytest.approx(ends)
    assert (result.comparison, result.effect, did["verdict"]) == ("supported", "shown", "shown")
    assert result.details[0].startswith("The change of 7 April 2025 moved the metric for t by +")
    assert result.details[1].startswith("By difference-in-differences against c0, c1, c2 and c3, +")
    naive = 100 * (treated["value"][91:].mean() - treated["value"][:91].mean())
    assert result.details[1].endswith(f"; plain before/after says {naive:+.1f} percentage points.")
    # the means of 8 weeks after and 13 before are 10.5 weeks apart
    farthest = 10.5 * (0.002 - (-0.002 + 0.001 - 0.001) / 3)
    assert (
        f"Of 4 controls c0 moved most against the others, by {100 * farthest:.1f} percentage "
        "points; an effect must be 2 times as far."
    ) in result.caveats[0]
    three = compare_before_after(pd.concat([treated, *controls[:3]]), **ask)
    did = three.rungs.set_index("rung").loc[roi.DID]
    assert not did["supported"] and did["verdict"] == "" and "takes 4 controls" in did["reason"]


@pytest.mark.parametrize(("other", "verdict"), [(0.05, "inconclusive"), (0.02, "shown")])
def test_one_segment_must_move_twice_as_far_as_any_control(other, verdict):
    week = np.arange(-13, 8)
    wiggle = 0.004 * (-1.0) ** week
    parts = [
        series_of(0.3 + wiggle * (name != "c1") + move * (week >= 0), segment=name)
        for name, move in {"t": 0.08, "c0": other, "c1": 0.0, "c2": 0.0, "c3": 0.0}.items()
    ]
    result = compare_before_after(pd.concat(parts), change_at="2025-04-07", treated="t")
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["supported"] and did["effect_ci_lower"] > 0 and did["verdict"] == verdict
    assert result.effect == verdict
    told = "times as far as c0 moved against the other controls without a change"
    assert (told in result.details[0]) == (verdict == "inconclusive")


def test_the_mix_of_the_controls_cannot_move_the_result():
    week = np.arange(-13, 8)

    def flat(level, segment):
        return series_of(level + 0.01 * (-1.0) ** week, segment=segment)

    low, high, treated = (
        flat(0.1, "low"),
        flat(0.5, "high"),
        series_of(0.3 + 0.02 * (-1.0) ** week, segment="t"),
    )
    high["n"] = np.where(np.repeat(week, 7) >= 0, 600, 100)  # six times as many after the change
    high["n_success"] = high["n"] * high["value"]
    result = compare_before_after(
        pd.concat([low, high, treated]), change_at="2025-04-07", treated="t"
    )
    assert result.rungs.set_index("rung").loc[roi.DID, "effect"] == pytest.approx(
        0.01 / 13
    )  # of 13 alternating weeks before, one is left over


def test_counts_are_compared_with_controls_scaled_to_their_level():
    week = np.arange(-13, 8)
    season = 1 + 0.1 * np.sin(week)
    treated = series_of(100 * season + 20 * (week >= 0) + (-1.0) ** week, segment="t", kind="count")
    control = pd.concat([series_of(300 * season, segment=s, kind="count") for s in "cdef"])
    result = compare_before_after(
        pd.concat([treated, control]), change_at="2025-04-07", treated="t", money=Money(2.0, 1000)
    )
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["effect"] == pytest.approx(20, abs=0.3)
    assert did["rel_effect"] == pytest.approx(20 / 100, abs=0.02)
    money = result.money.iloc[0]
    assert money["n"] == 56 and money["incremental"] == pytest.approx(
        56 * did["effect"]
    )  # 8 weeks of days
    assert "a day" in result.details[0]


def test_control_segments_without_users_in_most_weeks_are_not_compared():
    # as in a log of fines: 21 and 6 users in segments of their own, most weeks empty, none of them
    # after the change
    frame, change = panel(1)
    days = {"tiny": 6, "small": 21}
    few = [
        pd.DataFrame(
            {
                "day": change - pd.to_timedelta(np.arange(n) * 7 + 1, unit="D"),
                "segment": s,
                "n": 1,
                "n_success": np.arange(n) % 2,
            }
        )
        for s, n in days.items()
    ]
    result = compare_before_after(
        pd.concat([frame, *(f.assign(value=f["n_success"]) for f in few)]),
        change_at=change,
        treated="a",
    )
    caveats = " ".join(result.caveats)
    assert (
        "Not compared: small and tiny; with users in fewer than 12 weeks before or 6 after"
        in caveats
        and "Of 4 controls" in caveats
    )
    assert result.rungs.set_index("rung").loc[roi.DID, "supported"]
    alone = compare_before_after(
        pd.concat([frame[frame["segment"] == "a"], *(f.assign(value=f["n_success"]) for f in few)]),
        change_at=change,
        treated="a",
    )
    did = alone.rungs.set_index("rung").loc[roi.DID]
    assert (
        not did["supported"]
        and np.isnan(did["effect"])
        and "no control segment has users in the weeks that are compared" in did["reason"]
    )
    assert alone.comparison == "supported" and alone.reason.startswith("Interrupted time series")
    assert any(t.startswith("Not used was difference-in-differences: no") for t in alone.details)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["rate", "count", "mean"]),
    n_weeks=st.integers(2, 40),
    n_controls=st.integers(0, 4),
    filled=st.sampled_from([0.02, 0.1, 0.5, 1.0]),
    value=st.sampled_from([None, 0.0, 45.0]),
    cost=st.sampled_from([None, 0, 500.0, (0, 50), (500, 400)]),
)
# the treated have no row on the day of the change
@example(seed=228807, kind="mean", n_weeks=36, n_controls=0, filled=0.5, value=45.0, cost=500.0)
def test_sparse_panels_give_a_result_or_say_why_not(
    seed, kind, n_weeks, n_controls, filled, value, cost
):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [pd.date_range("2025-01-06", periods=7 * n_weeks), list("abcde"[: n_controls + 1])],
        names=["day", "segment"],
    )
    n = rng.integers(1, 4, len(index)) * (
        rng.random(len(index)) < filled * rng.random(5)[index.codes[1]]
    )
    frame = pd.DataFrame({"n": n}, index=index).reset_index()
    if kind == "rate":
        frame["n_success"] = rng.binomial(n, 0.3)
    frame["value"] = (
        n
        if kind == "count"
        else np.where(n > 0, rng.normal(0, 1, len(n)), np.nan)
        if kind == "mean"
        else frame["n_success"] / frame["n"]
    )
    frame = frame[rng.random(len(frame)) < 0.9]  # some days have no row at all
    try:
        result = compare_before_after(
            frame,
            change_at=pd.Timestamp("2025-01-06")
            + pd.Timedelta(weeks=int(rng.integers(1, n_weeks))),
            treated="a",
            money=Money(value, cost),
        )
    except (DataError, ParameterError):
        return
    rungs = result.rungs
    assert not rungs[rungs["effect"].isna()]["supported"].any() and result.details[0]
    assert (rungs["reason"] != "").all() and ((rungs["verdict"] != "") == rungs["supported"]).all()
    ends = rungs.loc[rungs["supported"], ["effect_ci_lower", "effect_ci_upper"]]
    assert np.isfinite(ends).all(axis=None)
    assert result.effect == "shown" or result.money.filter(like="amount").isna().all(axis=None)
    assert len(result.money) == 1 and (
        result.rungs.set_index("rung").loc[roi.DID, "reason"] == roi.NO_CONTROL
    ) == (frame["segment"].nunique() == 1)


def test_a_counterfactual_share_stays_between_0_and_1():
    rising = (
        np.clip(np.linspace(0, 1.9, 30), 0, 1)[:20].tolist() + [0.9] * 10
    )  # the line before runs far above 1
    frame, change = series_of(
        np.array(rising)
        + 0.02 * (-1.0) ** np.arange(30) * (np.arange(30) % 20 > 2) * (np.array(rising) < 0.95),
        n_pre=20,
    )
    frame["n_success"] = frame["n_success"].clip(0, frame["n"])
    result = compare_before_after(frame, change_at=change)
    path = result.path.filter(like="counterfactual")
    assert path.min(axis=None) >= 0 and path.max(axis=None) == 1
    assert any("below 0 or above 1" in c for c in result.caveats)
    # a mean has no such bounds
    assert (
        compare_before_after(frame.drop(columns="n_success"), change_at=change)
        .path["counterfactual"]
        .max()
        > 1.3
    )


def test_few_placebo_dates_are_said_to_be_few():
    values = 0.2 + 0.01 * noise(7, 40) + 0.2 * (np.arange(40) >= 22)
    for n_pre, said in [
        (
            22,
            "Only 5 placebo dates fit before the change (20 are wanted): "
            "the false-alarm check is weak.",
        ),
        (
            18,
            "Only 1 placebo date fits before the change",
        ),  # after 12 weeks, with the 6 that follow
        (
            17,
            "No placebo date fits before the change (20 are wanted): "
            "its false-alarm rate could not be checked",
        ),
    ]:
        frame, change = series_of(values[22 - n_pre :], n_pre=n_pre)
        result = compare_before_after(frame, change_at=change)
        its = result.rungs.set_index("rung").loc[roi.ITS]
        assert its["supported"] and np.isfinite(its["placebo_pvalue"]) == (n_pre > 17)
        assert any(c.startswith(said) for c in result.caveats)
        assert {
            22: "; 5 placebo dates",
            18: "; 1 placebo date",
            17: "so its false-alarm rate could not be checked on this series",
        }[n_pre] in its["reason"]
    frame, change = series_of(0.2 + 0.01 * noise(7, 60) + 0.2 * (np.arange(60) >= 40), n_pre=40)
    assert not any("placebo" in c for c in compare_before_after(frame, change_at=change).caveats)


def test_the_gap_is_the_event_study():
    week = np.arange(-13, 8)
    treated = series_of(0.2 + 0.01 * (-1.0) ** week + 0.1 * (week >= 0), segment="t")
    tilts = (0.002, -0.002, 0.001, 0.001)
    controls = [series_of(0.3 + k * week, segment=f"c{i}") for i, k in enumerate(tilts)]
    path = compare_before_after(
        pd.concat([treated, *controls]), change_at="2025-04-07", treated="t"
    ).path
    apart, post = treated["value"].to_numpy()[::7] - 0.3 - 0.0005 * week, week >= 0
    np.testing.assert_allclose(
        path["gap"], apart - apart[:13].mean()
    )  # against the mean of all weeks before
    peer = sm.OLS(apart, np.c_[np.ones(21), post, week * post]).fit()
    half = sps.t.ppf(0.975, 18) * np.sqrt(
        peer.mse_resid * (1 + 1 / 13)
    )  # a single week's gap, had nothing changed
    np.testing.assert_allclose(path["gap_ci_upper"] - path["gap"], half)


def test_the_grey_lines_are_the_controls_against_each_other():
    frame, change = panel(1)
    placebos = compare_before_after(frame, change_at=change, treated="a").placebos
    week = ((frame["day"] - change).dt.days // 7).rename("week")
    value = frame.groupby([week, "segment"])[["n_success", "n"]].sum()
    value = (value["n_success"] / value["n"]).unstack()
    for own in "bcde":  # of equal size
        apart = (value[own] - value[[c for c in "bcde" if c != own]].mean(axis=1)).to_numpy()
        found = placebos.loc[placebos["placebo"] == own, "gap"]
        np.testing.assert_allclose(found, apart - apart[:26].mean(), atol=1e-9)
    alone = compare_before_after(
        frame[frame["segment"] == "a"], change_at=change
    ).placebos  # no controls: earlier dates
    assert (
        alone.groupby("placebo")["day"].min().dt.strftime("%Y-%m-%d") == alone["placebo"].unique()
    ).all() and alone["day"].max() < change


def test_every_rung_is_there_with_its_reason():
    frame, change = panel(1)
    order = [roi.NAIVE, roi.ITS, roi.SYNTHETIC, roi.DID, roi.ARMS]
    result = compare_before_after(frame, change_at=change, treated="a")
    rungs = result.rungs.set_index("rung")
    assert list(rungs.index) == order
    assert rungs["supported"].tolist() == [False, True, False, True, False]
    assert "with 4 controls p cannot fall below 0.20" in rungs.loc[
        roi.SYNTHETIC, "reason"
    ] and np.isnan(rungs.loc[roi.SYNTHETIC, "effect_ci_lower"])
    assert any(c.startswith("The 2 supported comparisons say ") for c in result.caveats)
    alone = compare_before_after(frame[frame["segment"] == "a"], change_at=change).rungs
    assert alone["rung"].tolist() == order
    assert (
        alone.set_index("rung").loc[[roi.SYNTHETIC, roi.DID], "reason"].tolist()
        == [roi.NO_CONTROL] * 2
    )


def test_a_planted_mix_of_many_controls_is_a_supported_synthetic_control():
    week, rng = np.arange(-26, 12), np.random.default_rng(0)
    waves = (
        0.3
        + 0.05 * np.sin(week[:, None] / rng.uniform(1, 6, 24) + rng.uniform(0, 6, 24))
        + 0.001 * rng.normal(size=(38, 24))
    )
    mixed = waves[:, :3] @ [0.5, 0.3, 0.2] + 0.001 * rng.normal(size=38)
    parts = [series_of(mixed + 0.06 * (week >= 0), segment="t")] + [
        series_of(waves[:, j], segment=f"c{j:02d}") for j in range(24)
    ]
    result = compare_before_after(pd.concat(parts), change_at="2025-07-07", treated="t")
    rung = result.rungs.set_index("rung").loc[roi.SYNTHETIC]
    assert (
        rung["supported"]
        and rung["pvalue"] == pytest.approx(1 / 25)
        and rung["effect"] == pytest.approx(0.06, abs=0.003)
    )
    assert rung["effect_ci_lower"] < 0.06 < rung["effect_ci_upper"]
    donors = result.donors.set_index("segment")
    assert (
        donors["weight_share"].reindex(["c00", "c01", "c02"]).min()
        > 2 * donors["weight_share"].drop(["t", "c00", "c01", "c02"]).median()
    )
    mix = np.array([p["value"].to_numpy()[::7] for p in parts])
    gap = mix[0] - donors["weight_share"].to_numpy()[1:] @ mix[1:]
    assert donors.loc["t", "rms_before"] == pytest.approx(np.sqrt(np.mean(gap[:26] ** 2)))
    assert donors["weight_share"].sum() == pytest.approx(1) and donors["gap_ratio"].idxmax() == "t"
    assert abs(donors.loc["c00", "effect_without"] - 0.06) > abs(
        donors.loc["c20", "effect_without"] - 0.06
    )


def segments_of(n_treated, n_control, *, lift=0.05, seed=2):
    """Segments of one size, 13 weeks before and 8 after, a shock of their own at the change.

    The frame, the names of the treated, and every segment's own mean change.
    """
    rng, week, n = np.random.default_rng(seed), np.arange(-13, 8), n_treated + n_control
    move = 0.02 * rng.normal(size=n) + lift * (np.arange(n) < n_treated)
    error = 0.01 * rng.normal(size=(n, 21))
    parts = [
        series_of(0.3 + error[i] + move[i] * (week >= 0), segment=f"s{i:02d}") for i in range(n)
    ]
    values = np.array([p["value"].to_numpy()[::7] for p in parts])
    change = values[:, 13:].mean(axis=1) - values[:, :13].mean(axis=1)
    return pd.concat(parts), [f"s{i:02d}" for i in range(n_treated)], change


@pytest.mark.parametrize(
    ("n_treated", "n_control", "equal_var"), [(12, 20, False), (4, 4, False), (3, 5, True)]
)
def test_segments_are_compared_by_their_own_changes(n_treated, n_control, equal_var):
    frame, treated, change = segments_of(n_treated, n_control, lift=0.1)
    result = compare_before_after(frame, change_at="2025-04-07", treated=treated)
    did = result.rungs.set_index("rung").loc[roi.DID]
    one, other = change[:n_treated], change[n_treated:]
    peer = sps.ttest_ind(one, other, equal_var=equal_var)
    assert did["effect"] == pytest.approx(one.mean() - other.mean())
    ends = peer.confidence_interval()
    assert [did["effect_ci_lower"], did["effect_ci_upper"]] == pytest.approx([*ends])
    assert did["pvalue"] == pytest.approx(peer.pvalue)
    how = f"{'pooled t' if equal_var else 'Welch'}, {peer.df:.0f} degrees of freedom"
    assert f"own changes: {n_treated} treated, {n_control} not ({how})." in result.caveats[0]
    assert any("vary alike" in c for c in result.caveats) == equal_var


def test_segments_count_with_their_users():
    # two treated segments of 900 and 100 users a day, moved by 0.1 and 0.3: 0.12 for a user
    week = np.arange(-13, 8)
    parts = []
    for name, n, move in (("a", 900, 0.1), ("b", 100, 0.3), ("c", 500, 0.01), ("d", 50, -0.01)):
        values = 0.3 + 0.002 * (-1.0) ** week + move * (week >= 0)
        parts.append(series_of(values, segment=name, n=7 * n))
    result = compare_before_after(
        pd.concat(parts), change_at="2025-04-07", treated=["a", "b"], value=1, cost=1
    )
    did = result.rungs.set_index("rung").loc[roi.DID]
    control = (500 * 0.01 - 50 * 0.01) / 550
    assert did["effect"] == pytest.approx(0.12 - control)
    assert result.money["incremental"].iloc[0] == pytest.approx(56 * 1000 * did["effect"])


def test_a_shock_to_one_side_as_a_whole_is_inconclusive():
    # segments move alike with their side, which wanders: by segment all is clear, by week nothing
    week = np.arange(-26, 8)
    walk = 0.03 * noise(4, 34, 0.9)
    walk += (0.08 - walk[26:].mean() + walk[:26].mean()) * (week >= 0)
    rng = np.random.default_rng(0)
    parts = [
        series_of(0.5 + walk * (i < 5) + 0.001 * rng.normal(size=34), segment=f"s{i}")
        for i in range(10)
    ]
    result = compare_before_after(
        pd.concat(parts),
        change_at="2025-07-07",
        treated=[f"s{i}" for i in range(5)],
        money=Money(1, 1),
    )
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["supported"] and did["pvalue"] < 1e-4 and did["verdict"] == "inconclusive"
    assert (result.comparison, result.effect, result.course) == ("supported", "inconclusive", "")
    assert result.verdict == "inconclusive" and "moves as far by itself (p = " in result.details[0]
    assert result.money["value_amount"].isna().all() and "investment" not in result.details[0]
    assert result.path["gain_amount"].isna().all()


@pytest.mark.parametrize(
    ("other", "n_as_far", "verdict"), [(0.0, 1, "shown"), (0.2, 2, "inconclusive")]
)
def test_from_19_controls_on_one_segment_is_ranked_among_them(other, n_as_far, verdict):
    rng, week = np.random.default_rng(4), np.arange(-13, 8)
    shifts = [0.1, *[0.0] * 19, other]
    parts = [
        series_of(0.3 + 0.01 * rng.normal(size=21) + x * (week >= 0), segment=f"s{i:02d}")
        for i, x in enumerate(shifts)
    ]
    values = np.array([p["value"].to_numpy()[::7] for p in parts])
    change = values[:, 13:].mean(axis=1) - values[:, :13].mean(axis=1)
    own = change[0] - change[1:].mean()
    others = [change[i] - np.delete(change[1:], i - 1).mean() for i in range(1, 21)]
    assert 1 + (np.abs(others) >= abs(own)).sum() == n_as_far
    result = compare_before_after(pd.concat(parts), change_at="2025-04-07", treated="s00")
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["placebo_pvalue"] == pytest.approx(n_as_far / 21) and did["effect_ci_lower"] > 0
    assert did["supported"] and did["verdict"] == result.effect == verdict
    assert f"by rank p = {n_as_far / 21:.3f}, place {n_as_far} of 21." in result.caveats[0]
    assert ("p = 0.10 by rank among all 21" in did["reason"]) == (verdict == "inconclusive")


def test_the_seed_draws_the_placebo_pvalue():
    frame, change = series_of(0.3 + 0.01 * noise(5, 50, 0.4), n_pre=40)
    ask = partial(compare_before_after, frame, change_at=change)
    first, again, other = (r.rungs.set_index("rung") for r in (ask(), ask(seed=1), ask(seed=2)))
    pd.testing.assert_frame_equal(first, again)
    one, two = (r.loc[roi.ITS, "placebo_pvalue"] for r in (first, other))
    assert 0 < abs(one - two) < 0.03  # 10,000 draws
    pd.testing.assert_series_equal(first["effect"], other["effect"])


WEEK = np.arange(-20, 12)
COURSES = {
    "held": 0.1 * (WEEK >= 0),
    "grew": (0.02 + 0.01 * WEEK) * (WEEK >= 0),
    "faded": (0.15 - 0.01 * WEEK) * (WEEK >= 0),
    "came late": 0.1 * (WEEK >= 5),
}


@pytest.mark.parametrize("word", COURSES)
@pytest.mark.parametrize("n_control", [0, 4])
def test_the_course_of_an_effect_is_told(word, n_control):
    wiggle = 0.002 * (-1.0) ** WEEK
    controls = [series_of(0.3 + k * wiggle, segment=f"c{k}") for k in range(n_control)]
    treated = series_of(0.2 + 3 * wiggle + COURSES[word], segment="t")
    frame = pd.concat([treated, *controls])
    result = compare_before_after(frame, change_at="2025-05-26", treated="t")
    assert (result.effect, result.course) == ("shown", word)
    (told,) = (t for t in result.details if t.startswith("The effect "))
    assert told.startswith(f"The effect {word}")
    assert {
        "held": "neither growth nor fading is shown",
        "grew": "is more than its mean",
        "faded": "is less than its mean",
        "came late": "in the first 5 weeks hardly any of it is seen",
    }[word] in told


def test_a_course_and_money_are_not_told_where_no_effect_is_shown():
    frame, change = series_of(0.2 + 0.01 * noise(3, 40), n_pre=28)
    result = compare_before_after(frame, change_at=change, money=Money(45, 100))
    assert (result.comparison, result.effect, result.course) == ("supported", "not shown", "")
    assert result.verdict == "supported" and not any("held" in t for t in result.details)
    money = result.money.iloc[0]
    assert np.isfinite(money["incremental"]) and money.filter(like="amount").isna().all()
    assert money.filter(regex="roi|payback|break_even|p_positive").isna().all()


@pytest.mark.parametrize("course", COURSES)
def test_every_comparison_finds_the_mean_of_an_effect_of_any_course(course):
    # 22 segments, so that each rung can be supported; the mean over 12 weeks after is 0.1
    effect = COURSES[course] / COURSES[course][20:].mean() * 0.1
    rng = np.random.default_rng(6)
    parts = [
        series_of(0.4 + 0.004 * rng.normal(size=32) + effect * (i == 0), segment=f"s{i:02d}")
        for i in range(22)
    ]
    result = compare_before_after(pd.concat(parts), change_at="2025-05-26", treated="s00")
    rungs = result.rungs.set_index("rung").loc[[roi.ITS, roi.SYNTHETIC, roi.DID]]
    assert rungs["supported"].all() and (rungs["verdict"] == "shown").all()
    # the error of a line 16 weeks on, from 20 weeks of 0.004, is 0.004
    assert rungs["effect"].tolist() == pytest.approx([0.1] * 3, abs=0.012)
    assert result.path["gap"][20:].mean() == pytest.approx(rungs.loc[roi.DID, "effect"])


def test_an_effect_that_builds_up_slowly_is_no_loss():
    # 10 of 30 segments: 0 to +6 points over 12 weeks, +3.0 on the mean, weeks with rho 0.5
    rng, week = np.random.default_rng(0), np.arange(-26, 12)
    lift = np.where(week < 0, 0, 0.06 * (week + 0.5) / 12)
    parts = [
        series_of(0.18 + 0.006 * noise(s, 38, 0.5) + lift * (s < 10), segment=f"s{s:02d}", n=1400)
        for s in range(30)
    ]
    frame = pd.concat(parts)
    frame["n_success"] = rng.binomial(frame["n"], frame["value"])
    result = compare_before_after(
        frame, change_at="2025-07-07", treated=[f"s{s:02d}" for s in range(10)], value=45, cost=1e5
    )
    rungs = result.rungs.set_index("rung")
    assert rungs.loc[roi.DID, "effect_ci_lower"] < 0.03 < rungs.loc[roi.DID, "effect_ci_upper"]
    assert (rungs.loc[rungs["supported"], "effect"] > 0.02).all()
    assert (result.effect, result.course) == ("shown", "grew")


def test_comparisons_that_show_opposite_effects_are_inconclusive():
    # everything rose by 0.1 at the change, the treated by 0.05 only: their own trend says +, the
    # others say -
    week, rng = np.arange(-26, 8), np.random.default_rng(3)
    parts = [
        series_of(
            0.3 + 0.004 * rng.normal(size=34) + (0.05 if i < 4 else 0.1) * (week >= 0),
            segment=f"s{i}",
        )
        for i in range(10)
    ]
    result = compare_before_after(
        pd.concat(parts),
        change_at="2025-07-07",
        treated=[f"s{i}" for i in range(4)],
        value=1,
        cost=1,
    )
    verdict = result.rungs.set_index("rung")["verdict"]
    assert verdict[roi.ITS] == verdict[roi.DID] == "shown"
    assert (result.comparison, result.effect) == ("supported", "inconclusive")
    assert "two comparisons that contradict each other" in result.details[0]
    assert result.money["roi"].isna().all()


# ----------------------------------------------------------------------------------------- the demo


def test_the_planted_prompts_of_the_demo():
    tables, truth = demo.generate(seed=1, users=8000), demo.truth(seed=1, users=8000)["prompts"]
    events = (
        tables["events"]
        if isinstance(tables["events"], pd.DataFrame)
        else tables["events"].to_pandas()
    )
    log = EventLog.from_frame(
        events[events["event"].isin(["signed_up", "interview_scheduled"])], people=tables["people"]
    )
    series = daily_metric(
        log,
        Rate("interview_scheduled", of="signed_up", window="14d"),
        as_of="2026-11-29",
        by="plan",
    )
    assert series.table["day"].max() == pd.Timestamp("2026-11-15")
    result = compare_before_after(
        series,
        change_at="2026-08-10",
        treated="growth",
        money=Money(45, 4000),
        timeline=tables["timeline"],
    )
    rungs = result.rungs.set_index("rung")
    assert result.effect == "shown" and rungs.loc[roi.DID, "supported"]
    assert (
        rungs.loc[roi.DID, "effect_ci_lower"]
        < truth["lift_rate"]
        < rungs.loc[roi.DID, "effect_ci_upper"]
    )
    assert (
        abs(rungs.loc[roi.DID, "effect"] - truth["lift_rate"])
        < 0.04
        < rungs.loc[roi.NAIVE, "effect"] - truth["lift_rate"] + 0.02
    )
    assert any("late-summer job fair" in c for c in result.caveats)


def test_the_demos_lost_tracking_is_refused():
    tables = demo.generate(seed=1, users=4000)
    events = tables["events"][tables["events"]["event"].isin(["signed_up", "profile_completed"])]
    log = EventLog.from_frame(events, people=tables["people"], backend=tables["backend"])
    series = daily_metric(
        log,
        Rate("profile_completed", of="signed_up", window="7d"),
        as_of="2026-11-29",
        by="event.platform",
    )
    result = compare_before_after(
        series, change_at=demo.TRACKING_LOSS["released"], treated=demo.TRACKING_LOSS["platform"]
    )
    assert result.verdict == "not supported" and "the tracking itself changed" in result.details[0]


# ----------------------------------------------------------------------------------------- pictures


def test_pictures_show_every_week_and_every_rung():
    frame, change = panel(1)
    result = compare_before_after(frame, change_at=change, treated="a")
    figure = plots.plot_before_after(
        result.path, result.placebos, change_at=str(change.date()), kind=result.kind
    )
    top, gaps = figure.axes

    def lines(ax):
        return {tuple(np.round(line.get_ydata(), 9)) for line in ax.lines}

    assert {
        tuple(result.path["observed"].round(9)),
        tuple(result.path["counterfactual"].round(9)),
    } <= lines(top)
    assert {tuple(g.round(9)) for _, g in result.placebos.groupby("placebo")["gap"]} | {
        tuple(result.path["gap"].round(9))
    } <= lines(gaps)
    said = f"\u25b2 the change, {change.day} {change:%B}"
    assert {"seen", "without\nthe change", said} <= {
        t.get_text() for t in top.texts
    } and top.get_legend() is None
    paid = compare_before_after(frame, change_at=change, treated="a", money=Money(45, 12000))
    figure = plots.plot_before_after(paid.path, money=paid.money, change_at=str(change.date()))
    assert tuple(np.r_[0, paid.path["gain_amount"].dropna()].round(6)) in {
        tuple(np.round(line.get_ydata(), 6)) for line in figure.axes[2].lines
    }
    told = {t.get_text() for t in figure.axes[2].texts}
    assert f"paid back on day {paid.money['payback_days'].iloc[0]:.0f}" in told
    assert "cost 12,000\u00a0units of money" in told
    assert [h.name for h in paid.headlines] == ["return", "effect", "paid back"]
    days = paid.money[["payback_days", "payback_days_ci_lower"]].iloc[0]
    unclear = paid.money.assign(roi_ci_lower=-0.1)
    for soonest, words in (
        (days.iloc[1], f" ({days.iloc[1]:.0f} or later)"),
        (np.nan, " (may be chance)"),
    ):
        told = unclear.assign(payback_days_ci_lower=soonest)
        figure = plots.plot_before_after(paid.path, money=told, change_at=str(change.date()))
        assert f"paid back on day {days.iloc[0]:.0f}{words}" in {
            t.get_text() for t in figure.axes[2].texts
        }
    ax = plots.plot_rungs(result.rungs, kind=result.kind)
    known = result.rungs[result.rungs["effect"].notna()]
    assert (
        {t.get_text() for t in ax.get_yticklabels()}
        == set(known["rung"])
        == set(result.rungs["rung"]) - {roi.ARMS}
    )
    assert [t.get_text() for t in ax.texts].count("not supported") == (
        ~known["supported"]
    ).sum() - 1 and [t.get_text() for t in ax.texts].count("no evidence") == 1
    short = compare_before_after(
        frame[frame["day"] >= change - pd.Timedelta("14D")], change_at=change, treated="a"
    )
    plots.plot_before_after(short.path, change_at=str(change.date())).canvas.draw()
