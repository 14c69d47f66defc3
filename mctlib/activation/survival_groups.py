"""One segment's users as a step curve with its errors, by account where users sit in accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.activation.clocks import ENDINGS
from mctlib.contract import MISSING, interval_columns
from mctlib.phrases import DAY_US

FEW_ACTIVATIONS = 30  # a segment in which no more can be expected is not compared
FEW, RARE = 50, 10  # users, and users with an outcome: of fewer a standard error is a poor guide
GRID = 180  # the printed curve has a row every horizon / GRID
FLAT_RATE = 0.01  # flat: no more than this share can be expected in another third of the time seen


@dataclass(frozen=True)
class Clock:
    """What the groups of one question share: the end and unit of clocks (us), and accounts."""

    horizon: int
    unit: int
    n_accounts: int = 0  # in all groups, so that their vectors by account can be compared

    def days(self, units: np.ndarray) -> np.ndarray:
        """Of so many units: the same floats for the same time, wherever they are made."""
        return units * self.unit / DAY_US

    @property
    def end(self) -> float:
        """The last day."""
        return self.horizon // self.unit * self.unit / DAY_US


@dataclass(frozen=True)
class Cells:
    """A group's users where they sit in accounts: kinds of users, each with account and number."""

    row: np.ndarray  # of the step curve, at which they end
    entry: np.ndarray  # row at which they come into view; -1: from the start
    kind: np.ndarray  # 0 activated, 1 competing exit, 2 neither
    account: np.ndarray  # -1: none, every such user counts on his own
    n: np.ndarray

    @cached_property
    def n_squared(self) -> float:
        """Squared users of each account, added up; those without one count once each."""
        in_account = np.bincount(self.account + 1, self.n)
        return float(in_account[0] + (in_account[1:] ** 2).sum())

    def by_account(self, effect: np.ndarray, n_accounts: int) -> tuple[np.ndarray, float]:
        """Sums by account of an effect with one value a cell.

        And the sum of its squares over users without an account.
        """
        sums = np.bincount(self.account + 1, self.n * effect, minlength=n_accounts + 1)
        return sums[1:], float((self.n * effect**2)[self.account < 0].sum())


