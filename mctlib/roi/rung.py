"""One comparison: its estimate, and whether the data carry it.

A rung's reason stands where its rule is coded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.phrases import count
from mctlib.roi.estimators import Estimate, Estimator, placebo_dates, placebo_pvalues
from mctlib.roi.weeks import MIN_POST, MIN_PRE, Panel

ALPHA = 0.05
# Placebo dates wanted: among fewer, even unrelated ones, the most extreme date has p > 0.05.
N_PLACEBO = 20
UNCHECKED = "its false-alarm rate could not be checked on this series"
Carries = Literal["yes", "no", "inconclusive"]


@dataclass(frozen=True)
class Rung:
    """One comparison.

    carries: whether the data carry it, and ``reason`` why · base: what would have been · df: for t
    · cov: of the gaps of the weeks after · sigma2: error variance at weight 1 · n_alarms: placebo
    dates with p < 0.05.
    """

    name: str
    reason: str = ""
    carries: Carries = "no"
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    se: float = np.nan
    df: float = np.nan
    base: float = np.nan
    pvalue: float = np.nan
    placebo_pvalue: float = np.nan
    path: pd.DataFrame = field(default_factory=pd.DataFrame)
    placebos: pd.DataFrame = field(
        default_factory=partial(pd.DataFrame, columns=["placebo", "day", "gap"])
    )
    cov: np.ndarray = field(default_factory=partial(np.zeros, (0, 0)))
    sigma2: float = np.nan
    n_placebo: int = 0
    n_alarms: int = 0

    def row(self) -> dict[str, Any]:
        """Its line in `BeforeAfter.rungs`."""
        return {
            "rung": self.name,
            **interval_columns("effect", self.effect, self.low, self.high),
            "rel_effect": self.effect / self.base if self.base > 0 else np.nan,
            "pvalue": self.pvalue,
            "placebo_pvalue": self.placebo_pvalue,
            "supported": self.carries == "yes",
            "reason": self.reason,
        }

    def with_errors(self, se: float, df: float, pvalue: float) -> Rung:
        """The same with another standard error."""
        low, high = (float(end) for end in stats.t_interval(self.effect, se, df))
        return replace(self, se=se, df=df, pvalue=pvalue, low=low, high=high)


def path_of(
    weeks: pd.DataFrame, counterfactual: np.ndarray | float = np.nan, half: Any = np.nan
) -> pd.DataFrame:
    """`BeforeAfter.path`, the money not yet in it."""
    path = weeks[["start", "n", "observed"]].rename(columns={"start": "day"})
    gap = path["observed"] - counterfactual
    low, high = counterfactual - half, counterfactual + half
    return path.assign(
        **interval_columns("counterfactual", counterfactual, low, high),
        **interval_columns("gap", gap, gap - half, gap + half),
    ).reset_index(drop=True)


def gaps_of(placebo: str, weeks: pd.DataFrame, gap: np.ndarray | pd.Series) -> pd.DataFrame:
    """Rows of `BeforeAfter.placebos`."""
    return pd.DataFrame({"placebo": placebo, "day": weeks["start"], "gap": gap})


def judge(
    name: str,
    weeks: pd.DataFrame,
    estimator: Estimator,
    panel: Panel,
    *,
    min_pre: int = MIN_PRE,
    min_post: int = MIN_POST,
) -> Rung:
    """A rung from its weekly series (index week; y, weight, n, observed, start).

    Supported with 12 weeks before and 6 after, unless its weeks do not differ at all (from the
    controls', where they count) or the model finds an effect that placebo dates contradict: the
    chance that with no change so few of them would look as extreme (`placebo_pvalues`) is above
    0.05 and above its minimum. Where no placebo date fits it stays supported, and says so.
    ``min_pre``, ``min_post``: weeks that a placebo date needs.
    """
    if weeks.empty:
        return Rung(
            name,
            "the controls have no users before the change in weeks in which the treated have any, "
            "so there is no level to compare with",
        )
    after = weeks.index >= 0
    n_pre, n_post = int((~after).sum()), int(after.sum())
    found = estimator(weeks)
    if found is None:
        n_weeks = f"{count(n_pre, 'whole week')} before and {n_post} after the change"
        return Rung(name, f"{n_weeks} are too few to fit anything")
    # what differs by less than this differs by rounding
    nothing = 1e-10 * weeks["observed"].abs().max()
    tried = placebo_dates(weeks, estimator, min_pre=min_pre, min_post=min_post, wanted=N_PLACEBO)
    # week 0 is the placebo date
    gaps = [
        gaps_of(f"{w['start'][0]:%Y-%m-%d}", w, w["y"] - p.counterfactual).loc[0:] for w, p in tried
    ]
    effect = found.effect if abs(found.effect) > nothing else 0.0
    of_controls = (weeks["observed"] - weeks["y"]).to_numpy(float)
    half = stats.t_point(found.df) * np.sqrt(np.diag(found.cov))
    rung = Rung(
        name,
        effect=effect,
        base=float(np.average(weeks["observed"][after], weights=weeks["n"][after])) - effect,
        path=path_of(weeks, of_controls + found.counterfactual, half),
        cov=found.cov[np.ix_(after, after)],
        sigma2=found.sigma2,
        n_placebo=len(tried),
        n_alarms=sum(p.pvalue < ALPHA for _, p in tried),
    ).with_errors(found.se, found.df, found.pvalue)
    if gaps:
        rung = replace(rung, placebos=pd.concat(gaps, ignore_index=True))
    differ = np.ptp(weeks["observed"] - weeks.get("control", 0.0)) > nothing
    return _verdict(rung, found, [p for _, p in tried], panel, (n_pre, n_post), differ)


def _verdict(
    rung: Rung,
    found: Estimate,
    placebos: list[Estimate],
    panel: Panel,
    n_weeks: tuple[int, int],
    differ: bool,
) -> Rung:
    """The rung with what its data carry."""
    n_pre, n_post = n_weeks
    n_extreme = sum(p.extremity <= found.extremity for p in placebos)
    pvalues = placebo_pvalues(found, placebos, seed=panel.seed) if placebos else [np.nan]
    pvalue = float(pvalues[n_extreme])
    contradicted = found.pvalue < ALPHA and pvalue > max(ALPHA, pvalues[0])
    dates = count(len(placebos), "placebo date")
    checked = dates if placebos else f"no placebo date fits before the change, so {UNCHECKED}"
    verdicts: list[tuple[Any, Carries, str]] = [
        (panel.refused, "no", panel.refused),
        (
            n_pre < MIN_PRE or n_post < MIN_POST,
            "no",
            f"descriptive only: {count(n_pre, 'whole week')} before and {n_post} after the change, "
            f"at least {MIN_PRE} and {MIN_POST} are needed",
        ),
        (not differ, "no", "the weeks do not differ at all, so nothing says how sure this is"),
        (
            contradicted,
            "inconclusive",
            f"the model says p = {found.pvalue:.3f}, but of {dates}, when nothing changed, "
            f"{n_extreme} look{'s' if n_extreme == 1 else ''} as extreme "
            f"(placebo p = {pvalue:.2f})",
        ),
        (True, "yes", f"{count(n_pre, 'week')} before, {n_post} after; {found.told}; {checked}"),
    ]
    carries, reason = next((carries, reason) for holds, carries, reason in verdicts if holds)
    return replace(rung, carries=carries, reason=reason, placebo_pvalue=pvalue)
