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
from mctlib.roi import ladder as roi
from mctlib.sources import demo
from mctlib.stats.regression import fit_ar1
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
    assert "too few to fit anything" in result.finding and "no evidence" in result.finding
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
    assert "percentage points" in result.finding and "No control group" in " ".join(result.caveats)


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


def test_difference_in_differences_by_hand():
    week = np.arange(-13, 8)
    wiggle = 0.01 * (-1.0) ** week
    treated = series_of(0.2 + wiggle + 0.1 * (week >= 0), segment="t")
    control = series_of(0.3 + 0.002 * week, segment="c")
    result = compare_before_after(
        pd.concat([treated, control]), change_at="2025-04-07", treated="t"
    )
    gap = treated["value"].to_numpy()[::7] - control["value"].to_numpy()[::7]
    weeks_post = week >= 0
    peer = sm.OLS(gap, np.c_[np.ones(21), weeks_post]).fit()
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert did["effect"] == pytest.approx(gap[weeks_post].mean() - gap[~weeks_post].mean())
    assert [did["effect_ci_lower"], did["effect_ci_upper"]] == pytest.approx(
        list(peer.conf_int()[1])
    )
    assert (
        result.finding.startswith("The change of 2025-04-07 moved the metric for t by +")
        and "against c;" in result.finding
    )


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
    control = pd.concat([series_of(300 * season, segment=s, kind="count") for s in "cd"])
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
    assert "a day" in result.finding


def test_permutation_ranks_the_treated_among_all_segments():
    frame, change = panel(1)
    caveats = " ".join(compare_before_after(frame, change_at=change, treated="a").caveats)
    assert caveats.startswith(
        "5 segments are too few for a permutation to tell (p at best 0.20): the interval rests on "
        "the weeks alone, as an interrupted series' does; "
        "of all 5 ways to pick 1 of them as treated the real one ranks 1."
    )


def test_control_segments_without_users_in_most_weeks_are_not_taken_as_treated():
    # as in a log of fines: 21 and 6 users in segments of their own, most weeks empty, none of them
    # after the change
    frame, change = panel(1, controls="bcd")
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
        "Not taken as if treated: small and tiny; "
        "with users in fewer than 12 weeks before or 6 after"
        in caveats
        and "of all 4 ways" in caveats
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
        and "0 after the change are too few to fit anything" in did["reason"]
    )
    assert (
        alone.verdict == "supported" and "Not used was difference-in-differences" in alone.finding
    )  # by its own trend


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
    missing = result.rungs[result.rungs["effect"].isna()]
    assert (
        not missing["supported"].any() and (result.rungs["reason"] != "").all() and result.finding
    )
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
            "No placebo date fits before the change (20 are wanted) for interrupted time series: "
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
    control = series_of(0.3 + 0.002 * week, segment="c")
    path = compare_before_after(
        pd.concat([treated, control]), change_at="2025-04-07", treated="t"
    ).path
    apart = treated["value"].to_numpy()[::7] - control["value"].to_numpy()[::7]
    np.testing.assert_allclose(
        path["gap"], apart - apart[:13].mean()
    )  # against the mean of all weeks before
    peer = sm.OLS(apart, np.c_[np.ones(21), week >= 0]).fit()
    half = sps.t.ppf(0.975, 19) * np.sqrt(
        peer.mse_resid * (1 + 1 / 13)
    )  # a single week's gap, had nothing changed
    np.testing.assert_allclose(path["gap_ci_upper"] - path["gap"], half)