@dataclass(frozen=True)
class Group:
    """One segment: its users by ending, its exact step curve, the day at which it is read.

    Where users sit in accounts, the curve's intervals and all others here allow for users of one
    account being alike.
    """

    label: str
    n: dict[str, int]  # by ending
    n_at_once: int
    n_immature: int
    steps: dict[str, np.ndarray]  # `stats.incidence_arrays`, time in days
    last: float  # see `stats.supported_until`; NaN: too few users
    cells: Cells | None = None
    n_accounts: int = 0
    design_effect: float = np.nan  # of the share activated by the last day; see `with_band`

    @classmethod
    def of(cls, label: str, ended: pd.DataFrame, clock: Clock) -> Group:
        """From the counts of one segment (`clocks.count_durations`), perhaps with accounts."""
        units, n = ended["units"].to_numpy(), ended["n_users"].to_numpy()
        outcome = ended["outcome"].to_numpy()
        ends = {end: outcome == end for end in ENDINGS}
        hit, out = (ends[end] for end in ENDINGS[:2])
        steps = _curve(ended, clock, n * hit, n * out)
        cells = None
        if clock.n_accounts:
            time = steps["time"]
            late = _entry(ended)
            cells = Cells(
                np.searchsorted(time, clock.days(units)),
                np.where(late > 0, np.searchsorted(time, clock.days(late)), -1),
                np.select([hit, out], [0, 1], 2),
                ended["account"].to_numpy(),
                n,
            )
        return cls(
            label,
            {end: int(n[some].sum()) for end, some in ends.items()},
            int(n[hit & (units == 0)].sum()),
            int(ended["n_immature"].sum()) if "n_immature" in ended else 0,
            steps,
            min(stats.supported_until(steps), clock.end),
            cells,
            clock.n_accounts,
        )

    def with_band(self) -> Group:
        """With the whole curve's interval, its errors summed by account.

        They are exact at GRID rows (or at all there are); between these the ratio to the error of
        independent users is interpolated.
        """
        day, rate, se = (self.steps[column] for column in ("time", "rate", "rate_se"))
        at = np.flatnonzero(se > 0)
        if self.cells is None or not len(at) or not self.last >= 0:
            low, high = stats.cloglog_interval(rate, se)
            return replace(self, steps=self.steps | interval_columns("rate", rate, low, high))
        if len(at) > GRID:
            printed = np.searchsorted(day, np.linspace(0, self.last, GRID + 1), side="right") - 1
            at = np.intersect1d(at, np.r_[printed, at[[0, -1]]])
        ratio = np.array([self.standard_error(self.until(day[row])) for row in at]) / se[at]
        last = max(int(np.searchsorted(day, self.last, side="right")) - 1, 0)
        se = se * np.interp(np.arange(len(se)), at, ratio)
        low, high = stats.cloglog_interval(rate, se, critical([self]))
        return replace(
            self,
            steps=self.steps | {"rate_se": se} | interval_columns("rate", rate, low, high),
            design_effect=float(np.interp(last, at, ratio) ** 2),
        )

    @cached_property
    def n_users(self) -> int:
        """Users whose clocks are counted."""
        return sum(self.n.values())

    @property
    def thin_until(self) -> float:
        """Day on which, by late entry, enough users are in view for the first time; else 0."""
        enough = np.flatnonzero(self.steps["n_at_risk"] >= stats.MIN_WAITING)
        if not len(enough):
            return self.last
        # a row's users at risk came into view before it: those of this day stand in the next row
        return float(self.steps["time"][enough[0] - 1]) if enough[0] else 0.0

    @cached_property
    def _influence(self) -> stats.Influence:
        return stats.Influence(self.steps)

    def effects(self, weight: np.ndarray) -> tuple[np.ndarray, float]:
        """By account: what its users add to the sum of weight x newly activated share."""
        assert self.cells is not None
        at = self._influence(weight)
        entered = np.append(at[2], 0.0)[self.cells.entry]
        effect = at[self.cells.kind, self.cells.row] - entered
        return self.cells.by_account(effect, self.n_accounts)

    def standard_error(self, weight: np.ndarray) -> float:
        """Of that sum."""
        sums, alone = self.effects(weight)
        return float(np.sqrt((sums**2).sum() + alone))

    def weight(self, day: float) -> np.ndarray:
        """Days that an activation in each row takes from the wait until ``day``."""
        return np.maximum(day - self.steps["time"], 0.0)

    def until(self, day: float) -> np.ndarray:
        """1 for each row up to ``day``."""
        return np.asarray(self.steps["time"] <= day, float)

    def share(self, day: float) -> tuple[float, float]:
        """Share activated by ``day`` and its standard error."""
        if self.cells is None:
            se = stats.at_time(self.steps, day, "rate_se")
        else:
            se = self.standard_error(self.until(day))
        return stats.at_time(self.steps, day), se

    def rate(self, day: float) -> tuple[float, float, float]:
        """Share activated by ``day`` and its interval: log-log, of nobody or everybody Wilson's."""
        if np.isnan(day):
            return np.nan, np.nan, np.nan
        share, se = self.share(day)
        low, high = stats.cloglog_interval(np.array([share]), np.array([se]), critical([self]))
        if np.isnan(low[0]) and not 0 < share < 1 - 1e-12:
            return share, *bounds(share, se, self.rare(day), critical([self]))
        return share, float(low[0]), float(high[0])

    def mean(self, day: float) -> tuple[float, float]:
        """Mean days not activated until ``day`` and its standard error."""
        if np.isnan(day):
            return np.nan, np.nan
        mean, se = stats.restricted_mean(self.steps, day)
        return mean, se if self.cells is None else self.standard_error(self.weight(day))

    def rare(self, day: float) -> Rare:
        """What an interval must know of an outcome by ``day`` that few or nearly all have."""
        time = self.steps["time"]
        lost = self.steps["n_censored"][time < day].sum()
        hits = self.steps["n_event"][time <= day].sum()
        alike = self.n_users - lost
        if self.cells is not None:
            alike *= self.n_users / self.cells.n_squared
        return Rare(hits, self.n_users, alike)

    def plateau(self) -> dict[str, Any]:
        """Whether the curve has gone flat, from the pace of the last third of the time seen.

        Flat: the upper limit of the share who would follow in as long again is at most FLAT_RATE;
        still rising: the estimate is more. Limits of the activations as a Poisson count, exact
        (Garwood 1936), so 3.7 / n where nobody activated. Where nobody was in view in that third,
        all that is known is who still waits: nobody, where everybody has ended.
        """
        from scipy.special import chdtri

        none = interval_columns("never_rate")
        if not self.last > 0:
            unknown = interval_columns("further_rate")
            return {"plateau": "too few to say"} | unknown | none
        third = self.last / 3
        begin = self.last - third
        columns = ("time", "n_at_risk", "n_event", "n_competing")
        time, n, hit, out = (self.steps[column] for column in columns)
        past = (time <= self.last) & (n > 0)
        waiting = (1 - (hit + out)[past] / n[past]).prod()  # share neither activated nor gone
        hits = hit[past & (time > begin)].sum()
        edges = np.clip(np.r_[begin, time, self.last], begin, self.last)
        days_waited = (np.diff(edges) * np.r_[n, 0.0]).sum()
        least = chdtri(2 * hits, 0.975) / 2 if hits else 0.0
        limits = np.array([hits, least, chdtri(2 * hits + 2, 0.025) / 2])
        further = waiting * np.array([0.0, 0.0, 1.0])
        if days_waited > 0:
            further = waiting * -np.expm1(-limits * third / days_waited)
        state = "still rising" if further[0] > FLAT_RATE else "too few to say"
        if further[2] <= FLAT_RATE:
            state = "flat"
            share, low, high = self.rate(self.last)
            none = interval_columns("never_rate", 1 - share, 1 - high, 1 - low)
        return {"plateau": state} | interval_columns("further_rate", *further) | none


