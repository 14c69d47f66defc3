"""The rungs of `compare_before_after`, a function each, from the weakest to the strongest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.phrases import count
from mctlib.roi import estimators, segments
from mctlib.roi.difference import Moves, difference
from mctlib.roi.estimators import against_trend
from mctlib.roi.rung import (
    ALPHA,
    ARMS,
    INCONCLUSIVE,
    ITS,
    NAIVE,
    NO_ARMS,
    NO_CONTROL,
    SHOWN,
    SYNTHETIC,
    Rung,
    Verdict,
    gaps_of,
    judged,
    path_of,
    rung_of,
    too_few,
)
from mctlib.roi.weeks import MIN_POST, MIN_PRE, MIN_SEASON, SEASON, Panel

UNCHECKED = "its false-alarm rate could not be checked on this series"
DONORS = ["segment", "weight_share", "rms_before", "gap_ratio", "effect_without"]
# Placebo dates wanted: among fewer, even unrelated ones, the most extreme date has p > 0.05.
N_PLACEBO = 20


@dataclass(frozen=True)
class Ladder:
    """All rungs, the weakest first, and what belongs to single ones."""

    rungs: list[Rung]
    donors: pd.DataFrame
    moves: Moves | None

    @property
    def best(self) -> Rung | None:
        """The strongest supported comparison: it speaks."""
        return next((rung for rung in reversed(self.rungs) if rung.supported), None)

    @property
    def drawn(self) -> Rung:
        """It, or else the strongest with weeks to draw."""
        weekly = [rung for rung in reversed(self.rungs) if len(rung.path)]
        return next((rung for rung in weekly if rung.supported), weekly[0])

    @property
    def against(self) -> Rung | None:
        """A weaker supported comparison that shows the opposite of what the strongest shows."""
        best = self.best
        if best is None or best.verdict != SHOWN:
            return None
        return next(
            (r for r in self.rungs if r.verdict == SHOWN and r.effect * best.effect < 0), None
        )

    @property
    def effect(self) -> Verdict:
        """Shown, not shown or inconclusive; no weaker comparison stands in for the strongest."""
        if self.best is None or self.against is not None:
            return INCONCLUSIVE
        return self.best.verdict

    def rung(self, name: str) -> Rung:
        """The rung of that name."""
        return next(rung for rung in self.rungs if rung.name == name)


def climb(panel: Panel, arms: Rung | None = None) -> Ladder:
    """Every rung; ``arms``: that of randomised arms, where there are any."""
    with_donors, donors = synthetic_control(panel)
    against, moves = difference(panel)
    top = arms or Rung(ARMS, NO_ARMS)
    rungs = [before_after(panel), interrupted(panel), with_donors, against, top]
    return Ladder(rungs, donors, moves)


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
    y, weight = weeks["y"].to_numpy(float), weeks["weight"].to_numpy(float)
    x, week = np.c_[np.ones(len(y)), after], weeks.index.to_numpy(float)
    fit = stats.fit_ar1(y, x, weight, week, rho=0.0)
    return rung.with_errors(float(np.sqrt(fit.cov[1, 1])), fit.df)


def _pvalue_of_rates(k: float, n: float, k_0: float, n_0: float) -> float:
    """Of a z test with the pooled share."""
    p = (k + k_0) / (n + n_0)
    se = np.sqrt(p * (1 - p) * (1 / n + 1 / n_0))
    return float(stats.t_pvalue(k / n - k_0 / n_0, se))


def interrupted(panel: Panel) -> Rung:
    """Against its own trend, and the season, holidays and covariates that stand beside it.

    Inconclusive where the model finds an effect that placebo dates contradict: the chance that with
    no change so few of them would look as extreme (`estimators.placebo_pvalues`) is above 0.05 and
    above its minimum. Where no placebo date fits it stays supported, and says so.
    """
    weeks = panel.weeks
    estimator = partial(against_trend, beside=list(panel.beside))
    plain = estimator(weeks)
    if plain is None:
        return too_few(ITS, weeks)
    n_pre = int((weeks.index < 0).sum())
    found = plain.widened(n_pre)
    # a season asks more of the weeks before a placebo date, too
    tried = estimators.placebo_dates(
        weeks,
        estimator,
        min_pre=3 * MIN_SEASON // 4 if SEASON in panel.allowed_for else MIN_PRE,
        min_post=MIN_POST,
        wanted=N_PLACEBO,
    )
    # week 0 is the placebo date
    gaps = [
        gaps_of(f"{w['start'][0]:%Y-%m-%d}", w, w["y"] - p.counterfactual).loc[0:] for w, p in tried
    ]
    n_extreme = sum(p.pvalue <= plain.pvalue for _, p in tried)
    pvalues = estimators.placebo_pvalues(plain, [p for _, p in tried], seed=panel.seed)
    pvalue = float(pvalues[n_extreme]) if tried else np.nan
    rung = replace(
        rung_of(ITS, weeks, found),
        placebo_pvalue=pvalue,
        n_placebo=len(tried),
        n_alarms=sum(p.pvalue < ALPHA for _, p in tried),
    )
    if gaps:
        rung = replace(rung, placebos=pd.concat(gaps, ignore_index=True))
    beside = f"allows for {phrases.listed(panel.allowed_for)}; " if panel.allowed_for else ""
    dates = count(len(tried), "placebo date")
    checked = dates if tried else f"no placebo date fits before the change, so {UNCHECKED}"
    return judged(
        rung,
        panel,
        told=f"{beside}rho {found.rho:.2f}; {checked}",
        doubts=[
            (
                pvalue > max(ALPHA, pvalues[0]),
                f"the model says p = {found.pvalue:.3f}, but of {dates}, when nothing changed, "
                f"{n_extreme} look{'s' if n_extreme == 1 else ''} as extreme "
                f"(placebo p = {pvalue:.2f})",
            )
        ],
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
    weeks, values = panel.gap, panel.values.loc[panel.gap.index]
    # one whose weeks before never differ would be followed without any error
    moves = values[weeks.index < 0].std() > 0
    donors = [s for s in panel.control if moves.get(s, False) and np.isfinite(values[s]).all()]
    if len(donors) < 2:
        needed = "users in every week"
        if panel.kind == "count":
            needed = "counts in every week and users before the change"
        have = f"{len(donors) or 'none'} has them"
        return Rung(SYNTHETIC, f"it needs two control segments with {needed}, {have}"), nobody
    treated = weeks.assign(y=weeks["y"] + weeks["control"]).join(values[donors])
    found = segments.synthetic(treated, donors)
    own, others, rung = found.own, found.others, _ranked(weeks, found)
    if rung.weeks.empty:
        return rung, nobody
    n_units, worst = 1 + len(others), max(unit.rms_before for unit in others)
    rung = judged(
        rung,
        panel,
        told=f"{len(donors)} donors",
        refusals=[
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
        ],
    )
    table = pd.DataFrame(
        {
            "segment": [", ".join(panel.treated), *donors],
            "weight_share": [np.nan, *own.weight],
            "rms_before": [unit.rms_before for unit in (own, *others)],
            "gap_ratio": [unit.ratio for unit in (own, *others)],
            "effect_without": [np.nan, *(unit.effect for unit in found.without)],
        }
    )
    gaps = [gaps_of(s, weeks, unit.gap) for s, unit in zip(donors, others)]
    return replace(rung, placebos=pd.concat(gaps, ignore_index=True)), table


def _ranked(weeks: pd.DataFrame, found: segments.Donors) -> Rung:
    """The rung of a synthetic control; the weeks' own errors are those of its gap."""
    gap = weeks.assign(y=found.own.gap, control=weeks["observed"] - found.own.gap)
    of_gap = estimators.against_level(gap)
    if of_gap is None:
        return too_few(SYNTHETIC, weeks)
    level = replace(of_gap, effect=found.own.effect, counterfactual=np.zeros(len(weeks)))
    rung = rung_of(SYNTHETIC, gap, level).with_errors(found.half_width / stats.Z, np.inf)
    return replace(rung, pvalue=found.pvalue)
