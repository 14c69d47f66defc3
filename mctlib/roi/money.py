"""What an effect brought, against what the change cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import ParameterError, interval_columns
from mctlib.phrases import amount
from mctlib.roi.rung import Rung
from mctlib.roi.weeks import Panel


def _is_amount(x: Any) -> bool:
    """Whether it is money that one can have: a number, 0 or more."""
    return isinstance(x, Real) and 0 <= float(x) < np.inf


def _is_cost(cost: Sequence[Any]) -> bool:
    """Whether it is a mean, a standard deviation and, perhaps, a correlation."""
    if len(cost) not in (2, 3) or not all(map(_is_amount, cost[:2])):
        return False
    return all(isinstance(r, Real) and -1 <= float(r) <= 1 for r in cost[2:])


@dataclass(frozen=True)
class Money:
    """What a success brings and what the change cost.

    Parameters
    ----------
    value : float, optional
        Money per success (counts: per user-day; means: per unit); None where not known.
    cost : float, (mean, standard deviation) or (mean, standard deviation, correlation), optional
        Money spent on the change, 0 where it was free, a pair where it is an estimate; with its
        correlation with the gain where each success also cost something.
    margin : float
        Share of the value that is kept.
    currency : str
        Of both, said with every amount.

    Raises
    ------
    ParameterError
        A negative value or cost, a margin outside 0 to 1, a correlation outside -1 to 1.

    Examples
    --------
    >>> Money(value=45, cost=(12000, 800), margin=0.5).each
    22.5
    """

    value: float | None = None
    cost: float | Sequence[float] | None = None
    margin: float = 1.0
    currency: str = ""

    def __post_init__(self) -> None:
        if self.cost is not None and not _is_cost(self._cost):
            raise ParameterError(
                f"cost: {self.cost!r} must be 0 or more, a number or (mean, standard deviation), "
                "and may have the correlation with the gain, from -1 to 1, as a third number."
            )
        if self.value is not None and not _is_amount(self.value):
            raise ParameterError(
                f"value: {self.value!r} must be 0 or more, a number; what a success brings cannot "
                "be negative."
            )
        if not (isinstance(self.margin, Real) and 0 < self.margin <= 1):
            raise ParameterError(f"margin: {self.margin!r} must be a share above 0 and at most 1.")

    def __str__(self) -> str:
        cost, value = self.spent[0], self.value
        brings = "" if value is None else f"{amount(value, self.currency)} a success"
        spent = "" if self.cost is None else f"{amount(cost, self.currency)} spent"
        return ", ".join(filter(None, [brings, spent])) or "no money is told"

    @property
    def each(self) -> float:
        """What is kept of a success; NaN where that is not known."""
        return np.nan if self.value is None else self.value * self.margin

    @property
    def spent(self) -> tuple[float, float]:
        """Cost and its standard deviation; NaN where that is not known."""
        if self.cost is None:
            return np.nan, 0.0
        return float(self._cost[0]), float(self._cost[1])

    @property
    def correlation(self) -> float:
        """Of the cost with the gain."""
        return float(self._cost[2]) if len(self._cost) == 3 else 0.0

    @property
    def _cost(self) -> Sequence[Any]:
        return self.cost if isinstance(self.cost, Sequence) else (self.cost, 0.0)


def exposed_by_day(daily: pd.DataFrame, panel: Panel) -> pd.Series:
    """Users (of a count: days) of the treated on every day from the change to the last week's end.

    A day without a row is a day on which nobody came.
    """
    n = daily[daily["segment"].isin(panel.treated)].groupby("day")["n"].sum()
    if panel.kind == "count":
        n = n.clip(1, 1)
    last = panel.weeks["start"].max() + pd.Timedelta("6D")
    return n.reindex(pd.date_range(panel.change, last), fill_value=0.0)


def exposed_in_arm(days: pd.DataFrame, arm: str, within: pd.Index) -> pd.Series:
    """Users of an arm (`Arms.days`) on every day from the change to the last of theirs."""
    n = days[days["segment"] == arm].groupby("day")["n_users"].sum().astype(float)
    last = max(within.max(), n.index.max())
    return n.reindex(pd.date_range(within.min(), last), fill_value=0.0)


def gain_by_day(rung: Rung | None, exposed: pd.Series, each: float) -> pd.DataFrame:
    """What the effect has brought by the end of every day since the change: gain_amount + ci.

    The weeks' own gaps add up to the effect, but for autocorrelation; its small rest is spread
    evenly. A day whose week has no gap counts with the effect. The errors of the weeks are scaled
    so that at the end they are the effect's own. A comparison without weeks has one effect and one
    error on all days.
    """
    if rung is None:
        nothing = interval_columns("gain_amount")
        return pd.DataFrame(nothing, index=exposed.index)
    n = exposed.to_numpy(float)
    if rung.path.empty:
        gain, sd = (each * x * n.cumsum() for x in (rung.effect, rung.se))
        low, high = stats.t_interval(gain, sd, rung.df)
        return pd.DataFrame(interval_columns("gain_amount", gain, low, high), index=exposed.index)
    after = rung.path[rung.path["day"] >= exposed.index[0]]
    week = (after["day"] - exposed.index[0]).dt.days.to_numpy() // 7
    in_week = np.arange(len(n))[:, None] // 7 == week
    gap = np.where(in_week.any(axis=1), in_week @ after["gap"].to_numpy(float), rung.effect)
    gap += rung.effect - np.average(gap, weights=n)
    so_far = (in_week * n[:, None]).cumsum(axis=0)
    sd = np.sqrt(np.einsum("ij,jk,ik->i", so_far, rung.cov, so_far))
    scale = rung.se * n.sum() / sd[-1] if sd[-1] > 0 else 0.0
    gain = each * (gap * n).cumsum()
    low, high = stats.t_interval(gain, each * sd * scale, rung.df)
    return pd.DataFrame(interval_columns("gain_amount", gain, low, high), index=exposed.index)


def payback(
    rung: Rung | None, exposed: pd.Series, by_day: pd.DataFrame, money: Money
) -> pd.DataFrame:
    """The one row of `BeforeAfter.money`; Fieller's interval of the return."""
    from scipy.special import ndtr

    rung = rung or Rung("none supported")
    n, each = float(exposed.sum()), money.each
    cost, cost_sd = money.spent
    gain, gain_sd = rung.effect * n * each, rung.se * n * each
    t = float(stats.t_point(rung.df))
    both = money.correlation * gain_sd * cost_sd
    low, high = stats.fieller(gain, gain_sd**2, cost, cost_sd**2, t, covariance=both)
    spread = float(np.sqrt(gain_sd**2 + cost_sd**2 - 2 * both))
    priced = cost > 0
    # the gain's upper end covers the cost first
    paid, soonest, latest = (
        _first_day(by_day[f"gain_amount{end}"], cost) for end in ("", "_ci_upper", "_ci_lower")
    )
    if np.isnan(latest) and np.isfinite(gain) and priced:
        latest = np.inf
    row = {
        "rung": rung.name,
        "currency": money.currency,
        "n": n,
        **interval_columns("incremental", rung.effect * n, rung.low * n, rung.high * n),
        **interval_columns("value_amount", gain, rung.low * n * each, rung.high * n * each),
        "cost_amount": cost,
        **interval_columns("roi", (gain - cost) / cost if priced else np.nan, low - 1, high - 1),
        **interval_columns("payback_days", paid, soonest, latest),
        "p_positive": float(ndtr((gain - cost) / spread)) if spread > 0 else np.nan,
        "break_even_effect": np.nan,
        "break_even_value_amount": np.nan,
        "break_even_days": np.nan,
    }
    if priced and each > 0 and np.isfinite(rung.effect):
        row["break_even_effect"] = cost / (n * each)
    if priced and rung.effect > 0:
        row["break_even_value_amount"] = cost / (rung.effect * n * money.margin)
    if priced and gain > 0:
        row["break_even_days"] = cost / gain * len(exposed)
    return pd.DataFrame([row])


def _first_day(gain: pd.Series, cost: float) -> float:
    """The first day on which the gain so far covers the cost, 1 is the day of the change."""
    days = np.flatnonzero(gain.to_numpy() >= cost)
    return float(days[0] + 1) if len(days) and cost > 0 else np.nan
