"""The rungs of `compare_before_after`, a function each, from the weakest to the strongest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.roi import estimators, segments
from mctlib.roi.estimators import Estimate, regression
from mctlib.roi.rung import ALPHA, Rung, gaps_of, judge, path_of
from mctlib.roi.structural import structural as local_level
from mctlib.roi.weeks import MIN_POST, MIN_PRE, Panel

NAIVE, ITS, STRUCTURAL = "before/after", "interrupted time series", "structural time series"
SYNTHETIC, DID, ARMS = "synthetic control", "difference-in-differences", "randomised arms"
NO_CONTROL = "no control segment is given"
DONORS = ["segment", "weight_share", "rms_before", "gap_ratio", "effect_without"]


@dataclass(frozen=True)
class Checks:
    """What was looked at beside a difference-in-differences.

    by_segment: how its error was judged, "" if not · drift_pvalue, unnoticed: see
    `estimators.drift` · controls: their change against their own trend · seldom: controls with too
    few weeks to be taken as if treated.
    """

    drift_pvalue: float
    unnoticed: float
    controls: Estimate | None
    seldom: Sequence[str]
    by_segment: str = ""


@dataclass(frozen=True)
class Ladder:
    """All rungs, the weakest first, and what belongs to single ones."""

    rungs: list[Rung]
    donors: pd.DataFrame
    checks: Checks | None

    @property
    def best(self) -> Rung | None:
        """The highest supported rung."""
        return self._highest("yes")

    @property
    def judged(self) -> Rung | None:
        """The rung that the verdict rests on."""
        return self.best or self._highest("inconclusive")

    @property
    def shown(self) -> Rung:
        """The highest supported rung, or the highest computed."""
        return self.best or next(rung for rung in reversed(self.rungs) if len(rung.path))

    @property
    def verdict(self) -> str:
        """Supported, inconclusive, not supported."""
        if self.best:
            return "supported"
        return "inconclusive" if self.judged else "not supported"

    def rung(self, name: str) -> Rung:
        """The rung of that name."""
        return next(rung for rung in self.rungs if rung.name == name)

    def _highest(self, carries: str) -> Rung | None:
        return next((rung for rung in reversed(self.rungs) if rung.carries == carries), None)


def climb(panel: Panel) -> Ladder:
    """Every rung. Without controls a local level knows no trend and stands below the trend."""
    trends = [interrupted(panel), structural(panel)]
    with_donors, donors = synthetic_control(panel)
    against, checks = difference(panel)
    arms = Rung(
        ARMS,
        "nothing here says that chance decided who got the change; where it did, comparing the "
        "arms is stronger than all above",
    )
    if not panel.control:
        trends.reverse()
    return Ladder([before_after(panel), *trends, with_donors, against, arms], donors, checks)


def before_after(panel: Panel) -> Rung:
    """All before against all after: Newcombe's interval of rates, else weighted weekly values.

    Never supported.
    """
    weeks = panel.weeks
    after = weeks.index >= 0
    n, k = weeks.loc[after, ["n", "total"]].sum()
    n_0, k_0 = weeks.loc[~after, ["n", "total"]].sum()
    rung = Rung(
        NAIVE,
        "credits the change with every trend, season and coincidence; its interval takes weeks for "
        "independent",
        effect=k / n - k_0 / n_0,
        base=k_0 / n_0,
        path=path_of(weeks),
    )
    if panel.kind == "rate":
        low, high = (float(end) for end in stats.newcombe(k, n, k_0, n_0))
        return replace(rung, low=low, high=high, pvalue=_pvalue_of_rates(k, n, k_0, n_0))
    if len(weeks) <= 2:
        return rung
    fit, contrast = estimators.fit(weeks, estimators.level, rho=0.0)
    effect, se, pvalue = fit.contrast(contrast)
    return replace(rung, effect=effect).with_errors(se, fit.df, pvalue)


def _pvalue_of_rates(k: float, n: float, k_0: float, n_0: float) -> float:
    """Of a z test with the pooled share."""
    p = (k + k_0) / (n + n_0)
    se = np.sqrt(p * (1 - p) * (1 / n + 1 / n_0))
    return float(stats.t_pvalue(k / n - k_0 / n_0, se))


def interrupted(panel: Panel) -> Rung:
    """Change of level and slope, weighted by n, AR(1) errors by REML."""
    return judge(ITS, panel.weeks, partial(regression, design=estimators.trend), panel)


def structural(panel: Panel) -> Rung:
    """Local level, with the pooled controls as regressor where there are any."""
    weeks = panel.weeks
    if panel.control:
        weeks = panel.gap.assign(y=panel.gap["observed"], weight=panel.gap["n"])
    return judge(
        STRUCTURAL, weeks, local_level, panel, min_pre=MIN_PRE // 2, min_post=MIN_POST // 2
    )


def synthetic_control(panel: Panel) -> tuple[Rung, pd.DataFrame]:
    """The mix of controls that follows the treated best before the change, and the donors' table.

    Counts are scaled to one level: a weighted mean of smaller segments cannot reach a larger one. p
    is the rank of the treated gap among those of the controls, each against the others. Below 19
    controls no interval, never supported.
    """
    nobody = pd.DataFrame(columns=DONORS)
    if not panel.control:
        return Rung(SYNTHETIC, NO_CONTROL), nobody
    values = _weekly_values(panel)
    donors = [s for s in panel.control if s in values and np.isfinite(values[s]).all()]
    if len(donors) < 2:
        needed = "users in every week"
        if panel.kind == "count":
            needed = "counts in every week and users before the change"
        have = f"{len(donors) or 'none'} has them"
        return Rung(SYNTHETIC, f"it needs two control segments with {needed}, {have}"), nobody
    weeks = panel.weeks.join(values[donors].add_prefix("donor "))
    names = [f"donor {s}" for s in donors]
    # before fewer weeks than donors some mix fits anything
    min_pre = max(MIN_PRE // 2, len(donors) + 2)
    estimator = partial(segments.synthetic, donors=names)
    rung = judge(SYNTHETIC, weeks, estimator, panel, min_pre=min_pre, min_post=MIN_POST // 2)
    if not np.isfinite(rung.effect):
        return rung, nobody
    own, others, without = segments.synthetic_units(weeks, names)
    if rung.carries == "yes":
        rung = _ranked(rung, own, others)
    share = (weeks.index >= 0) * weeks["n"]
    table = pd.DataFrame(
        {
            "segment": [", ".join(panel.treated), *donors],
            "weight_share": [np.nan, *own.weight],
            "rms_before": [unit.rms_before for unit in (own, *others)],
            "gap_ratio": [unit.ratio for unit in (own, *others)],
            "effect_without": [np.nan, *(np.average(u.gap, weights=share) for u in without)],
        }
    )
    gaps = [gaps_of(s, weeks, unit.gap) for s, unit in zip(donors, others)]
    return replace(rung, placebos=pd.concat(gaps, ignore_index=True)), table


def _weekly_values(panel: Panel) -> pd.DataFrame:
    """Value of each segment (a column) by week."""
    seen = panel.units[panel.units["n"] > 0]
    by_week = seen.assign(value=seen["total"] / seen["n"])
    values = by_week.pivot(index="week", columns="segment", values="value")
    values = values.reindex(panel.weeks.index)
    if panel.kind == "count":
        before = values.index < 0
        values = values * panel.weeks["observed"][before].mean() / values[before].mean()
    return values


def _ranked(rung: Rung, own: segments.Synthetic, others: Sequence[segments.Synthetic]) -> Rung:
    """What a synthetic control has to be beside: enough controls, a fit, a constant effect."""
    n_units, worst = 1 + len(others), max(unit.rms_before for unit in others)
    refusals = phrases.that_hold(
        [
            (
                1 / n_units > ALPHA,
                f"ranks {round(rung.pvalue * n_units)} of {n_units} by how far the gap opened; "
                f"with {len(others)} controls p cannot fall below {1 / n_units:.2f}, so it is a "
                "picture and no test",
            ),
            (
                own.rms_before > worst,
                "no mix of the controls follows it before the change: each of them is followed "
                "better by the others",
            ),
            (not rung.se > 0, "no constant effect fits the weeks after the change"),
        ]
    )
    return replace(rung, carries="no", reason=refusals[0]) if refusals else rung


def difference(panel: Panel) -> tuple[Rung, Checks | None]:
    """Change of the level of treated minus control, errors as of the interrupted series.

    Refused when the difference drifted before the change. How its error is judged where there are
    segments enough: see `by_segment`. The gaps of controls taken as if treated, each against the
    others, are its placebos.
    """
    if not panel.control:
        return Rung(DID, NO_CONTROL), None
    gap = panel.gap
    estimator = partial(regression, design=estimators.level)
    did = judge(DID, gap, estimator, panel, min_pre=MIN_PRE // 2, min_post=MIN_POST // 2)
    if not np.isfinite(did.effect) or (gap.index < 0).sum() < MIN_PRE:
        return did, None
    drift_pvalue, unnoticed = estimators.drift(gap)
    if drift_pvalue < ALPHA and not panel.refused:
        told = f"(p = {drift_pvalue:.3f}, joint test)"
        reason = f"treated and control drifted apart before the change {told}"
        did = replace(did, carries="no", reason=reason)
    controls = regression(gap.assign(y=gap["control"]), design=estimators.trend)
    whole = _seen_long_enough(panel)
    seldom = [s for s in panel.control if s not in whole]
    checks = Checks(drift_pvalue, unnoticed, controls, seldom)
    each = changes(panel, whole) if whole else pd.DataFrame({"treated": []}, dtype=bool)
    if each["treated"].all() or not each["treated"].any():
        return did, checks
    did, told = by_segment(did, each, seed=panel.seed)
    untreated = [s for s in panel.control if s in whole]
    if (~each["treated"]).sum() > 1 and untreated:
        gaps = [_as_if_treated(panel, s) for s in untreated]
        did = replace(did, placebos=pd.concat(gaps, ignore_index=True))
    return did, replace(checks, by_segment=told)


def _seen_long_enough(panel: Panel) -> list[str]:
    """Segments with users in at least 12 weeks before and 6 after."""
    names = [*panel.treated, *panel.control]
    seen = panel.units[panel.units["n"] > 0]
    n_after = (seen["week"] >= 0).groupby(seen["segment"]).sum().reindex(names, fill_value=0)
    n_before = (seen["week"] < 0).groupby(seen["segment"]).sum().reindex(names, fill_value=0)
    return [s for s in names if n_before[s] >= MIN_PRE and n_after[s] >= MIN_POST]


def changes(panel: Panel, names: Sequence[str]) -> pd.DataFrame:
    """Of each segment: change (after minus before), weight (1 / sampling variance), treated.

    The change of a count is relative, at the treated segments' level.
    """
    units = panel.units[panel.units["segment"].isin(names)]
    side = np.where(units["week"] < 0, "before", "after")
    sums = units.groupby(["segment", side])[["n", "total"]].sum().unstack()
    value = sums["total"] / sums["n"]
    size = sums["total"] if panel.kind == "count" else sums["n"]
    treated = value.index.isin(panel.treated)
    change = value["after"] - value["before"]
    if panel.kind == "count":
        change = change / value["before"] * value.loc[treated, "before"].sum()
    weight = 1 / (1 / size["before"] + 1 / size["after"])
    out = pd.DataFrame({"change": change, "weight": weight, "treated": treated})
    return out[np.isfinite(out["change"]) & (out["weight"] > 0)]


def by_segment(did: Rung, each: pd.DataFrame, *, seed: int) -> tuple[Rung, str]:
    """Difference-in-differences judged by its segments (`changes`), and what is said of that.

    With 10 treated segments and 30 in all the errors are clustered by segment: of the segments' own
    effect, since that of the weeks, which weighs them by their autocorrelation, would reject more
    often. With fewer, pvalue is that of a permutation of the treated segments, and above 0.05 it
    makes an interval without 0 inconclusive. With fewer than 20 ways to pick the treated, pvalue
    and interval rest on the weeks alone.
    """
    change, weight, treated = (each[c].to_numpy() for c in ("change", "weight", "treated"))
    n_treated, n_all = int(treated.sum()), len(each)
    if segments.many_units(treated):
        _, se, df, p = segments.clustered(change, weight, treated)
        sides = f"{n_treated} treated, {n_all - n_treated} not"
        return did.with_errors(se, df, p), f"Errors are clustered by segment: {sides}."
    p, n_ways = segments.permutation(change, weight, treated, seed=seed)
    # of two halves either may be the treated one: every difference is there twice
    least = (2 if 2 * n_treated == n_all else 1) / n_ways
    ways = f"{'all ' if n_ways < segments.MOST_DRAWS else ''}{n_ways:,} ways"
    ranks = f"of {ways} to pick {n_treated} of them as treated the real one ranks {p * n_ways:.0f}"
    if 1 / n_ways > ALPHA:
        few = (
            f"{n_all} segments are too few for a permutation to tell (p at best {least:.2f}): the "
            "interval rests on the weeks alone, as an interrupted series' does"
        )
        if did.carries == "yes":
            did = replace(did, reason=f"{did.reason}; {few}")
        return did, f"{few}; {ranks}."
    if did.carries == "yes" and p > ALPHA and (did.low > 0 or did.high < 0):
        other = f"{n_all} segments are too few for a permutation to be surer"
        if p > least:
            other = "other choices of segments moved as clearly without any change"
        reason = f"{other} (permutation p = {p:.3f})"
        did = replace(did, carries="inconclusive", reason=reason)
    told = (
        f"{n_all} segments are too few for clustered errors, so the p-value is that of a "
        f"permutation: {ranks} (p = {p:.3f}; the smallest possible is {least:.3f})."
    )
    return replace(did, pvalue=p), told


def _as_if_treated(panel: Panel, segment: str) -> pd.DataFrame:
    """Gaps of a segment that had no change against the other ones that had none."""
    others = [s for s in panel.control if s != segment]
    gap = replace(panel, treated=[segment], control=others).gap
    gap = gap[gap.index.isin(panel.weeks.index)]
    found = regression(gap, design=estimators.level)
    if found is None:
        return Rung(DID).placebos
    return gaps_of(segment, gap, gap["y"] - found.counterfactual)


def course(rung: Rung, panel: Panel) -> tuple[float, float, float] | None:
    """Change of a rung's effect a week over the weeks after, standard error, degrees of freedom.

    None where the comparison has no joint error of its weeks.
    """
    if rung.name == SYNTHETIC:
        return None
    if rung.name == ITS:
        return estimators.slope_of_effect(panel.weeks, design=estimators.trend)
    if rung.name == DID:
        return estimators.slope_of_effect(panel.gap, design=estimators.level)
    n_post = len(rung.cov)
    gap, n = (rung.path[c].to_numpy(float)[-n_post:] for c in ("gap", "n"))
    week = np.arange(n_post) - np.average(np.arange(n_post), weights=n)
    c = n * week / (n * week**2).sum()
    return float(c @ gap), float(np.sqrt(c @ rung.cov @ c)), rung.df
