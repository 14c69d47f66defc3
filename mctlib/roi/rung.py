"""One comparison: its estimate, whether the data carry it, and whether it shows an effect.

A rung's reason and doubt stand where their rule is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import interval_columns
from mctlib.phrases import count
from mctlib.roi.estimators import Estimate
from mctlib.roi.weeks import MIN_POST, MIN_PRE, Panel

NAIVE, ITS = "before/after", "interrupted time series"
SYNTHETIC, DID, ARMS = "synthetic control", "difference-in-differences", "randomised arms"
NO_CONTROL = "no control segment is given"
NO_ARMS = (
    "nothing here says that chance decided who got the change; where it did, comparing the arms is "
    "stronger than all above"
)
SUPPORTED = "supported"
ALPHA = 0.05
# Half an interval that is this many times as wide as all that was ever seen says nothing.
ABSURD = 10
Verdict = Literal["", "shown", "not shown", "inconclusive"]
SHOWN: Verdict = "shown"
NOT_SHOWN: Verdict = "not shown"
INCONCLUSIVE: Verdict = "inconclusive"


@dataclass(frozen=True)
class Rung:
    """One comparison.

    supported: whether the data carry it, and ``reason`` why · verdict: of its effect, "" where it
    is not supported, and ``doubt``, why it is inconclusive · base: what would have been · df: for t
    · weeks: what was compared (index week; y, weight, n) · cov: of the gaps of the weeks after ·
    sigma2: error variance at weight 1 · rho: of a week with the next · n_alarms: placebo dates with
    p < 0.05.
    """

    name: str
    reason: str = ""
    supported: bool = False
    verdict: Verdict = ""
    doubt: str = ""
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    se: float = np.nan
    df: float = np.nan
    base: float = np.nan
    pvalue: float = np.nan
    placebo_pvalue: float = np.nan
    weeks: pd.DataFrame = field(default_factory=pd.DataFrame)
    path: pd.DataFrame = field(default_factory=pd.DataFrame)
    placebos: pd.DataFrame = field(
        default_factory=partial(pd.DataFrame, columns=["placebo", "day", "gap"])
    )
    cov: np.ndarray = field(default_factory=partial(np.zeros, (0, 0)))
    sigma2: float = np.nan
    rho: float = np.nan
    n_placebo: int = 0
    n_alarms: int = 0

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def row(self) -> dict[str, Any]:
        """Its line in `BeforeAfter.rungs`."""
        return {
            "rung": self.name,
            **interval_columns("effect", self.effect, self.low, self.high),
            "rel_effect": self.effect / self.base if self.base > 0 else np.nan,
            "pvalue": self.pvalue,
            "placebo_pvalue": self.placebo_pvalue,
            "supported": self.supported,
            "verdict": self.verdict,
            "reason": "; ".join(filter(None, [self.reason, self.doubt])),
        }

    def with_errors(self, se: float, df: float) -> Rung:
        """The same with another standard error."""
        low, high = (float(end) for end in stats.t_interval(self.effect, se, df))
        pvalue = float(stats.t_pvalue(self.effect, se, df))
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


def rung_of(name: str, weeks: pd.DataFrame, found: Estimate) -> Rung:
    """What was found in weeks (index week; y, weight, n, observed, start), not yet judged."""
    after = weeks.index >= 0
    # what differs by less than this differs by rounding
    effect = found.effect if abs(found.effect) > _nothing(weeks) else 0.0
    of_controls = (weeks["observed"] - weeks["y"]).to_numpy(float)
    return Rung(
        name,
        effect=effect,
        base=float(np.average(weeks["observed"][after], weights=weeks["n"][after])) - effect,
        weeks=weeks,
        path=path_of(weeks, of_controls + found.counterfactual, stats.t_point(found.df) * found.sd),
        cov=found.cov,
        sigma2=found.sigma2,
        rho=found.rho,
    ).with_errors(found.se, found.df)


def _nothing(weeks: pd.DataFrame) -> float:
    return float(1e-10 * weeks["observed"].abs().max())


def too_few(name: str, weeks: pd.DataFrame) -> Rung:
    """A rung without an estimate."""
    n_pre, n_post = int((weeks.index < 0).sum()), int((weeks.index >= 0).sum())
    n_weeks = f"{count(n_pre, 'whole week')} before and {n_post} after the change"
    return Rung(name, f"{n_weeks} are too few to fit anything")


def judged(
    rung: Rung,
    panel: Panel,
    *,
    told: str,
    refusals: Sequence[tuple[Any, str]] = (),
    doubts: Sequence[tuple[Any, str]] = (),
) -> Rung:
    """The rung with its two answers.

    Supported with 12 weeks before and 6 after, unless its weeks do not differ at all (from the
    controls', where they count), its interval says nothing, or one of the ``refusals`` holds. An
    effect is shown where the interval leaves out 0; where one of the ``doubts`` holds it is
    inconclusive then.
    """
    weeks = rung.weeks
    n_pre, n_post = int((weeks.index < 0).sum()), int((weeks.index >= 0).sum())
    differ = np.ptp(weeks["observed"] - weeks.get("control", 0.0)) > _nothing(weeks)
    reasons = phrases.that_hold(
        [
            (panel.refused, panel.refused),
            (
                n_pre < MIN_PRE or n_post < MIN_POST,
                f"descriptive only: {count(n_pre, 'whole week')} before and {n_post} after the "
                f"change, at least {MIN_PRE} and {MIN_POST} are needed",
            ),
            (not differ, "the weeks do not differ at all, so nothing says how sure this is"),
            *refusals,
            (not _says_something(rung, panel.kind), "its interval holds effects that cannot be"),
        ]
    )
    if reasons:
        return replace(rung, reason=reasons[0])
    rung = replace(
        rung,
        supported=True,
        verdict=NOT_SHOWN,
        reason=f"{count(n_pre, 'week')} before, {n_post} after; {told}",
    )
    if not rung.is_clear:
        return rung
    doubt = phrases.that_hold(doubts)
    return replace(rung, verdict=INCONCLUSIVE if doubt else SHOWN, doubt="; ".join(doubt))


def _says_something(rung: Rung, kind: str) -> bool:
    """Whether its interval is one that an effect can have."""
    half = (rung.high - rung.low) / 2
    possible = kind != "rate" or max(-rung.low, rung.high) <= 1
    return bool(half <= ABSURD * np.ptp(rung.weeks["observed"]) and possible)
