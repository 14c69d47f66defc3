"""Did a change move a rate, a count or a mean, against what would have happened anyway, and did it pay?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import DataError, ParameterError, as_timestamp, nearest
from mctlib.roi import estimators as cf
from mctlib.roi.estimators import MIN_POST, MIN_PRE

N_PLACEBO = (
    20  # placebo dates wanted: among fewer, even unrelated ones, the most extreme date has p > 0.05
)
ALPHA = 0.05
NAIVE, ITS, STRUCTURAL = "before/after", "interrupted time series", "structural time series"
HAC = f"{ITS}, Newey-West"
SYNTHETIC, DID, ARMS = "synthetic control", "difference-in-differences", "randomised arms"
MOST_ALARMS = 0.1  # share of placebo dates with p < 0.05 above which a reader is warned
TRACKING_MOVED = (
    0.02  # change of the tracked share of the server's records that is more than carelessness
)
UNCHECKED = "its false-alarm rate could not be checked on this series"
NO_CONTROL = "no control segment is given"


@dataclass(frozen=True)
class _Rung:
    """One comparison: its estimate and whether the data carry it ("yes", "no", "inconclusive")."""

    rung: str
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    base: float = np.nan
    se: float = np.nan
    df: float = np.nan
    pvalue: float = np.nan
    placebo_pvalue: float = np.nan
    carries: Literal["yes", "no", "inconclusive"] = "no"
    reason: str = ""
    path: pd.DataFrame = field(default_factory=pd.DataFrame)
    placebos: pd.DataFrame = field(
        default_factory=partial(pd.DataFrame, columns=["placebo", "day", "gap"])
    )
    cov: np.ndarray = field(
        default_factory=partial(np.zeros, (0, 0))
    )  # of the gaps of the weeks after
    sigma2: float = np.nan
    n_placebo: int = 0
    n_alarms: int = 0  # placebo dates with p < 0.05

    def row(self) -> dict[str, Any]:
        """Its line in `BeforeAfter.rungs`."""
        return {
            "rung": self.rung,
            "effect": self.effect,
            "effect_ci_lower": self.low,
            "effect_ci_upper": self.high,
            "rel_effect": self.effect / self.base if self.base > 0 else np.nan,
            "pvalue": self.pvalue,
            "placebo_pvalue": self.placebo_pvalue,
            "supported": self.carries == "yes",
            "reason": self.reason,
        }

    def with_errors(self, se: float, df: float, pvalue: float) -> _Rung:
        """The same with another standard error."""
        half = _critical(df) * se
        return replace(
            self, se=se, df=df, pvalue=pvalue, low=self.effect - half, high=self.effect + half
        )


def _critical(df: float) -> float:
    """Of a 95 % interval by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - ALPHA / 2))


def _path(weeks: pd.DataFrame, counterfactual: Any = np.nan, band: Any = np.nan) -> pd.DataFrame:
    """`BeforeAfter.path`, the money not yet in it."""
    path = (
        weeks[["start", "n", "observed"]]
        .rename(columns={"start": "day"})
        .reset_index(drop=True)
        .assign(
            counterfactual=counterfactual,
            counterfactual_ci_lower=counterfactual - band,
            counterfactual_ci_upper=counterfactual + band,
        )
    )
    gap = path["observed"] - counterfactual
    return path.assign(gap=gap, gap_ci_lower=gap - band, gap_ci_upper=gap + band)


def _gaps(placebo: str, weeks: pd.DataFrame, counterfactual: np.ndarray) -> pd.DataFrame:
    """Rows of `BeforeAfter.placebos`."""
    return pd.DataFrame(
        {"placebo": placebo, "day": weeks["start"], "gap": weeks["y"] - counterfactual}
    )


def _rung(
    rung: str,
    weeks: pd.DataFrame,
    estimator: cf.Estimator,
    *,
    refused: str,
    seed: int,
    min_pre: int,
    min_post: int,
) -> _Rung:
    """A rung from its weekly series (index week; y, weight, n, observed, start), its placebo dates with these weeks at least."""
    if weeks.empty:
        return _Rung(
            rung,
            reason="the controls have no users before the change in weeks in which the treated have any, so there is no level to compare with",
        )
    n_pre, n_post = int((weeks.index < 0).sum()), int((weeks.index >= 0).sum())
    found = estimator(weeks)
    if found is None:
        return _Rung(
            rung,
            reason=f"{_many(n_pre, 'whole week')} before and {n_post} after the change are too few to fit anything",
        )
    nothing = 1e-10 * weeks["observed"].abs().max()  # what differs by less differs by rounding
    effect = found.effect if abs(found.effect) > nothing else 0.0
    counterfactual = (
        weeks["observed"].to_numpy(float) - weeks["y"].to_numpy(float) + found.counterfactual
    )
    path = _path(weeks, counterfactual, _critical(found.df) * np.sqrt(np.diag(found.cov)))
    after = weeks.index >= 0
    base = float(np.average(weeks["observed"][after], weights=weeks["n"][after])) - effect
    tried = cf.placebo_dates(weeks, estimator, min_pre=min_pre, min_post=min_post, wanted=N_PLACEBO)
    extreme = sum(p.extremity <= found.extremity for _, p in tried)
    pvalues = cf.placebo_pvalues(found, [p for _, p in tried], seed=seed) if tried else [np.nan]
    placebo = float(pvalues[extreme])
    told = f"{_many(n_pre, 'week')} before, {n_post} after; {found.told}; " + (
        _many(len(tried), "placebo date")
        if tried
        else f"no placebo date fits before the change, so {UNCHECKED}"
    )
    carries, reason = "yes", told
    if refused:
        carries, reason = "no", refused
    elif n_pre < MIN_PRE or n_post < MIN_POST:
        carries, reason = (
            "no",
            (
                f"descriptive only: {_many(n_pre, 'whole week')} before and {n_post} after the change, "
                f"at least {MIN_PRE} and {MIN_POST} are needed"
            ),
        )
    elif np.ptp(weeks["observed"] - weeks.get("control", 0.0)) <= nothing:
        carries, reason = "no", "the weeks do not differ at all, so nothing says how sure this is"
    elif found.pvalue < ALPHA and tried and placebo > max(ALPHA, pvalues[0]):
        carries, reason = (
            "inconclusive",
            (
                f"the model says p = {found.pvalue:.3f}, but of {_many(len(tried), 'placebo date')}, when nothing changed, "
                f"{extreme} look{'s' if extreme == 1 else ''} as extreme (placebo p = {placebo:.2f})"
            ),
        )
    gaps = [
        _gaps(f"{w['start'][0]:%Y-%m-%d}", w, p.counterfactual).loc[0:] for w, p in tried
    ]  # week 0 is the placebo date
    return _Rung(
        rung,
        effect,
        base=base,
        placebo_pvalue=placebo,
        carries=carries,
        reason=reason,
        path=path,
        cov=found.cov[np.ix_(after, after)],
        placebos=pd.concat(gaps, ignore_index=True) if gaps else _Rung(rung).placebos,
        sigma2=found.sigma2,
        n_placebo=len(tried),
        n_alarms=sum(p.pvalue < ALPHA for _, p in tried),
    ).with_errors(found.se, found.df, found.pvalue)