def test_the_grey_lines_are_the_controls_against_each_other():
    frame, change = panel(1, controls="bc")
    placebos = compare_before_after(frame, change_at=change, treated="a").placebos
    value = (
        frame.assign(week=(frame["day"] - change).dt.days // 7)
        .groupby(["week", "segment"])[["n_success", "n"]]
        .sum()
    )
    value = (value["n_success"] / value["n"]).unstack()
    apart = (value["b"] - value["c"]).to_numpy()
    np.testing.assert_allclose(
        placebos.loc[placebos["placebo"] == "b", "gap"],
        apart
        - fit_ar1(
            apart, np.c_[np.ones(38), np.arange(38) >= 26], np.ones(38), np.arange(38.0)
        ).coef[0],
        atol=1e-9,
    )
    alone = compare_before_after(
        frame[frame["segment"] == "a"], change_at=change
    ).placebos  # no controls: earlier dates
    assert (
        alone.groupby("placebo")["day"].min().dt.strftime("%Y-%m-%d") == alone["placebo"].unique()
    ).all() and alone["day"].max() < change


def test_every_rung_is_there_with_its_reason():
    frame, change = panel(1)
    order = [roi.NAIVE, roi.ITS, roi.STRUCTURAL, roi.SYNTHETIC, roi.DID, roi.ARMS]
    result = compare_before_after(frame, change_at=change, treated="a")
    rungs = result.rungs.set_index("rung")
    assert list(rungs.index) == order
    assert rungs["supported"].tolist() == [False, True, True, False, True, False]
    assert "with 4 controls p cannot fall below 0.20" in rungs.loc[
        roi.SYNTHETIC, "reason"
    ] and np.isnan(rungs.loc[roi.SYNTHETIC, "effect_ci_lower"])
    assert any(c.startswith("The 3 supported comparisons say ") for c in result.caveats)
    alone = compare_before_after(frame[frame["segment"] == "a"], change_at=change).rungs.set_index(
        "rung"
    )
    # without controls a level is weaker than a trend
    order = [roi.NAIVE, roi.STRUCTURAL, roi.ITS, roi.SYNTHETIC, roi.DID, roi.ARMS]
    assert list(alone.index) == order
    assert alone.loc[[roi.SYNTHETIC, roi.DID], "reason"].tolist() == [roi.NO_CONTROL] * 2


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


def test_many_segments_are_clusters():
    rng, week = np.random.default_rng(2), np.arange(-13, 8)
    shock = 0.02 * rng.normal(
        size=32
    )  # moves every segment at the change, treated or not: errors that only clustering sees
    parts = [
        series_of(
            0.3 + 0.01 * rng.normal(size=21) + (shock[i] + 0.05 * (i < 12)) * (week >= 0),
            segment=f"s{i:02d}",
        )
        for i in range(32)
    ]
    names = [f"s{i:02d}" for i in range(12)]
    result = compare_before_after(pd.concat(parts), change_at="2025-04-07", treated=names)
    did = result.rungs.set_index("rung").loc[roi.DID]
    values = np.array([p["value"].to_numpy()[::7] for p in parts])
    change = values[:, 13:].mean(axis=1) - values[:, :13].mean(axis=1)
    welch = sps.ttest_ind(change[:12], change[12:], equal_var=False)
    assert did["effect"] == pytest.approx(
        welch.statistic * np.sqrt(change[:12].var(ddof=1) / 12 + change[12:].var(ddof=1) / 20),
        abs=2e-3,
    )
    half = (welch.confidence_interval().high - welch.confidence_interval().low) / 2
    assert did["effect_ci_upper"] - did["effect"] == pytest.approx(half) and any(
        "clustered by segment: 12 treated, 20 not" in c for c in result.caveats
    )


def test_several_treated_segments_are_permuted_together():
    frame, change = panel(1)
    caveats = " ".join(compare_before_after(frame, change_at=change, treated=["a", "b"]).caveats)
    assert "of all 10 ways to pick 2 of them as treated" in caveats and "p at best 0.10" in caveats


def shifted(shifts, n_treated, noise_sd=0.01):
    """Segments s00, s01, ..., the first ones treated; each moves by its own shift at the change.

    The frame, the names of the treated, and every segment's own mean change.
    """
    rng, week = np.random.default_rng(4), np.arange(-13, 8)
    parts = [
        series_of(0.3 + noise_sd * rng.normal(size=21) + shift * (week >= 0), segment=f"s{i:02d}")
        for i, shift in enumerate(shifts)
    ]
    values = np.array([p["value"].to_numpy()[::7] for p in parts])
    return (
        pd.concat(parts),
        [f"s{i:02d}" for i in range(n_treated)],
        values[:, 13:].mean(axis=1) - values[:, :13].mean(axis=1),
    )


@pytest.mark.parametrize(("other", "n_as_far", "verdict"), [(0.0, 1, True), (0.2, 2, False)])
def test_of_few_segments_the_pvalue_is_that_of_a_permutation(other, n_as_far, verdict):
    frame, treated, change = shifted([0.1, *[0.0] * 19, other], 1)
    apart = np.abs(change - [np.delete(change, i).mean() for i in range(21)])
    assert (apart >= apart[0]).sum() == n_as_far
    did = (
        compare_before_after(frame, change_at="2025-04-07", treated=treated)
        .rungs.set_index("rung")
        .loc[roi.DID]
    )
    assert (
        did["pvalue"] == pytest.approx(n_as_far / 21)
        and did["supported"] == verdict
        and did["effect_ci_lower"] > 0
    )
    assert (
        "other choices of segments moved as clearly without any change (permutation p = 0.095)"
        in did["reason"]
    ) != verdict


def test_of_two_halves_a_permutation_cannot_be_sure():
    frame, treated, _ = shifted([0.1] * 3 + [0.0] * 3, 3)
    result = compare_before_after(frame, change_at="2025-04-07", treated=treated)
    did = result.rungs.set_index("rung").loc[roi.DID]
    assert (
        did["pvalue"] == 2 / 20
        and not did["supported"]
        and did["reason"]
        == "6 segments are too few for a permutation to be surer (permutation p = 0.100)"
    )
    assert "the real one ranks 2 (p = 0.100; the smallest possible is 0.100)" in result.caveats[0]


def test_the_seed_draws_the_placebo_and_the_permutation_pvalues():
    frame, treated, _ = shifted([0.0] * 20, 3, noise_sd=0.02)
    ask = partial(compare_before_after, frame, change_at="2025-04-07", treated=treated)
    first, again, other = (r.rungs.set_index("rung") for r in (ask(), ask(seed=1), ask(seed=2)))
    pd.testing.assert_frame_equal(first, again)
    assert (
        0 < abs(first.loc[roi.DID, "pvalue"] - other.loc[roi.DID, "pvalue"]) < 0.1
    )  # 1,000 draws of 1,140 ways
    pd.testing.assert_series_equal(first["effect"], other["effect"])


def test_an_effect_that_fades_is_said_to_fade():
    week = np.arange(-20, 12)
    fading = 0.2 + (0.15 - 0.01 * week) * (week >= 0) + 0.004 * (-1.0) ** week

    control = series_of(np.full(32, 0.3), segment="c")

    def told(values):
        frame = pd.concat([series_of(values, segment="t"), control])
        result = compare_before_after(frame, change_at="2025-05-26", treated="t")
        return " ".join(result.caveats)

    slope = np.polyfit(week[20:], fading[20:], 1)[0]
    assert f"The effect faded by {100 * slope:+.1f} percentage points (95 % interval" in told(
        fading
    ) and "less than its mean" in told(fading)
    assert "neither fading nor growth is shown" in told(
        0.2 + 0.1 * (week >= 0) + 0.004 * (-1.0) ** week
    )


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
        as_of="2026-07-05",
        by="plan",
    )
    assert series.table["day"].max() == pd.Timestamp("2026-06-21")
    result = compare_before_after(
        series,
        change_at="2026-04-06",
        treated="growth",
        money=Money(45, 4000),
        timeline=tables["timeline"],
    )
    rungs = result.rungs.set_index("rung")
    assert result.verdict == "supported" and rungs.loc[roi.DID, "supported"]
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
    assert any("spring job fair" in c for c in result.caveats)