class Rare(NamedTuple):
    """Users with an outcome, all users, and as many as these in view tell as much as.

    That is of users who did all the same, or nobody anything: those of one account count as one.
    """

    n_hit: float
    n_users: float
    n_alike: float


def bounds(
    value: float, se: float, rare: Rare, z: float, days: float | None = None
) -> tuple[float, float]:
    """95 % interval of a share, or of a mean of up to so many days.

    Value -+ z x se. Of fewer than FEW users Wilson's, on as many users as it takes for that error,
    and by Student's t.
    Where fewer than RARE had the outcome (or, of a share, as much as had it not) the error is no
    guide, and 0 where nobody did: then on ``rare.n_alike`` at the most.
    """
    without = (1 - value) / value if days is None and value > 0 else np.inf
    is_rare = rare.n_hit * min(1.0, without) < RARE
    if not is_rare and rare.n_users >= FEW:
        return value - z * se, value + z * se
    top = 1.0 if days is None else days
    p = value / top
    n = rare.n_alike
    if se > 0 and 0 < p < 1:
        known = p * (1 - p) * (top / se) ** 2
        t = float(stats.t_point(rare.n_users - 1))
        n = min(known, n) if is_rare else known * (stats.Z / t) ** 2
    n *= (stats.Z / z) ** 2
    low, high = stats.wilson(p * n, n)
    return top * float(low), top * float(high)


def _entry(counts: pd.DataFrame) -> np.ndarray:
    """Units after which users came into view; 0 from the start."""
    return np.asarray(counts["entry"]) if "entry" in counts else np.zeros(len(counts), np.int64)


def _curve(
    counts: pd.DataFrame, clock: Clock, hit: np.ndarray, out: np.ndarray
) -> dict[str, np.ndarray]:
    """Step curve of counts by units, of which ``hit`` activate and ``out`` leave at the end."""
    entry = _entry(counts)
    late = entry > 0
    none = np.zeros(late.sum())
    n = counts["n_users"].to_numpy()
    return stats.incidence_arrays(
        clock.days(np.r_[counts["units"], entry[late]]),
        np.r_[hit, none],
        np.r_[n - hit - out, none],
        np.r_[out, none],
        np.r_[np.zeros(len(n)), n[late]],
    )


def number_accounts(counts: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The counts with accounts as codes, -1 for users without one, and how many there are.

    The number is 0 where the counts know of none.
    """
    if "account" not in counts:
        return counts, 0
    code, names = pd.factorize(counts["account"].where(counts["account"] != MISSING))
    return counts.assign(account=code), len(names)


def at_risk(steps: stats.Curve, days: np.ndarray) -> np.ndarray:
    """Users in view whose clock runs for at least ``days``."""
    row = np.searchsorted(np.asarray(steps["time"]), days)
    return np.asarray(np.r_[steps["n_at_risk"], 0][row], int)


def n_accounts(groups: Sequence[Group]) -> int:
    """Accounts with users in any of the groups."""
    account = np.concatenate([g.cells.account for g in groups if g.cells is not None])
    return len(np.unique(account[account >= 0]))


def count_accounts(account: np.ndarray, n: np.ndarray) -> float:
    """`stats.count_clusters` of users by account (-1: none)."""
    in_account = np.bincount(account + 1, n)
    return float(stats.count_clusters(in_account[1:], in_account[:1].sum()))


def n_clusters(groups: Sequence[Group]) -> float:
    """Of the users in any of the groups."""
    cells = [g.cells for g in groups if g.cells is not None]
    account, n = (np.concatenate([getattr(c, name) for c in cells]) for name in ("account", "n"))
    return count_accounts(account, n)


def critical(groups: Sequence[Group]) -> float:
    """What a standard error is multiplied by for a 95 % interval.

    1.96, or by accounts t with G - 1 degrees of freedom and the factor G / (G - 1) for the
    variance, G from `n_clusters`; NaN where that is below 10.
    """
    if groups[0].cells is None:
        return stats.Z
    g = n_clusters(groups)
    if g < stats.MIN_CLUSTERS:
        return np.nan
    return float(stats.t_point(g - 1) * np.sqrt(g / (g - 1)))


def critical_of(pairs: Sequence[Sequence[Group]]) -> float:
    """`critical` of a comparison, one pair a stratum: NaN where either side has too few accounts.

    However many the other side has: a few accounts against all others differ by chance alone.
    """
    few = any(np.isnan(critical(side)) for side in zip(*pairs))
    return np.nan if few else critical([group for pair in pairs for group in pair])