def _many(n: int, what: str) -> str:
    """1 week, 2 weeks."""
    return f"{n} {what}{'' if n == 1 else 's'}"


# --------------------------------------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class BeforeAfter:
    """Result of `compare_before_after`, which says what the columns mean."""

    rungs: pd.DataFrame
    path: pd.DataFrame
    placebos: pd.DataFrame
    donors: pd.DataFrame
    money: pd.DataFrame
    verdict: Literal["supported", "inconclusive", "not supported"]
    finding: str
    caveats: tuple[str, ...]


def compare_before_after(
    series: pd.DataFrame,
    *,
    change_at: Any,
    treated: str | Sequence[str] | None = None,
    control: str | Sequence[str] | None = None,
    value: float | None = None,
    cost: float | tuple[float, float] | None = None,
    margin: float = 1.0,
    timeline: pd.DataFrame | None = None,
    seed: int = 1,
) -> BeforeAfter:
    """Effect of a change on a daily metric, up a ladder of comparisons, and the money it made.

    ``series``: what `daily_metric` returns, or any frame with day, n, value (rates: n_success; several segments: segment). With n_success it is
    a rate, with value = n everywhere a daily count (a row for every day, 0 where nobody came), else a mean. ``change_at``: first UTC day of the
    change. ``treated``: segments that got it, taken together (None: all that are not controls). ``control``: segments that did not (None: all others
    of a named ``treated``; () for none).
    ``value``: money per extra success (counts: per extra user-day; means: per extra unit); ``margin``: share of it that is kept. ``cost``: money
    spent on the change (0: it was free), or (mean, sd) where it is an estimate. ``seed``: of the draws behind placebo_pvalue and permutations.
    ``timeline``: what else happened (day, kind, label; micro_conversions, note). Every verdict is refused by a release or outage that touches the
    metric and whose label or note says "tracking", and, where ``series`` has n_checked and n_tracked, by a change of their ratio of 2 points or more
    whose interval leaves out 0; other entries of the timeline are listed as coincidences.

    Days are added up to whole weeks counted from ``change_at``; days outside a whole week at either end are left out. Effects are in the units
    of the metric (a rate's 0.17 is 17 percentage points; a count's are per day): observed minus counterfactual, averaged over the weeks after
    the change with the weights n, not the jump at the change alone. All intervals 95 %.

    ``rungs``, weakest first: rung, effect + ci, rel_effect (effect / what would have been), pvalue, placebo_pvalue, supported, reason.
      before/after: all before against all after; Newcombe's interval for rates, else weighted weekly values. Never supported.
      interrupted time series, Newey-West: the next one by least squares with HAC errors. A sensitivity row, never supported.
      interrupted time series: change of level and slope, weighted by n, AR(1) errors by REML (`fit_ar1`).
      structural time series: local level, with the pooled controls as regressor where there are any; of a free and a pinned level the one with the
        wider interval (`structural`). Without controls it knows no trend and stands below the interrupted series.
      synthetic control: the mix of controls that follows the treated best before the change (shares of 0 or more that add up to 1; counts scaled to
        one level); p is the rank of its gap among those of the controls, each against the others. Below 19 controls no interval, never supported.
      difference-in-differences: the errors of the interrupted series on treated minus control, a change of level. Controls keep the shares of n they
        had before the change, so that their mix cannot move the result; counts are scaled to the treated level. Refused when the difference drifted
        before the change (joint F test of a linear and a quadratic trend; the caveats say what drift it could have found). With 10 treated segments
        and 30 in all the errors are clustered by segment. With fewer, pvalue is that of a permutation of the treated segments, and above 0.05 it makes
        an interval without 0 inconclusive. With fewer than 20 ways to pick the treated, pvalue and interval rest on the weeks alone, as reason and
        caveats say.
      randomised arms: a pointer to `compare_arms`.
    A rung is supported with at least 12 weeks before and 6 after the change, unless its weeks do not differ at all (from the controls', where they
    count) or the model finds an effect that placebo dates contradict: placebo_pvalue, the chance that with no change so few placebo dates would look
    as extreme (`placebo_pvalues`: dates share weeks, so it is larger than (1 + those as extreme) / (1 + all), which it would be for unrelated ones),
    above 0.05 and above its minimum. Where no placebo date fits, it stays supported, and reason and caveats say that its false alarms could not be
    checked. A rung that cannot be computed is a row of NaN with its reason. Segments without users in 12 weeks before and 6 after are left out of permutations. rel_effect is NaN where
    what would have been is not above 0.
    ``path``: day (first of the week), n, observed, counterfactual + ci (a band for 95 % of the weeks had nothing changed; a rate's are cut off
    at 0 and 1), gap + ci (observed minus counterfactual: the event study of the difference-in-differences, measured from the mean of all weeks
    before, as a single week would put its noise into all others), gain_amount + ci (value brought by the end of the week), of the highest supported
    rung, or the highest computed (before/after has no counterfactual: NaN). ``attrs`` for the pictures: kind (rate, count, mean), metric (in words).
    ``placebos``: placebo, day, gap of that rung where nothing changed: the control segments, each against the others, else the placebo dates.
    ``donors``: segment (the treated first), weight_share in the synthetic control, rms_before (root mean square of the gap before, in units of the
    metric; counts: at the treated level: how well the mix of the others follows the segment), gap_ratio (root mean square of the gap after / before, the
    segment as if treated), effect_without (the synthetic control's effect with the segment left out).
    ``money``, one row for the highest supported rung (NaN without): rung, n (exposed in the weeks after the change; counts: days), incremental
    (effect x n) + ci, value_amount + ci, cost_amount, roi + ci ((value - cost) / cost, Fieller's interval; NaN = not estimable, or a cost of 0),
    payback_days + ci (first day on which the gain so far covers the cost, which a later loss may undo; 1 = the day of the change; NaN = not within
    these weeks, or nothing to pay back; infinite = never within them), p_positive (that value exceeds cost; normal approximation), and what would have to be true to break
    even: break_even_effect (at the users and value seen), break_even_value_amount (a success, at the effect seen), break_even_days (the effect must last).
    Without a value or without a cost all but n and incremental are NaN, and the finding says nothing on money.
    Raises DataError: a column or a count's day is missing, a value is impossible; ParameterError: an unknown segment, a change outside the data, a
    negative cost or value.
    """
    daily, kind = cf.checked(series)
    metric = series.attrs.get("metric", "the metric")
    day = as_timestamp(change_at, "change_at").tz_localize(None).normalize()
    treated, control = _sides(daily, treated, control)
    spent = (cost, 0.0) if pd.api.types.is_scalar(cost) else tuple(cost)
    if cost is not None and not (
        len(spent) == 2 and all(isinstance(c, Real) and 0 <= c < np.inf for c in spent)
    ):
        raise ParameterError(
            f"cost: {cost!r} must be 0 or more, a number or (mean, standard deviation)."
        )
    cost_mean, cost_sd = spent
    cf.check_money(value, margin)
    units, left_out = cf.weekly(daily, day, kind)
    own = cf.pooled(units[units["segment"].isin(treated)], kind)
    weeks = own.rename(columns={"value": "observed"}).assign(
        y=own["value"], weight=own["n"], start=day + pd.to_timedelta(own.index * 7, unit="D")
    )[own["n"] > 0]
    if not (weeks.index < 0).any() or not (weeks.index >= 0).any():
        raise ParameterError(
            f"change_at: {day:%Y-%m-%d} leaves no whole week before or after it; the data run from "
            f"{daily['day'].min():%Y-%m-%d} to {daily['day'].max():%Y-%m-%d}."
        )
    last = weeks["start"].max() + pd.Timedelta("6D")
    coincidences, refused = _coincidences(
        timeline, weeks["start"].min(), last, day, series.attrs.get("events", ())
    )
    lost, complete = _completeness(daily, day, treated, control)
    refused, coincidences = refused or lost, complete + coincidences
    its = _rung(
        ITS,
        weeks,
        partial(cf.regression, design=cf.trend),
        refused=refused,
        seed=seed,
        min_pre=MIN_PRE,
        min_post=MIN_POST,
    )
    against = _against(units, own, weeks, control, kind) if control else weeks
    level = weeks if not control else against.assign(y=against["observed"], weight=against["n"])
    structural = _rung(
        STRUCTURAL,
        level,
        cf.structural,
        refused=refused,
        seed=seed,
        min_pre=MIN_PRE // 2,
        min_post=MIN_POST // 2,
    )
    synthetic, donors = _synthetic(units, weeks, treated, control, kind, refused, seed)
    did, caveats = _difference(units, own, weeks, against, treated, control, kind, refused, seed)
    rungs = [
        _before_after(weeks, kind),
        *([_newey_west(weeks, its)] if np.isfinite(its.effect) else []),
        *([its, structural] if control else [structural, its]),
        synthetic,
        did,
        _Rung(
            ARMS,
            reason="nothing here says that chance decided who got the change; where it did, comparing the arms is stronger than all above",
        ),
    ]
    best = next((r for r in reversed(rungs) if r.carries == "yes"), None)
    shown = best or next(r for r in reversed(rungs) if len(r.path))
    verdict = (
        "supported"
        if best
        else "inconclusive"
        if any(r.carries == "inconclusive" for r in rungs)
        else "not supported"
    )
    exposed = (
        daily[daily["segment"].isin(treated) & daily["day"].between(day, last)]
        .groupby("day")["n"]
        .sum()
    )
    exposed = exposed.clip(1, 1) if kind == "count" else exposed
    gain = _gain(best, exposed, np.nan if value is None or cost is None else value * margin)
    money = _money(best, exposed, gain, value, cost_mean, cost_sd, margin)
    if best:
        caveats += _steadiness(best, against if best is did else weeks, kind) + _agreement(
            rungs, kind
        )
    if money["break_even_effect"].notna().iloc[0]:
        caveats.append(_break_even(money.iloc[0], kind))
    if left_out:
        caveats.append(
            f"{_many(left_out, 'day')} at the ends that {'does' if left_out == 1 else 'do'} not fill a week counted from the change "
            f"{'is' if left_out == 1 else 'are'} left out."
        )
    if n := series.attrs.get("n_pending"):
        caveats.append(
            f"{n:,} of the newest users or events are left out: their outcome is not known yet."
        )
    p = weeks["observed"].mean()
    if kind == "rate" and np.isfinite(its.sigma2) and 0 < p < 1:
        caveats.append(
            f"Weekly rates vary {its.sigma2 / (p * (1 - p)):.1f} times as much as binomial chance (variance, around the trend); "
            "only the before/after interval ignores it."
        )
    judged = best or next((r for r in reversed(rungs) if r.carries == "inconclusive"), None)
    if judged and judged.n_placebo < N_PLACEBO:
        n, wanted = judged.n_placebo, f"before the change ({N_PLACEBO} are wanted)"
        caveats.append(
            f"Only {_many(n, 'placebo date')} fit{'s' if n == 1 else ''} {wanted}: the false-alarm check is weak."
            if n
            else f"No placebo date fits {wanted} for {judged.rung}: {UNCHECKED}."
        )
    if judged and judged.n_alarms > max(1, MOST_ALARMS * judged.n_placebo):
        caveats.append(
            f"By {judged.rung}, {judged.n_alarms} of {_many(judged.n_placebo, 'placebo date')} look like effects although nothing changed: "
            "on this series it sees effects too easily."
        )
    if kind == "rate":
        band = list(shown.path.filter(like="counterfactual"))
        if ((shown.path["counterfactual"] < 0) | (shown.path["counterfactual"] > 1)).any():
            caveats.append(
                "What would have been runs below 0 or above 1 in some weeks: there a straight line does not describe this share, "
                "and .path is cut off at 0 and 1."
            )
        shown.path[band] = shown.path[band].clip(0, 1)
    if not control:
        caveats.append(
            "No control group: anything else that happened at the change is part of the effect."
        )
    if cost_mean == 0 and np.isfinite(money["value_amount"].iloc[0]):
        caveats.append(
            "The cost is 0: a return on investment is not defined, and there is nothing to pay back."
        )
    table = pd.DataFrame([r.row() for r in rungs])
    by_week = gain.groupby(
        day + (gain.index - day) // pd.Timedelta("7D") * pd.Timedelta("7D")
    ).last()
    path = shown.path.merge(by_week, how="left", left_on="day", right_index=True)
    table.attrs = path.attrs = {
        "kind": kind,
        "metric": metric,
        "cost_amount": money["cost_amount"].iloc[0],
        "payback_days": money["payback_days"].iloc[0],
    }
    kept = f", {100 * margin:g} % of it kept," if margin < 1 else ""
    each = {"rate": "success", "count": "user-day", "mean": "unit"}[kind]
    sd = f" (standard deviation {cost_sd:,.10g})" if cost_sd else ""
    assumed = (
        ""
        if value is None or cost is None
        else f"at {value:,.10g} a {each}{kept} and a cost of {cost_mean:,.10g}{sd}"
    )
    finding = _finding(
        rungs, best, verdict, money.iloc[0], assumed, kind, metric, day, treated, control
    )
    return BeforeAfter(
        table, path, shown.placebos, donors, money, verdict, finding, tuple(caveats + coincidences)
    )