def test_the_demos_lost_tracking_is_refused():
    tables = demo.generate(seed=1, users=4000)
    events = tables["events"][tables["events"]["event"].isin(["signed_up", "profile_completed"])]
    log = EventLog.from_frame(events, people=tables["people"], backend=tables["backend"])
    series = daily_metric(
        log,
        Rate("profile_completed", of="signed_up", window="7d"),
        as_of="2026-07-05",
        by="event.platform",
    )
    result = compare_before_after(
        series, change_at=demo.TRACKING_LOSS["released"], treated=demo.TRACKING_LOSS["platform"]
    )
    assert result.verdict == "not supported" and "the tracking itself changed" in result.finding


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
    assert {"observed", "without\nthe change", f"change {change.date()}"} <= {
        t.get_text() for t in top.texts
    } and top.get_legend() is None
    paid = compare_before_after(frame, change_at=change, treated="a", money=Money(45, 12000))
    figure = plots.plot_before_after(paid.path, money=paid.money, change_at=str(change.date()))
    assert tuple(np.r_[0, paid.path["gain_amount"].dropna()].round(6)) in {
        tuple(np.round(line.get_ydata(), 6)) for line in figure.axes[2].lines
    }
    assert {f"paid back on day {paid.money['payback_days'].iloc[0]:.0f}", "cost 12 k"} <= {
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
