"""Before/after: hand counts, independent recomputation, published numbers, the demo's lift."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as sps

from mctlib import plots
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import DailyMetric, Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.roi import Money, compare_before_after
from mctlib.roi import ladder as roi
from mctlib.roi.weeks import checked, weekly
from mctlib.sources import demo
from mctlib.stats.regression import fieller, fit_ar1
from tests.support.series import ar1


def series_of(weekly, *, n=700, n_pre=None, start="2025-01-06", segment="all", kind="rate"):
    """A daily series whose weeks have these values, and the day of the change after n_pre weeks."""
    days = pd.date_range(start, periods=7 * len(weekly))
    value = np.repeat(np.asarray(weekly, float), 7)
    frame = pd.DataFrame({"day": days, "segment": segment, "n": n // 7, "value": value})
    if kind == "rate":
        frame["n_success"] = value * (n // 7)
    if kind == "count":
        frame["n"] = value
    return frame if n_pre is None else (frame, days[7 * n_pre])


def noise(seed, n, phi=0.0):
    e = np.random.default_rng(seed).normal(size=n + 60)
    for i in range(1, n + 60):
        e[i] += phi * e[i - 1]
    return e[60:]


# --------------------------------------------------------------------------------------- regression


def restricted_loglik(rho, y, x, weight, time):
    """The textbook formula with the whole covariance matrix (error variance profiled out)."""
    v = rho ** np.abs(np.subtract.outer(time, time)) / np.sqrt(np.outer(weight, weight))
    vi = np.linalg.inv(v)
    b = np.linalg.solve(x.T @ vi @ x, x.T @ vi @ y)
    rss = (y - x @ b) @ vi @ (y - x @ b)
    dets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(x.T @ vi @ x)[1]
    return (
        -0.5 * (dets + (len(y) - x.shape[1]) * np.log(rss)),
        b,
        rss / (len(y) - x.shape[1]) * np.linalg.inv(x.T @ vi @ x),
    )


@pytest.mark.parametrize("seed", range(4))
def test_ar1_is_the_restricted_maximum_likelihood_found_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    time = np.flatnonzero(rng.random(45) > 0.1).astype(float)  # with gaps
    x = np.c_[np.ones(len(time)), time, time >= 30]
    weight = rng.integers(20, 200, len(time)).astype(float)
    y = x @ [1, 0.1, 2] + noise(seed, 45, 0.7)[time.astype(int)] / np.sqrt(weight)
    grid = np.linspace(0.001, 0.95, 400)
    logliks = [restricted_loglik(r, y, x, weight, time)[0] for r in grid]
    fit = fit_ar1(y, x, weight, time)
    assert abs(fit.rho - grid[np.argmax(logliks)]) <= 0.95 / 399
    best, coef, cov = restricted_loglik(fit.rho, y, x, weight, time)
    assert best >= max(logliks) - 1e-9
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-8)
    np.testing.assert_allclose(fit.cov, cov, rtol=1e-7)
    assert fit.df == pytest.approx(max(len(time) * (1 - fit.rho) / (1 + fit.rho) - 3, 2))


def test_without_autocorrelation_it_is_weighted_least_squares():
    time = np.arange(40.0)
    x = np.c_[np.ones(40), time, time >= 25]
    weight = np.linspace(50, 300, 40)
    y = x @ [1, 0.1, 2] + 0.3 * (-1) ** time  # alternating: negatively correlated, so rho is 0
    fit, peer = fit_ar1(y, x, weight, time), sm.WLS(y, x, weights=weight).fit()
    assert fit.rho == 0 and fit.df == 37
    np.testing.assert_allclose(fit.coef, peer.params, rtol=1e-10)
    np.testing.assert_allclose(fit.cov, peer.cov_params(), rtol=1e-9)
    np.testing.assert_allclose(
        fit.contrast(np.array([0, 0, 1.0]))[1:], [peer.bse[2], peer.pvalues[2]], rtol=1e-9
    )


def test_fieller_solves_its_equation():
    for value, v, cost, w in [
        (500, 80**2, 300, 60**2),
        (500, 80**2, 300, 0.0),
        (-100, 80**2, 300, 30**2),
    ]:

        def gap(r, value=value, v=v, cost=cost, w=w):
            return (value - r * cost) ** 2 - 1.96**2 * (v + r**2 * w)

        middle = value / cost
        expected = (
            optimize.brentq(gap, middle - 50, middle),
            optimize.brentq(gap, middle, middle + 50),
        )
        assert fieller(value, v, cost, w, 1.96) == pytest.approx(expected)
    assert np.isnan(fieller(500, 80**2, 300, 160**2, 1.96)).all()  # cost not told apart from 0


# --------------------------------------------------------------------------------------- the ladder


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


def panel(seed, *, lift=0.15, n_pre=26, n_post=12, n=400, drift=0.004, controls="bcde", apart=0.0):
    """Daily binomial panel that drifts up; "a" gets the lift and drifts `apart` faster a week."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2025-01-06", periods=7 * (n_pre + n_post))
    week = np.arange(len(days)) // 7
    parts = []
    for s, level in zip("a" + controls, np.linspace(0.15, 0.35, 1 + len(controls))):
        p = level + drift * week + (apart * week + lift * (week >= n_pre) if s == "a" else 0)
        parts.append(
            pd.DataFrame(
                {"day": days, "segment": s, "n": n // 7, "n_success": rng.binomial(n // 7, p)}
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(value=frame["n_success"] / frame["n"]), days[7 * n_pre]


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


# ----------------------------------------------------------------------------------------- refusals


def test_a_short_history_is_descriptive_only():
    frame, change = series_of(0.2 + 0.01 * noise(1, 20) + 0.1 * (np.arange(20) >= 11), n_pre=11)
    result = compare_before_after(frame, change_at=change)
    assert result.verdict == "not supported" and not result.rungs["supported"].any()
    assert "descriptive only: 11 whole weeks before and 9 after" in result.finding
    assert result.money["incremental"].isna().all() and len(result.path) == 20


def test_groups_that_drifted_apart_before_are_no_control():
    frame, change = panel(2, apart=0.008, drift=0)
    result = compare_before_after(frame, change_at=change, treated="a")
    rungs = result.rungs.set_index("rung")
    assert not rungs.loc[roi.DID, "supported"] and "drifted apart" in rungs.loc[roi.DID, "reason"]
    assert (
        rungs.loc[roi.ITS, "supported"]
        and "Not used was difference-in-differences: treated and control drifted apart"
        in result.finding
    )


def test_placebo_dates_that_look_alike_make_it_inconclusive():
    # what happened after the change happened before without one: twelve weeks nearly as high, half
    # a year earlier
    week = np.arange(78)
    bump = 0.04 * ((week >= 30) & (week < 42)) + 0.05 * (week >= 65)
    frame, change = series_of(0.3 + bump + 0.01 * noise(3, 78), n_pre=65)
    result = compare_before_after(frame, change_at=change)
    its = result.rungs.set_index("rung").loc[roi.ITS]
    assert its["pvalue"] < 0.05 < its["placebo_pvalue"] and not its["supported"]
    assert (
        result.verdict == "inconclusive"
        and result.finding.startswith("Inconclusive")
        and "placebo dates" in result.finding
    )
    assert any(
        "placebo dates look like effects although nothing changed: "
        "on this series it sees effects too easily" in c
        for c in result.caveats
    )


def test_placebo_pvalue_counted_naively():
    values = 0.3 + 0.01 * noise(5, 70, 0.4) + 0.02 * (np.arange(70) >= 60)
    frame, change = series_of(values, n_pre=60)

    def fit(part, n_pre, rho=None):
        time = np.arange(len(part)) - float(n_pre)
        post = time >= 0
        x = np.c_[np.ones(len(part)), time, post, time * post]
        found = fit_ar1(part, x, np.full(len(part), 700.0), time, rho=rho)
        return *found.contrast(np.array([0, 0, 1, time[post].mean()])), found.rho

    ends = [(60, 70), *((start, start + 10) for start in range(12, 51))]
    found = [fit(values[:end], start) for start, end in ends]
    pvalue = np.array([f[2] for f in found])
    n_extreme = (pvalue[1:] <= pvalue[0]).sum()
    # what the estimate of each date makes of a week of 1 among weeks of 0, then of weeks of noise
    weights = np.array(
        [
            [
                fit(week[:end], start, rho=f[3])[0] if week[:end].any() else 0.0
                for week in np.eye(70)
            ]
            for (start, end), f in zip(ends, found)
        ]
    )
    effect = np.abs(ar1(np.random.default_rng(8), (20_000, 70), found[0][3]) @ weights.T)
    effect /= np.sqrt((effect**2).mean(axis=0))
    expected = ((effect[:, 1:] >= effect[:, :1]).sum(axis=1) <= n_extreme).mean()
    assert expected > 1.1 * (1 + n_extreme) / 40
    assert compare_before_after(frame, change_at=change).rungs.set_index("rung").loc[
        roi.ITS, "placebo_pvalue"
    ] == pytest.approx(expected, abs=0.015)


TIMELINE = pd.DataFrame(
    {
        "day": ["2025-03-03", "2025-03-10", "2020-01-01", "2025-03-11"],
        "kind": ["competitor", "release", "release", "release"],
        "label": ["rival", "new SDK", "old", "other"],
        "micro_conversions": [None, "booked", None, "unrelated"],
        "note": [None, "tracking rewritten", "tracking", "tracking"],
    }
)


def test_weeks_that_do_not_differ_support_nothing():
    nothing = pd.concat([series_of(np.zeros(24), segment=s) for s in "ab"])
    result = compare_before_after(nothing, change_at="2025-04-07", treated="a")
    assert result.verdict == "not supported" and "do not differ at all" in result.finding


@pytest.mark.parametrize("kind", ["rate", "count", "mean"])
@pytest.mark.parametrize("level", [0.1, 1 / 3, 0.25, 1.0])
def test_a_level_that_never_moves_supports_nothing_for_all_rounding(kind, level):
    result = compare_before_after(
        series_of(np.full(50, level), kind=kind), change_at="2025-10-13", money=Money(1, 1)
    )
    assert (
        result.verdict == "not supported"
        and "do not differ at all" in result.finding
        and not any("break even" in c for c in result.caveats)
    )


def test_controls_that_are_the_treated_support_nothing_against_them():
    own = series_of(0.2 + 0.01 * noise(2, 50) + 0.05 * (np.arange(50) >= 40), segment="t")
    result = compare_before_after(
        pd.concat([own, *(own.assign(segment=s) for s in "abc")]),
        change_at="2025-10-13",
        treated="t",
        money=Money(1, 1),
    )
    rungs = result.rungs.set_index("rung")
    assert (
        not rungs.loc[[roi.DID, roi.STRUCTURAL], "supported"].any()
        and (
            rungs.loc[[roi.DID, roi.STRUCTURAL], "reason"].str.contains("do not differ at all")
        ).all()
    )
    assert rungs.loc[roi.ITS, "supported"] and rungs.loc[roi.ITS, "effect"] == pytest.approx(
        0.05, abs=0.02
    )  # its own trend can still be told


def test_an_exact_trend_is_no_effect_and_has_no_price():
    result = compare_before_after(
        series_of(np.linspace(0.1, 0.3, 50)), change_at="2025-10-13", money=Money(1, 1)
    )
    assert result.rungs.set_index("rung").loc[roi.ITS, "effect"] == 0 and result.finding.startswith(
        "No effect of the change"
    )
    assert (
        np.isnan(result.money["break_even_value_amount"].iloc[0])
        and result.money["roi"].iloc[0] == -1
    )


def test_controls_without_a_level_are_said_to_have_none():
    own = series_of(100 + noise(1, 50), segment="t", kind="count")
    empty = [series_of(np.zeros(50), segment=s, kind="count") for s in "ab"]
    elsewhere = [
        series_of(100 + noise(k, 20), segment=str(k), kind="count", start="2020-01-06")
        for k in (3, 4)
    ]
    for others in (empty, elsewhere):
        rungs = compare_before_after(
            pd.concat([own, *others]), change_at="2025-10-13", treated="t"
        ).rungs.set_index("rung")
        assert (
            rungs.loc[[roi.DID, roi.STRUCTURAL], "reason"]
            .str.contains("no level to compare with")
            .all()
        )
        assert (
            "none has them" in rungs.loc[roi.SYNTHETIC, "reason"]
            and rungs.loc[roi.ITS, "supported"]
        )


def test_a_missing_day_of_a_count_is_not_taken_for_zero():
    full = series_of(np.full(50, 100.0), kind="count")
    weekdays = full[(full["day"] < "2025-10-13") | (full["day"].dt.dayofweek < 5)]
    with pytest.raises(DataError, match="row for every day.*; 2025-10-18 of segment all has none"):
        compare_before_after(weekdays, change_at="2025-10-13")
    late = series_of(
        np.full(30, 50.0), kind="count", start="2025-05-29", segment="late"
    )  # a segment that comes on a Thursday: its own whole weeks only
    daily = checked(DailyMetric.of(pd.concat([full, late])))
    weeks, _ = weekly(daily, pd.Timestamp("2025-10-13"), "count")
    own = weeks[weeks["segment"] == "late"]
    assert (own["total"] == 350).all() and own["week"].min() == -19 and (own["n"] == 7).all()
    sparse = series_of(np.full(50, 0.2) + 0.01 * noise(3, 50))[
        ::2
    ]  # users of a rate are there or not
    assert compare_before_after(sparse, change_at="2025-10-13").rungs["effect"].notna().any()


def test_a_timeline_is_read_as_people_write_it():
    frame, change = panel(1)

    fair = {"day": pd.Timestamp("2025-03-04").date(), "kind": "campaign", "label": "fair"}

    def ask(**entry):
        release = {"day": "2025-03-03", "kind": "release", "label": "new SDK"} | entry
        timeline = pd.DataFrame([fair, release])
        return compare_before_after(frame, change_at=change, treated="a", timeline=timeline)

    assert (
        "Coincidence, not cause: release on 2025-03-03, new SDK." in ask().caveats
        and ask().verdict == "supported"
    )
    assert ask(kind="Outage", label="TRACKING lost").verdict == "not supported"
    assert "Coincidence, not cause: release on 2025-03-03." in ask(label=np.nan).caveats
    with pytest.raises(DataError, match='timeline: day: "soon" is not a day'):
        ask(day="soon")
    with pytest.raises(DataError, match='timeline: column "kind" is missing'):
        compare_before_after(
            frame, change_at=change, treated="a", timeline=TIMELINE.drop(columns="kind")
        )


def test_segments_may_be_numbers_named_twice_or_empty():
    frame, change = panel(1, controls="b")
    numbered = frame.assign(segment=frame["segment"].map({"a": 1, "b": 2}))
    expected = compare_before_after(frame, change_at=change, treated="a").rungs["effect"]
    for treated in (1, [1, "1"], np.int64(1)):
        pd.testing.assert_series_equal(
            compare_before_after(numbered, change_at=change, treated=treated).rungs["effect"],
            expected,
        )
    nameless = compare_before_after(
        frame.assign(segment=frame["segment"].map({"a": "a"})), change_at=change, treated="a"
    )
    assert "against (none);" in nameless.finding and "nan" not in nameless.finding


def test_one_is_not_many():
    values = 0.2 + 0.01 * noise(1, 40)
    assert (
        "1 day at the ends that does not fill a week counted from the change is left out."
        in compare_before_after(series_of(values)[6:], change_at="2025-09-01").caveats
        + compare_before_after(series_of(values)[:-6], change_at="2025-09-01").caveats
    )
    short = compare_before_after(series_of(values[:2]), change_at="2025-01-13")
    assert "1 whole week before and 1 after the change are too few" in short.finding


def test_timeline_entries_are_coincidences_and_a_tracking_change_refuses():
    frame, change = panel(1)
    frame["events"] = "signed_up, booked"
    result = compare_before_after(frame, change_at=change, treated="a", timeline=TIMELINE)
    assert (
        result.verdict == "not supported"
        and "the tracking itself changed on 2025-03-10 (new SDK)" in result.finding
    )
    assert [c for c in result.caveats if c.startswith("Coincidence")] == [
        "Coincidence, not cause: competitor on 2025-03-03, rival.",
        "Coincidence, not cause: release on 2025-03-10, new SDK.",
    ]
    assert (
        compare_before_after(frame, change_at=change, treated="a", timeline=TIMELINE[:1]).verdict
        == "supported"
    )


@pytest.mark.parametrize(("share", "verdict"), [(0.68, "not supported"), (0.99, "supported")])
def test_tracking_that_moved_with_the_change_refuses_every_verdict(share, verdict):
    frame, change = panel(1)
    frame["n_checked"] = frame["n_success"]
    frame["n_tracked"] = (
        np.where((frame["day"] >= change) & (frame["segment"] == "a"), share, 1.0)
        * frame["n_checked"]
    )
    result = compare_before_after(frame, change_at=change, treated="a")
    assert result.verdict == verdict and result.rungs["supported"].any() == (verdict == "supported")
    said = (
        "of the successes the server knows, the events hold 100.0 % before the change and "
        f"{100 * share:.1f} % after it"
    )
    assert ("the tracking itself changed: " + said in result.finding) == (
        verdict == "not supported"
    )
    assert any(
        c == f"O{said[1:]}, 100.0 % before the change and 100.0 % after it (controls)."
        for c in result.caveats
    )


def test_errors_name_the_parameter():
    frame, change = panel(1)
    for message, options in [
        ("cost: -1 must be 0 or more", {"cost": -1}),
        ("cost: .* must be 0 or more", {"cost": (5, -1)}),
        ("value: -45 must be 0 or more", {"value": -45}),
        ("margin: 2 must be", {"margin": 2}),
        ("cost: '500' must be", {"cost": "500"}),
        (r"cost: \(1, 2, 3\) must be .*mean, standard deviation", {"cost": (1, 2, 3)}),
        ("value: '45' must be", {"value": "45"}),
    ]:
        with pytest.raises(ParameterError, match=message):
            Money(**options)
    for message, options in [
        ('treated: "A" is not a segment.*Did you mean "a"', {"treated": "A"}),
        ("none both", {"treated": "a", "control": ["a", "b"]}),
        ("no whole week before or after", {"change_at": "2024-01-01"}),
    ]:
        with pytest.raises(ParameterError, match=message):
            compare_before_after(frame, **{"change_at": change} | options)
    with pytest.raises(DataError, match='column "value" is missing'):
        compare_before_after(frame.rename(columns={"value": "values"}), change_at=change)
    with pytest.raises(DataError, match="twice"):
        compare_before_after(pd.concat([frame, frame]), change_at=change)
    for message, columns in [
        ('"x" is not a day', {"day": "x"}),
        ("a row has no day", {"day": pd.NaT}),
        ('"value" must hold numbers', {"value": "a"}),
    ]:
        with pytest.raises(DataError, match=message):
            compare_before_after(frame.assign(**columns), change_at=change)
    with pytest.raises(DataError, match="n_success between"):
        compare_before_after(frame.assign(n_success=1000), change_at=change)


# -------------------------------------------------------------------------------------------- money


def test_money_by_hand():
    week = np.arange(-14, 7)
    frame, change = series_of(np.where(week >= 0, 0.3, 0.2) + 0.004 * (-1.0) ** week, n_pre=14)
    result = compare_before_after(frame, change_at=change, money=Money(10, 1000, 0.5))
    its, money = result.rungs.set_index("rung").loc[roi.ITS], result.money.iloc[0]
    assert money["n"] == 4900 and money["incremental"] == pytest.approx(4900 * its["effect"])
    assert money["value_amount"] == pytest.approx(4900 * its["effect"] * 5)
    assert money["roi"] == pytest.approx((money["value_amount"] - 1000) / 1000)
    assert money["roi_ci_lower"] == pytest.approx((4900 * its["effect_ci_lower"] * 5 - 1000) / 1000)
    assert money["roi_ci_upper"] == pytest.approx((money["value_amount_ci_upper"] - 1000) / 1000)
    gap = result.path["gap"][14:].to_numpy()
    paid = next(
        d for d in range(1, 50) if 5 * 100 * sum(gap[(k - 1) // 7] for k in range(1, d + 1)) >= 1000
    )  # 100 users a day
    assert (
        money["payback_days"] == paid
        and money["payback_days_ci_lower"] <= paid <= money["payback_days_ci_upper"]
    )
    assert result.path["gain_amount"].iloc[-1] == pytest.approx(money["value_amount"])
    ends = result.path[["gain_amount_ci_lower", "gain_amount_ci_upper"]].iloc[-1].tolist()
    assert ends == pytest.approx(money[["value_amount_ci_lower", "value_amount_ci_upper"]].tolist())
    assert money["break_even_effect"] == pytest.approx(1000 / (4900 * 5)) and money[
        "break_even_value_amount"
    ] == pytest.approx(1000 / (4900 * its["effect"] * 0.5))
    assert money["break_even_days"] == pytest.approx(49 * 1000 / money["value_amount"])
    assert (
        "at 10 a success, 50 % of it kept, and a cost of 1,000, a return on investment of"
        in result.finding
    )
    dear = compare_before_after(frame, change_at=change, money=Money(10, 5000, 0.5))
    assert (
        np.isnan(dear.money["payback_days"].iloc[0])
        and "not paid back within the data" in dear.finding
    )
    unsure = compare_before_after(frame, change_at=change, money=Money(10, (1000, 800), 0.5))
    assert (
        unsure.money[["roi_ci_lower", "roi_ci_upper"]].isna().all(axis=None)
        and "not estimable" in unsure.finding
    )
    assert unsure.money["p_positive"].iloc[0] < money["p_positive"]


def test_days_are_counted_from_the_change_whatever_rows_are_missing():
    week = np.arange(-14, 7)
    frame, change = series_of(np.where(week >= 0, 0.3, 0.2) + 0.004 * (-1.0) ** week, n_pre=14)
    money = Money(10, 1000, 0.5)
    since = (frame["day"] - change).dt.days
    lost = since.isin([0, 2, 9])
    sparse = compare_before_after(frame[~lost], change_at=change, money=money)
    empty = frame.assign(n=frame["n"].mask(lost, 0), n_success=frame["n_success"].mask(lost, 0))
    full = compare_before_after(empty, change_at=change, money=money)
    pd.testing.assert_frame_equal(sparse.money, full.money)
    pd.testing.assert_frame_equal(sparse.path, full.path)
    assert sparse.money["payback_days"].iloc[0] > 7


def test_a_series_that_was_saved_and_read_again_gives_the_same_answer(tmp_path):
    frame, change = panel(1)
    frame = frame.assign(metric="the share", kind="rate", events="booked", n_pending=1470)
    frame.to_csv(tmp_path / "series.csv", index=False)
    ask = {"change_at": change, "treated": "a", "timeline": TIMELINE[:1]}
    expected = compare_before_after(DailyMetric(frame), **ask)
    found = compare_before_after(pd.read_csv(tmp_path / "series.csv"), **ask)
    assert found.metric == "the share" and "1,470 of the newest users" in " ".join(found.caveats)
    assert (found.finding, found.caveats) == (expected.finding, expected.caveats)
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table)


def test_a_cost_that_was_covered_and_lost_again_is_not_paid_back():
    values = np.r_[0.2 + 0.005 * noise(1, 40), 0.3, [0.12] * 7]
    frame, change = series_of(values, n_pre=40)
    result = compare_before_after(frame, change_at=change, money=Money(10, 300))
    assert result.money["payback_days"].iloc[0] <= 7 and result.money["roi"].iloc[0] < -1
    assert (
        f"it covered its cost by day {result.money['payback_days'].iloc[0]:.0f} but lost it again."
        in result.finding
        and "paid back" not in result.finding
    )
    texts = [
        t.get_text()
        for t in plots.plot_before_after(
            result.path, money=result.money, change_at=str(change.date())
        )
        .axes[2]
        .texts
    ]
    assert any(t.startswith("covered its cost by day") for t in texts) and not any(
        "paid back" in t for t in texts
    )


@pytest.mark.parametrize("given_", [{}, {"value": 45}, {"cost": 12000}])
def test_without_a_value_or_a_cost_only_the_extra_successes_are_given(given_):
    frame, change = panel(1)
    result = compare_before_after(frame, change_at=change, treated="a", money=Money(**given_))
    money = result.money.iloc[0]
    assert len(result.money) == 1 and money["incremental"] > 0
    assert (
        money.filter(like="amount").isna().all()
        and money[["roi", "roi_ci_lower", "roi_ci_upper", "payback_days", "p_positive"]]
        .isna()
        .all()
    )
    assert (
        "investment" not in result.finding
        and "In the weeks seen" not in result.finding
        and "p_positive" not in " ".join(result.caveats)
    )


def test_a_free_change_has_a_value_but_no_return():
    frame, change = panel(1)
    result = compare_before_after(frame, change_at=change, treated="a", money=Money(45, 0))
    money = result.money.iloc[0]
    assert (
        money["value_amount"] == pytest.approx(45 * money["incremental"])
        and money["cost_amount"] == 0
        and money["p_positive"] > 0.99
    )
    assert money[["roi", "roi_ci_lower", "roi_ci_upper", "payback_days"]].isna().all()
    assert (
        "successes and, at 45 a success and a cost of 0, "
        f"a value of {money['value_amount']:,.0f} (95 % interval" in result.finding
    )
    assert any(
        c.startswith("The cost is 0: a return on investment is not defined") for c in result.caveats
    )
    costly = compare_before_after(frame, change_at=change, treated="a", money=Money(45, 12000))
    assert "at 45 a success and a cost of 12,000, a return on investment of" in costly.finding


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