def _sides(
    daily: pd.DataFrame,
    treated: str | Sequence[str] | None,
    control: str | Sequence[str] | None,
) -> tuple[list[str], list[str]]:
    """Treated and control segments, checked."""
    known = sorted(daily["segment"].unique())
    sides = [
        None
        if s is None
        else list(dict.fromkeys(map(str, [s] if pd.api.types.is_scalar(s) else s)))
        for s in (treated, control)
    ]
    for name, side in zip(("treated", "control"), sides):
        for word in side or ():
            if word not in known:
                raise ParameterError(
                    f'{name}: "{word}" is not a segment of the series ({", ".join(known)}).{nearest(word, known)}'
                )
    if sides[0] is None:
        sides = [[s for s in known if s not in (sides[1] or ())], sides[1] or []]
    elif sides[1] is None:
        sides[1] = [s for s in known if s not in sides[0]]
    if not sides[0] or set(sides[0]) & set(sides[1]):
        raise ParameterError(
            "treated, control: at least one segment must be treated, and none both."
        )
    return sides[0], sides[1]


def _before_after(weeks: pd.DataFrame, kind: str) -> _Rung:
    """Rung 1."""
    from statsmodels.stats.proportion import proportions_ztest

    after, before = weeks[weeks.index >= 0], weeks[weeks.index < 0]
    n, n_0, k, k_0 = (
        after["n"].sum(),
        before["n"].sum(),
        after["total"].sum(),
        before["total"].sum(),
    )
    effect, base = k / n - k_0 / n_0, k_0 / n_0
    low = high = pvalue = np.nan
    if kind == "rate":
        low, high = stats.newcombe(k, n, k_0, n_0)
        pvalue = (
            float(proportions_ztest([k, k_0], [n, n_0])[1]) if 0 < k + k_0 < n + n_0 else np.nan
        )
    elif len(weeks) > 2:
        fit, c, _ = cf.fit(weeks, cf.level, rho=0.0)
        effect, se, pvalue = fit.contrast(c)
        low, high = effect - _critical(fit.df) * se, effect + _critical(fit.df) * se
    return _Rung(
        NAIVE,
        effect,
        low,
        high,
        base,
        pvalue=pvalue,
        path=_path(weeks),
        reason="credits the change with every trend, season and coincidence; its interval takes weeks for independent",
    )


def _newey_west(weeks: pd.DataFrame, its: _Rung) -> _Rung:
    """Sensitivity row: least squares with HAC errors, lag floor(4 (n / 100)^(2/9))."""
    from statsmodels.regression.linear_model import WLS

    week = weeks.index.to_numpy(float)
    _, c, _ = cf.fit(weeks, cf.trend, rho=0.0)
    lag = int(4 * (len(weeks) / 100) ** (2 / 9))
    fit = WLS(
        weeks["y"].to_numpy(float), cf.trend(week)[0], weights=weeks["weight"].to_numpy(float)
    ).fit(cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": True}, use_t=True)
    test = fit.t_test(c)
    effect, (low, high) = float(np.squeeze(test.effect)), np.ravel(test.conf_int())
    return _Rung(
        HAC,
        effect,
        float(low),
        float(high),
        its.base + its.effect - effect,
        pvalue=float(np.squeeze(test.pvalue)),
        reason=f"sensitivity only (lag {lag}): these errors are too small on short series",
    )


def _against(
    units: pd.DataFrame, own: pd.DataFrame, weeks: pd.DataFrame, control: Sequence[str], kind: str
) -> pd.DataFrame:
    """Weekly treated minus control, in the form `_rung` reads, and the control itself."""
    others = units[units["segment"].isin(control)]
    if kind == "count":
        pooled = cf.pooled(others, kind)["value"]
        before = own.index[own.index < 0]
        other, weight = (
            pooled * own["value"][before].mean() / pooled.reindex(before).mean(),
            own["n"],
        )
    else:
        share = others[others["week"] < 0].groupby("segment")["n"].sum()
        others = others[others["n"] > 0]
        w = others["segment"].map(share).fillna(0.0)
        sums = (
            others.assign(w=w, wy=w * others["total"] / others["n"])
            .groupby("week")[["w", "wy", "n"]]
            .sum()
        )
        other, weight = sums["wy"] / sums["w"], 1 / (1 / own["n"] + 1 / sums["n"])
    other = other.reindex(weeks.index)
    out = weeks.assign(
        y=weeks["observed"] - other, weight=weight.reindex(weeks.index), control=other
    )
    return out[np.isfinite(out["y"]) & (out["weight"] > 0)]


def _whole(units: pd.DataFrame, segments: Sequence[str]) -> list[str]:
    """The segments with users in at least 12 weeks before and 6 after."""
    seen = units[units["segment"].isin(segments) & (units["n"] > 0)]
    before, after = (
        seen[side].groupby("segment").size().reindex(segments, fill_value=0)
        for side in (seen["week"] < 0, seen["week"] >= 0)
    )
    return [s for s in segments if before[s] >= MIN_PRE and after[s] >= MIN_POST]


def _changes(
    units: pd.DataFrame, treated: Sequence[str], segments: Sequence[str], kind: str
) -> pd.DataFrame:
    """index segment; change (after minus before; counts: relative, at the treated segments' level), weight (inverse of its sampling variance), treated."""
    sums = units[units["segment"].isin(segments)].assign(
        side=np.where(units.loc[units["segment"].isin(segments), "week"] < 0, "before", "after")
    )
    n, total = (
        sums.pivot_table(index="segment", columns="side", values=c, aggfunc="sum")
        for c in ("n", "total")
    )
    value, size = total / n, total if kind == "count" else n
    change = value["after"] - value["before"]
    if kind == "count":
        change = change / value["before"] * value.loc[value.index.isin(treated), "before"].sum()
    out = pd.DataFrame(
        {
            "change": change,
            "weight": 1 / (1 / size["before"] + 1 / size["after"]),
            "treated": value.index.isin(treated),
        }
    )
    return out[np.isfinite(out["change"]) & (out["weight"] > 0)]


def _difference(
    units: pd.DataFrame,
    own: pd.DataFrame,
    weeks: pd.DataFrame,
    gap: pd.DataFrame,
    treated: Sequence[str],
    control: Sequence[str],
    kind: str,
    refused: str,
    seed: int,
) -> tuple[_Rung, list[str]]:
    """Difference-in-differences and what must be said beside it."""
    if not control:
        return _Rung(DID, reason=NO_CONTROL), []
    did = _rung(
        DID,
        gap,
        partial(cf.regression, design=cf.level),
        refused=refused,
        seed=seed,
        min_pre=MIN_PRE // 2,
        min_post=MIN_POST // 2,
    )
    if not np.isfinite(did.effect) or (gap.index < 0).sum() < MIN_PRE:
        return did, []
    pretrend, blind = _pretrend(gap)
    notes = [
        f"Parallel trends before the change: p = {pretrend:.2f} (joint test of a linear and a quadratic drift); a drift adding "
        f"up to less than {_words(blind, kind, signed=False)} would probably go unnoticed."
    ]
    if pretrend < ALPHA and not refused:
        told = (
            f"treated and control drifted apart before the change (p = {pretrend:.3f}, joint test)"
        )
        did = replace(did, carries="no", reason=told)
    alone = cf.regression(gap.assign(y=gap["control"]), design=cf.trend)
    if alone is not None and np.isfinite(alone.pvalue):
        half = _critical(alone.df) * alone.se
        notes.append(
            f"Against their own trend the controls moved by {_span(alone.effect, alone.effect - half, alone.effect + half, kind)}; if the change reached them, "
            "the effect is understated."
        )
    usable = _whole(units, [*treated, *control])
    left_out = [s for s in control if s not in usable]
    if left_out:
        notes.append(
            f"Not taken as if treated: {', '.join(left_out[:5])}{f' and {len(left_out) - 5} more' if len(left_out) > 5 else ''}; with users in "
            f"fewer than {MIN_PRE} weeks before or {MIN_POST} after they say nothing."
        )
    each = (
        _changes(units, treated, usable, kind)
        if usable
        else pd.DataFrame({"treated": []}, dtype=bool)
    )
    if each["treated"].all() or not each["treated"].any():
        return did, notes
    did, told = _by_segment(did, each, seed)
    spaces = [
        _as_treated(units, weeks, s, [t for t in control if t != s], kind)
        for s in control
        if s in usable and (~each["treated"]).sum() > 1
    ]
    return replace(
        did, placebos=pd.concat(spaces, ignore_index=True) if spaces else did.placebos
    ), [told, *notes]


def _by_segment(did: _Rung, each: pd.DataFrame, seed: int) -> tuple[_Rung, str]:
    """Difference-in-differences judged by its segments (`_changes`), and what must be said of that.

    Many: clustered errors. Fewer: the p-value of a permutation. So few that no permutation could be rare: that of the weeks.
    """
    change, weight, treated = (each[c].to_numpy() for c in ("change", "weight", "treated"))
    if cf.many_units(treated):
        _, se, df, p = cf.clustered(
            change, weight, treated
        )  # of its own effect: the weeks' one, which weighs the weeks by their autocorrelation, would reject more often
        return did.with_errors(
            se, df, p
        ), f"Errors are clustered by segment: {treated.sum()} treated, {(~treated).sum()} not."
    p, ways = cf.permutation(change, weight, treated, seed=seed)
    least = (
        2 if 2 * treated.sum() == len(treated) else 1
    ) / ways  # of two halves either may be the treated one: every difference is there twice
    ranks = f"of {'all ' if ways < cf.MOST_DRAWS else ''}{ways:,} ways to pick {treated.sum()} of them as treated the real one ranks {round(p * ways)}"
    if 1 / ways > ALPHA:
        few = (
            f"{len(each)} segments are too few for a permutation to tell (p at best {least:.2f}): the interval rests on the weeks alone, "
            "as an interrupted series' does"
        )
        return replace(
            did, reason=f"{did.reason}; {few}" if did.carries == "yes" else did.reason
        ), f"{few}; {ranks}."
    if did.carries == "yes" and p > ALPHA and (did.low > 0 or did.high < 0):
        other = (
            "other choices of segments moved as clearly without any change"
            if p > least
            else f"{len(each)} segments are too few for a permutation to be surer"
        )
        did = replace(did, carries="inconclusive", reason=f"{other} (permutation p = {p:.3f})")
    return replace(did, pvalue=p), (
        f"{len(each)} segments are too few for clustered errors, so the p-value is that of a permutation: {ranks} "
        f"(p = {p:.3f}; the smallest possible is {least:.3f})."
    )


def _pretrend(gap: pd.DataFrame) -> tuple[float, float]:
    """P-value of no drift before the change (joint F test of a linear and a quadratic one), and the drift by the middle of the weeks after that the test would
    find with a power of 80 % (Roth 2022)."""
    from scipy.special import fdtrc

    before = gap[gap.index < 0]
    week = before.index.to_numpy(float)
    y, weight = before["y"].to_numpy(float), before["weight"].to_numpy(float)
    curve = stats.fit_ar1(y, np.c_[np.ones(len(week)), week, week**2], weight, week)
    wald = float(curve.coef[1:] @ np.linalg.pinv(curve.cov[1:, 1:]) @ curve.coef[1:]) / 2
    line = stats.fit_ar1(y, np.c_[np.ones(len(week)), week], weight, week)
    distance = np.average(gap.index[gap.index >= 0], weights=gap["n"][gap.index >= 0]) - week.mean()
    return float(fdtrc(2, curve.df, wald)), 2.8 * np.sqrt(
        line.cov[1, 1]
    ) * distance  # 80 % power at 5 %: (1.96 + 0.84) standard errors


def _as_treated(
    units: pd.DataFrame, weeks: pd.DataFrame, unit: str, control: Sequence[str], kind: str
) -> pd.DataFrame:
    """Gaps of a segment that had no change against the other ones that had none."""
    own = cf.pooled(units[units["segment"] == unit], kind)
    own = own[own["n"] > 0]
    rows = _against(
        units,
        own,
        weeks.reindex(own.index).assign(observed=own["value"], n=own["n"]).dropna(subset=["start"]),
        control,
        kind,
    )
    return _gaps(unit, rows, cf.regression(rows, design=cf.level).counterfactual)


def _synthetic(
    units: pd.DataFrame,
    weeks: pd.DataFrame,
    treated: Sequence[str],
    control: Sequence[str],
    kind: str,
    refused: str,
    seed: int,
) -> tuple[_Rung, pd.DataFrame]:
    """Synthetic control and `BeforeAfter.donors`."""
    empty = pd.DataFrame(
        columns=["segment", "weight_share", "rms_before", "gap_ratio", "effect_without"]
    )
    values = (
        units[units["n"] > 0]
        .assign(y=units["total"] / units["n"])
        .pivot(index="week", columns="segment", values="y")
        .reindex(weeks.index)
    )
    if (
        kind == "count"
    ):  # in per cent of their own level, as it were: a weighted mean of smaller segments cannot reach a larger one
        before = values.index < 0
        values = values * weeks["observed"][before].mean() / values[before].mean()
    donors = [s for s in control if s in values and np.isfinite(values[s]).all()]
    if len(donors) < 2:
        needed = (
            "counts in every week and users before the change"
            if kind == "count"
            else "users in every week"
        )
        return _Rung(
            SYNTHETIC,
            reason=f"it needs two control segments with {needed}, {len(donors) or 'none'} has them"
            if control
            else NO_CONTROL,
        ), empty
    joined = weeks.join(values[donors].rename(columns=lambda s: f"donor {s}"))
    names, min_pre = (
        [f"donor {s}" for s in donors],
        max(MIN_PRE // 2, len(donors) + 2),
    )  # before fewer weeks than donors some mix fits anything
    rung = _rung(
        SYNTHETIC,
        joined,
        partial(cf.synthetic, donors=names),
        refused=refused,
        seed=seed,
        min_pre=min_pre,
        min_post=MIN_POST // 2,
    )
    if not np.isfinite(rung.effect):
        return rung, empty
    own, others, without = cf.synthetic_units(joined, names)
    if rung.carries == "yes":
        smallest = 1 / (1 + len(donors))
        if smallest > ALPHA:
            rung = replace(
                rung,
                carries="no",
                reason=f"ranks {round(rung.pvalue / smallest)} of {1 + len(donors)} by how far the gap opened; with {len(donors)} "
                f"controls p cannot fall below {smallest:.2f}, so it is a picture and no test",
            )
        elif own.rms_before > max(u.rms_before for u in others):
            rung = replace(
                rung,
                carries="no",
                reason="no mix of the controls follows it before the change: each of them is followed better by the others",
            )
        elif not rung.se > 0:
            rung = replace(
                rung, carries="no", reason="no constant effect fits the weeks after the change"
            )
    after = (joined.index >= 0) * joined["n"]
    table = pd.DataFrame(
        {
            "segment": [", ".join(treated), *donors],
            "weight_share": [np.nan, *own.weight],
            "rms_before": [own.rms_before, *(u.rms_before for u in others)],
            "gap_ratio": [own.ratio, *(u.ratio for u in others)],
            "effect_without": [np.nan, *(np.average(u.gap, weights=after) for u in without)],
        }
    )
    gaps = [_gaps(s, joined.assign(y=u.gap), 0.0) for s, u in zip(donors, others)]
    return replace(rung, placebos=pd.concat(gaps, ignore_index=True)), table


def _coincidences(
    timeline: pd.DataFrame | None,
    first: pd.Timestamp,
    last: pd.Timestamp,
    change: pd.Timestamp,
    events: Sequence[str],
) -> tuple[list[str], str]:
    """Sentences on what else happened within the weeks compared, and the reason to refuse a verdict ("" = none)."""
    said, refused = [], ""
    entries = pd.DataFrame(columns=["day", "kind", "label"]) if timeline is None else timeline
    for column in ("day", "kind", "label"):
        if column not in entries:
            raise DataError(
                f'timeline: column "{column}" is missing; it takes day, kind, label.{nearest(column, entries.columns)}'
            )
    for entry in (
        entries.assign(day=cf.days(entries["day"], "timeline: day"))
        .sort_values("day")
        .to_dict("records")
    ):
        kind, label, note, touched = (
            entry[c] if isinstance(entry.get(c), str) else ""
            for c in ("kind", "label", "note", "micro_conversions")
        )
        day, kind, touched = (
            entry["day"],
            kind.strip().lower() or "entry",
            {w.strip() for w in touched.split(",")} - {""},
        )
        elsewhere = touched and events and not touched & set(events)
        if not first <= day <= last or elsewhere or (kind == "intervention" and day == change):
            continue
        if kind in ("release", "outage") and "tracking" in f"{label} {note}".lower():
            refused = f"the tracking itself changed on {day:%Y-%m-%d} ({label or note}), so the two sides are not measured alike"
        said.append(
            f"Coincidence, not cause: {kind} on {day:%Y-%m-%d}{', ' if label else ''}{label}."
        )
    return said, refused


def _completeness(
    daily: pd.DataFrame, change: pd.Timestamp, treated: Sequence[str], control: Sequence[str]
) -> tuple[str, list[str]]:
    """The reason to refuse a verdict because the tracking changed with the change ("" = none), and what the server's records say else."""
    refused, said = "", []
    for side, whose in ((treated, ""), (control, " (controls)")):
        rows = daily[daily["segment"].isin(side)] if "n_checked" in daily else daily[:0]
        sums = (
            rows.groupby(rows["day"] >= change)[["n_tracked", "n_checked"]].sum()
            if len(rows)
            else rows
        )
        if len(sums) < 2 or not (sums["n_checked"] > 0).all():
            continue
        (k_0, n_0), (k, n) = sums.to_numpy(float)
        low, high = stats.newcombe(k, n, k_0, n_0)
        said.append(
            f"{100 * k_0 / n_0:.1f} % before the change and {100 * k / n:.1f} % after it{whose}"
        )
        if abs(k / n - k_0 / n_0) >= TRACKING_MOVED and not low <= 0 <= high:
            refused = (
                refused
                or f"the tracking itself changed: of the successes the server knows, the events hold {said[-1]}, so the two sides are not measured alike"
            )
    return refused, [
        f"Of the successes the server knows, the events hold {', '.join(said)}."
    ] if said else []


def _gain(rung: _Rung | None, exposed: pd.Series, each: float) -> pd.DataFrame:
    """What the effect has brought by the end of every day: gain_amount + ci.

    The weeks' own gaps add up to the effect, but for autocorrelation; its small rest is spread evenly.
    """
    if rung is None:
        return pd.DataFrame(
            {c: np.nan for c in ("gain_amount", "gain_amount_ci_lower", "gain_amount_ci_upper")},
            index=exposed.index,
        )
    start = exposed.index[0]
    after = rung.path[rung.path["day"] >= start]
    week = (
        pd.Series(np.arange(len(after)), index=(after["day"] - start).dt.days // 7)
        .reindex((exposed.index - start).days // 7)
        .to_numpy()
    )
    gap = np.r_[after["gap"].to_numpy(float), rung.effect][np.nan_to_num(week, nan=-1).astype(int)]
    gap = gap + rung.effect - np.average(gap, weights=exposed)
    so_far = np.zeros(
        (len(exposed), len(after))
    )  # users exposed by the end of the day in each week
    known = np.flatnonzero(~np.isnan(week))
    so_far[known, week[known].astype(int)] = exposed.to_numpy(float)[known]
    so_far = so_far.cumsum(axis=0)
    sd = np.sqrt(np.einsum("ij,jk,ik->i", so_far, rung.cov, so_far))
    half = (
        _critical(rung.df)
        * abs(each)
        * sd
        * (rung.se * exposed.sum() / sd[-1] if sd[-1] > 0 else 0.0)
    )
    gain = each * (gap * exposed).cumsum()
    return pd.DataFrame(
        {
            "gain_amount": gain,
            "gain_amount_ci_lower": gain - half,
            "gain_amount_ci_upper": gain + half,
        }
    )


def _money(
    rung: _Rung | None,
    exposed: pd.Series,
    by_day: pd.DataFrame,
    value: float | None,
    cost: float | None,
    cost_sd: float,
    margin: float,
) -> pd.DataFrame:
    """The one row of `BeforeAfter.money`."""
    from scipy.special import ndtr

    rung = rung or _Rung("none supported")
    n = float(exposed.sum())
    each, cost = (
        (np.nan, np.nan) if value is None or cost is None else (value * margin, float(cost))
    )
    gain, gain_sd = rung.effect * n * each, rung.se * n * abs(each)
    low, high = stats.fieller(gain, gain_sd**2, cost, cost_sd**2, _critical(rung.df))
    spread = float(np.hypot(gain_sd, cost_sd))
    ends = sorted([rung.low * n * each, rung.high * n * each])

    paid = {}
    for column in ("gain_amount", "gain_amount_ci_lower", "gain_amount_ci_upper"):
        days = np.flatnonzero(by_day[column].to_numpy() >= cost) if cost > 0 else ()
        paid[column] = float(days[0] + 1) if len(days) else np.nan
    never = np.inf if np.isfinite(gain) and cost > 0 else np.nan
    return pd.DataFrame(
        [
            {
                "rung": rung.rung,
                "n": n,
                "incremental": rung.effect * n,
                "incremental_ci_lower": rung.low * n,
                "incremental_ci_upper": rung.high * n,
                "value_amount": gain,
                "value_amount_ci_lower": ends[0],
                "value_amount_ci_upper": ends[1],
                "cost_amount": cost,
                "roi": (gain - cost) / cost if cost > 0 else np.nan,
                "roi_ci_lower": low - 1,
                "roi_ci_upper": high - 1,
                "payback_days": paid["gain_amount"],
                "payback_days_ci_lower": paid["gain_amount_ci_upper"],
                "payback_days_ci_upper": never
                if np.isnan(paid["gain_amount_ci_lower"])
                else paid["gain_amount_ci_lower"],
                "p_positive": float(ndtr((gain - cost) / spread)) if spread > 0 else np.nan,
                "break_even_effect": cost / (n * each)
                if cost > 0 and each > 0 and np.isfinite(rung.effect)
                else np.nan,
                "break_even_value_amount": cost / (rung.effect * n * margin)
                if cost > 0 and rung.effect > 0
                else np.nan,
                "break_even_days": cost / gain * len(exposed) if cost > 0 and gain > 0 else np.nan,
            }
        ]
    )


def _steadiness(rung: _Rung, weeks: pd.DataFrame, kind: str) -> list[str]:
    """How the effect moved over the weeks after; nothing where the comparison has no joint error of its weeks."""
    n_post = len(rung.cov)
    if rung.rung == SYNTHETIC:
        return []
    if rung.rung == STRUCTURAL:
        gap, n = (rung.path[c].to_numpy(float)[-n_post:] for c in ("gap", "n"))
        week = np.arange(n_post) - np.average(np.arange(n_post), weights=n)
        c = n * week / (n * week**2).sum()
        slope, se, df = float(c @ gap), float(np.sqrt(c @ rung.cov @ c)), rung.df
    else:
        slope, se, df = cf.slope_of_effect(weeks, design=cf.trend if rung.rung == ITS else cf.level)
    half = _critical(df) * se
    told = (
        f"by {_span(slope, slope - half, slope + half, kind)} a week over the {n_post} weeks after"
    )
    if abs(slope) <= half:
        return [f"The effect changed {told}: neither fading nor growth is shown."]
    fades = slope * rung.effect < 0
    return [
        f"The effect {'faded' if fades else 'grew'} {told}: what it brings later is {'less' if fades else 'more'} than its mean."
    ]


def _agreement(rungs: Sequence[_Rung], kind: str) -> list[str]:
    """The span of the supported comparisons, where there are several."""
    effects = sorted(r.effect for r in rungs if r.carries == "yes")
    return (
        [
            f"The {len(effects)} supported comparisons say {_words(effects[0], kind).split(' ')[0]} to {_words(effects[-1], kind)}; the last of them is used."
        ]
        if len(effects) > 1
        else []
    )


def _break_even(money: pd.Series, kind: str) -> str:
    """What would have to be true for the value to equal the cost."""
    each = {"rate": "success", "count": "user-day", "mean": "unit"}[kind]
    text = f"To break even the effect would have to be {_words(money['break_even_effect'], kind)}"
    if not money["break_even_value_amount"] > 0:
        return f"{text}."
    return f"{text}; or, at the effect seen, a {each} worth {money['break_even_value_amount']:,.2f}; or the effect lasting {money['break_even_days']:,.0f} days."


def _words(x: float, kind: str, *, signed: bool = True) -> str:
    """An effect in its unit."""
    number = (
        f"{100 * x:{'+' if signed else ''}.1f}"
        if kind == "rate"
        else f"{x:{'+' if signed else ''},.3g}"
    )
    return number + {"rate": " percentage points", "count": " a day", "mean": ""}[kind]


def _span(x: float, low: float, high: float, kind: str) -> str:
    """An effect with its interval: +1.2 percentage points (95 % interval -0.3 to +2.7)."""
    low, high = (_words(end, kind).split(" ")[0] for end in (low, high))
    return f"{_words(x, kind)} (95 % interval {low} to {high})"


def _finding(
    rungs: Sequence[_Rung],
    best: _Rung | None,
    verdict: str,
    money: pd.Series,
    assumed: str,
    kind: str,
    metric: str,
    change: pd.Timestamp,
    treated: Sequence[str],
    control: Sequence[str],
) -> str:
    """The sentences a decision maker reads."""
    naive, who = rungs[0], "" if treated == ["all"] else f" for {', '.join(treated)}"
    if best is None:
        tried = [r for r in reversed(rungs) if r.carries == "inconclusive"] + [
            r for r in reversed(rungs) if r.rung in (DID, STRUCTURAL, ITS) and np.isfinite(r.effect)
        ]
        weak = [*tried, next(r for r in rungs if r.rung == ITS)][0]
        return (
            f"{verdict.capitalize()}: whether the change of {change:%Y-%m-%d} moved {metric}{who} cannot be said from these data. "
            f"{weak.rung.capitalize()}: {weak.reason}. The plain before/after difference of {_words(naive.effect, kind)} is no evidence."
        )
    against = (
        f"{best.rung} against {', '.join(control)}"
        if control and best.rung != ITS
        else f"{best.rung} against its own {'trend' if best.rung == ITS else 'level'} before"
    )
    difference = _span(best.effect, best.low, best.high, kind)
    if best.low > 0 or best.high < 0:
        share = (
            f"{100 * best.effect / best.base:+.0f} % of what it would have been, "
            if best.base > 0
            else ""
        )
        text = f"The change of {change:%Y-%m-%d} moved {metric}{who} by {difference}, {share}by {against}; "
    else:
        text = f"No effect of the change of {change:%Y-%m-%d} on {metric}{who} is shown: {difference}, by {against}; "
    text += f"plain before/after says {_words(naive.effect, kind)}."
    text += "".join(
        f" Not used was {r.rung}: {r.reason}."
        for r in rungs[rungs.index(best) + 1 :]
        if r.rung != ARMS and r.reason != NO_CONTROL
    )
    if not np.isfinite(money["value_amount"]):
        return text
    extra = {"rate": " successes", "count": " user-days", "mean": ""}[kind]
    text += f" In the weeks seen that is {money['incremental']:+,.0f}{extra} and, {assumed}, "
    if not money["cost_amount"] > 0:
        low, high = money["value_amount_ci_lower"], money["value_amount_ci_upper"]
        return f"{text}a value of {money['value_amount']:,.0f} (95 % interval {low:,.0f} to {high:,.0f}); without a cost no return on it is defined."
    low, high, paid = money["roi_ci_lower"], money["roi_ci_upper"], money["payback_days"]
    span = (
        f"95 % interval {100 * low:.0f} to {100 * high:.0f}"
        if np.isfinite(low)
        else "interval not estimable"
    )
    lost = money["value_amount"] < money["cost_amount"]
    paid = (
        "not paid back within the data"
        if not np.isfinite(paid)
        else f"it covered its cost by day {paid:.0f} but lost it again"
        if lost
        else f"paid back on day {paid:.0f}"
    )
    return f"{text}a return on investment of {100 * money['roi']:.0f} % ({span}), {paid}."
