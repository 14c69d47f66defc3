"""How long users wait: clocks from a start to an event, the step curves they give, and how two groups of users compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import MISSING, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NOWHERE, Journeys, first_rows, next_row
from mctlib.eventlog.steps import Step, as_step, may_meet

OUTCOMES = (
    "activated",
    "competing",
    "censored",
    "not_activated",
    "already",
    "unstarted",
    "followed",
    "ended_before",
    "unobserved",
)
ENDINGS = OUTCOMES[:4]  # every counted user has exactly one of these
MIN_FOLLOWED = (
    10  # an estimate is read no later than the last day to which this many users were followed
)
GRID = 180  # the printed curve has a row every horizon / GRID
FLAT_RATE = 0.01  # a curve is flat where no more than this share of the users can still be expected in another third of the time seen
DENSE = 1_000_000  # numbers up to which a value is its own code
DAY = 86_400_000_000
NEVER = np.iinfo(np.int64).max


# ---------------------------------------------------------------------------------------------------------- clocks


def clock_roles(log: EventLog, asked: Mapping[str, Any]) -> tuple[dict[str, Step], list[str]]:
    """The events of a clock by role, as Steps, and a sentence for every name that does not occur. Only start and activation must be given.

    Raises ParameterError: what is no event; a role (but the exit) of which no name occurs; an exit that could be the start or the activation.
    """
    roles, sentences = (
        {
            role: as_step(event, role)
            for role, event in asked.items()
            if event is not None or role in ("start", "activation")
        },
        [],
    )
    for role, step in roles.items():
        unknown = [f"{role}: {sentence}" for sentence in log.missing_events([step])]
        if role != "competing" and unknown and len(unknown) == len(set(step.names)):
            raise ParameterError(" ".join(unknown))
        sentences += unknown
    for step in (roles["start"], roles["activation"]) if "competing" in roles else ():
        leave = roles["competing"]
        if may_meet(step, leave):
            raise ParameterError(
                f'competing: one event could be both the exit "{leave.label}" and "{step.label}", where the clock starts or ends; name another event.'
            )
    return roles, sentences


@dataclass(frozen=True)
class Clocks:
    """One clock a started user. rows: the user's start · to_hit, to_exit, to_entry: microseconds to activation, exit, observation (NEVER: none) ·
    followed: how long the clock could run · ran: how long it did · outcome: index in ENDINGS · already, unstarted: rows of users without a clock.
    """

    rows: np.ndarray
    to_entry: np.ndarray
    followed: np.ndarray
    ran: np.ndarray
    outcome: np.ndarray
    already: np.ndarray
    unstarted: np.ndarray


def clocks(j: Journeys, horizon: int, roles: Sequence[str]) -> Clocks:
    """The clocks of whole users; ``roles`` names the bits of the mask: start, activation and perhaps competing, observed_from."""
    own = np.zeros(len(j), np.int64)  # each row's user, numbered from 0
    np.cumsum(j.user[1:] != j.user[:-1], out=own[1:])
    start, first = (
        rows[first_rows(own[rows])]
        for rows in (np.flatnonzero(j.has(roles.index(role))) for role in ("start", "activation"))
    )
    began = np.full(own[-1] + 1 if len(own) else 0, NOWHERE)
    began[own[start]] = start
    zero = began[own[first]]  # start of each user who ever activates
    unstarted, already = first[zero < 0], zero[(zero >= 0) & (j.time[first] < j.time[zero])]
    began[own[already]] = NOWHERE
    began = began[began >= 0]
    begun = j.time[began]

    def wait(role: str) -> np.ndarray:
        """From the start to the next event in this role; NEVER where there is none."""
        if role not in roles:
            return np.full(len(began), NEVER)
        rows = next_row(j, began, roles.index(role))
        us = j.time[rows] - begun
        us[rows < 0] = NEVER
        return us

    to_hit, to_exit = wait("activation"), wait("competing")
    followed = np.minimum(j.as_of - begun, horizon)
    ran = np.minimum(np.minimum(to_hit, to_exit), followed)
    outcome = np.full(len(began), 3)
    for code, holds in (
        (2, followed < horizon),
        (1, to_exit == ran),
        (0, to_hit == ran),
    ):  # where several hold, the last one counts
        outcome[holds] = code
    return Clocks(
        began,
        wait("observed_from") if "observed_from" in roles else np.zeros(len(began), np.int64),
        followed,
        ran,
        outcome,
        already,
        unstarted,
    )


def resolution(horizon: int, exact: bool) -> int:
    """Unit of durations in microseconds: 1 where they are ``exact`` (`EventLog.small`), else the longest one that divides a day and the horizon and is at most
    horizon / 10,000 (1 s to 2 hours): then counts stay small.
    """
    if exact:
        return 1
    seconds = horizon // 1_000_000
    common = gcd(seconds, 86_400)
    return 1_000_000 * max(
        d for d in range(1, max(1, min(seconds // 10_000, common, 7200)) + 1) if common % d == 0
    )


def distinct(units: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and, for each of the ``units`` (0 to size - 1), its place among them: all there can be where these are few, else 0 and those that occur."""
    if size <= DENSE:
        return np.arange(size), units
    values, at = np.unique(np.r_[0, units], return_inverse=True)
    return values, at[1:]


def cell_table(
    j: Journeys, cells: np.ndarray, sizes: Mapping[str, int], accounts: Sequence[str]
) -> pd.DataFrame:
    """Counts of `np.ravel_multi_index` cells over (all dims of ``j``, ``sizes``) as a table: segment, account (where ``accounts`` are dims), the
    sizes' names, n_users.
    """
    shape = (*(len(j.levels[name]) for name in j.dims), *sizes.values())
    cells, n_users = np.unique(cells, return_counts=True)
    codes = dict(zip((*j.dims, *sizes), np.unravel_index(cells, shape)))
    segment = replace(
        j, dims={name: codes[name] for name in j.dims if name not in accounts}
    ).segment(np.arange(len(cells)))
    account = {"account": np.asarray(j.levels[name], object)[codes[name]] for name in accounts}
    return pd.DataFrame(
        {"segment": segment, **account, **{name: codes[name] for name in sizes}, "n_users": n_users}
    )


def number_accounts(counts: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The counts with accounts as codes, -1 for users without one, and how many accounts there are; 0 where the counts know of none."""
    if "account" not in counts:
        return counts, 0
    code, names = pd.factorize(counts["account"].where(counts["account"] != MISSING))
    return counts.assign(account=code), len(names)


# ---------------------------------------------------------------------------------------------------------- groups of users


@dataclass(frozen=True)
class Cells:
    """A group's users where they sit in accounts: kinds of users (row of the step curve they end and enter at, how), each with its account and number."""

    row: np.ndarray
    entry: np.ndarray  # -1: in view from the start
    kind: np.ndarray  # 0 activated, 1 competing exit, 2 neither
    account: np.ndarray  # -1: none, every such user counts on his own
    n: np.ndarray

    def by_account(self, effect: np.ndarray, n_accounts: int) -> tuple[np.ndarray, float]:
        """What a quantity with one value a cell adds up to in each account, and the sum of its squares over users without one."""
        has = self.account >= 0
        return np.bincount(self.account[has], (self.n * effect)[has], minlength=n_accounts), float(
            (self.n * effect**2)[~has].sum()
        )


@dataclass(frozen=True)
class Group:
    """One segment: its users by outcome, its exact step curve (time in days), the days between which its estimates are read (last NaN: none).

    Where users sit in accounts, the curve's intervals and all others here allow for users of one account being alike.
    """

    label: str
    n: pd.Series
    n_at_once: int
    n_immature: int
    steps: pd.DataFrame
    first: float
    last: float
    cells: Cells | None
    n_accounts: int  # in all groups, so that their vectors by account can be compared
    design_effect: float = np.nan  # of the share activated by the last day; see `by_account`

    @classmethod
    def of(
        cls,
        label: str,
        counts: pd.DataFrame,
        *,
        horizon: int,
        unit: int,
        competing: bool,
        origin: int = 0,
        n_accounts: int = 0,
    ) -> Group:
        """From counts of one segment: outcome, units (of ``unit`` microseconds), n_users; perhaps entry (units) and account (code, -1 for none)."""
        units, at = np.unique(counts["units"], return_inverse=True)
        table = np.zeros((len(units), len(OUTCOMES)), np.int64)
        np.add.at(table, (at, pd.Index(OUTCOMES).get_indexer(counts["outcome"])), counts["n_users"])
        wide = pd.DataFrame(table, units, OUTCOMES)
        n, n_at_once = wide.sum(), int(wide["activated"].get(0, 0))
        n_immature = int(wide.loc[wide.index < horizon // unit, "followed"].sum())
        ends, to_view, entering = counts[counts["outcome"].isin(ENDINGS)], 0, None
        if "entry" in counts:
            late = [
                part[part["entry"] > 0].groupby("entry")["n_users"].sum()
                for part in (counts[counts["outcome"] == "followed"], ends)
            ]
            wide = wide.reindex(wide.index.union(late[0].index).union(late[1].index), fill_value=0)
            to_view, entering = (
                late[0].reindex(wide.index, fill_value=0)[::-1].cumsum()[::-1].to_numpy(),
                late[1].reindex(wide.index, fill_value=0),
            )
        enough = wide.index[
            wide["followed"].to_numpy()[::-1].cumsum()[::-1] - to_view >= MIN_FOLLOWED
        ]
        ended = wide.to_numpy()[:, : len(ENDINGS)]
        kept = (ended > 0).any(axis=1) | (False if entering is None else entering.to_numpy() > 0)
        rows, (hit, out, *unseen) = wide.index[kept], ended[kept].T
        steps = stats.incidence(
            rows.to_numpy() * unit / DAY,
            hit,
            sum(unseen),
            out if competing else None,
            None if entering is None else entering.to_numpy()[kept],
        )
        cells = None
        if n_accounts:
            entry = (
                np.where(ends["entry"] > 0, rows.get_indexer(ends["entry"]), -1)
                if "entry" in ends
                else np.full(len(ends), -1)
            )
            kind = ends["outcome"].map({"activated": 0, "competing": 1}).fillna(2).to_numpy(int)
            cells = Cells(
                rows.get_indexer(ends["units"]),
                entry,
                kind,
                ends["account"].to_numpy(),
                ends["n_users"].to_numpy(),
            )
        last = enough[-1] * unit / DAY if len(enough) else np.nan
        return cls(
            label, n, n_at_once, n_immature, steps, origin * unit / DAY, last, cells, n_accounts
        )

    def by_account(self) -> Group:
        """With the whole curve's errors summed by account: exact at GRID rows or at all there are, between them by the ratio to independent users."""
        se = self.steps["rate_se"].to_numpy()
        judged = np.flatnonzero(se > 0)
        if self.cells is None or not len(judged) or not self.last >= 0:
            return self
        day = self.steps["time"].to_numpy()
        grid = (
            np.searchsorted(day, np.linspace(self.first, self.last, GRID + 1), side="right") - 1
        )  # the rows that printed days read
        at = judged if len(judged) <= GRID else np.intersect1d(judged, np.r_[grid, judged[[0, -1]]])
        ratio = np.array([self.standard_error(self.until(day[row])) for row in at]) / se[at]
        last = np.clip(np.searchsorted(day, self.last, side="right") - 1, 0, None)
        se = se * np.interp(np.arange(len(se)), at, ratio)
        low, high = stats.cloglog_interval(self.steps["rate"].to_numpy(), se, critical([self]))
        return replace(
            self,
            steps=self.steps.assign(rate_se=se, rate_ci_lower=low, rate_ci_upper=high),
            design_effect=float(np.interp(last, at, ratio) ** 2),
        )

    @cached_property
    def n_users(self) -> int:
        """Users whose clocks are counted."""
        return int(self.n[list(ENDINGS)].sum())

    def effects(self, weight: np.ndarray) -> tuple[np.ndarray, float]:
        """By account: what its users add to the sum over rows of weight x newly activated share (`stats.influence`)."""
        at = stats.influence(self.steps, weight)
        return self.cells.by_account(
            at[self.cells.kind, self.cells.row] - np.r_[at[2], 0.0][self.cells.entry],
            self.n_accounts,
        )

    def standard_error(self, weight: np.ndarray) -> float:
        """Of that sum."""
        sums, alone = self.effects(weight)
        return float(np.sqrt((sums**2).sum() + alone))

    def weight(self, day: float) -> np.ndarray:
        """Days that an activation in each row takes from the wait until ``day``."""
        return np.maximum(day - self.steps["time"].to_numpy(), 0.0)

    def rate(self, day: float) -> tuple[float, float, float]:
        """Share activated by ``day`` and its interval."""
        if np.isnan(day):
            return np.nan, np.nan, np.nan
        share, se = self.share(day)
        low, high = stats.cloglog_interval(np.array([share]), np.array([se]), critical([self]))
        return share, float(low[0]), float(high[0])

    def share(self, day: float) -> tuple[float, float]:
        """Share activated by ``day`` and its standard error."""
        se = (
            stats.at_time(self.steps, day, "rate_se")
            if self.cells is None
            else self.standard_error(self.until(day))
        )
        return stats.at_time(self.steps, day), se

    def until(self, day: float) -> np.ndarray:
        """1 for each row up to ``day``."""
        return (self.steps["time"] <= day).to_numpy(float)

    def mean(self, day: float) -> tuple[float, float]:
        """Mean days not activated until ``day`` and its standard error (NaN without an activation: nothing to judge by)."""
        if np.isnan(day):
            return np.nan, np.nan
        mean, se = stats.restricted_mean(self.steps, day)
        if not stats.at_time(self.steps, day) > 0:
            se = np.nan
        elif self.cells is not None:
            se = self.standard_error(self.weight(day))
        return mean - self.first, se

    def plateau(self) -> dict[str, Any]:
        """plateau, further_rate + ci, never_rate + ci: has the curve gone flat (the rule stands in `activation.time_to_event`)."""
        from scipy.special import chdtri

        out = dict.fromkeys(
            [
                "further_rate",
                "further_rate_ci_lower",
                "further_rate_ci_upper",
                "never_rate",
                "never_rate_ci_lower",
                "never_rate_ci_upper",
            ],
            np.nan,
        )
        if not self.last > self.first:
            return {"plateau": "too few to say"} | out
        third = (self.last - self.first) / 3
        time, n = (self.steps[c].to_numpy(float) for c in ("time", "n_at_risk"))
        inside = (time > self.last - third) & (time <= self.last)
        edges = np.clip(np.r_[self.last - third, time, self.last], self.last - third, self.last)
        seen = (np.diff(edges) * np.r_[n, 0.0]).sum()  # days that users waited in the last third
        hits = self.steps["n_event"].to_numpy()[inside].sum()
        leaving = (self.steps["n_event"] + self.steps["n_competing"]).to_numpy()[
            (time <= self.last) & (n > 0)
        ]
        waiting = np.prod(
            1 - leaving / n[(time <= self.last) & (n > 0)]
        )  # share neither activated nor gone
        limits = np.array(
            [hits, chdtri(2 * hits, 0.975) / 2 if hits else 0.0, chdtri(2 * hits + 2, 0.025) / 2]
        )  # of a Poisson count, exact (Garwood 1936)
        further = waiting * -np.expm1(-limits * third / seen) if seen > 0 else np.full(3, np.nan)
        out |= dict(zip(list(out)[:3], further))
        state = (
            "flat"
            if further[2] <= FLAT_RATE
            else "still rising"
            if further[0] > FLAT_RATE
            else "too few to say"
        )
        if state == "flat":
            share, low, high = self.rate(self.last)
            out |= {
                "never_rate": 1 - share,
                "never_rate_ci_lower": 1 - high,
                "never_rate_ci_upper": 1 - low,
            }
        return {"plateau": state} | out


def at_risk(steps: pd.DataFrame, days: np.ndarray) -> np.ndarray:
    """Users in view whose clock runs for at least ``days``."""
    return np.r_[steps["n_at_risk"], 0].astype(int)[np.searchsorted(steps["time"], days)]


def n_accounts(groups: Sequence[Group]) -> int:
    """Accounts with users in any of the groups."""
    account = np.concatenate([g.cells.account for g in groups])
    return len(np.unique(account[account >= 0]))


def n_clusters(groups: Sequence[Group]) -> float:
    """`stats.count_clusters` of the users in any of the groups."""
    account, n = (
        np.concatenate([getattr(g.cells, name) for g in groups]) for name in ("account", "n")
    )
    in_account = np.bincount(account + 1, n)
    return float(stats.count_clusters(in_account[1:], in_account[0]))


def critical(groups: Sequence[Group]) -> float:
    """What a standard error is multiplied by for a 95 % interval: 1.96, or by accounts t with G - 1 degrees of freedom and the factor G / (G - 1) for the
    variance, G from `n_clusters`; NaN where that is below 10.
    """
    from scipy.special import stdtrit

    if groups[0].cells is None:
        return stats.Z
    g = n_clusters(groups)
    return (
        float(stdtrit(g - 1, 0.975) * np.sqrt(g / (g - 1))) if g >= stats.MIN_CLUSTERS else np.nan
    )


# ---------------------------------------------------------------------------------------------------------- comparisons


def compare_days(pairs: Sequence[tuple[Group, Group]], day: float) -> tuple[float, float, float]:
    """Mean days not activated until ``day``, first group minus second, with its interval; see `_difference` for more than one pair."""
    return _difference(pairs, lambda g: g.mean(day), lambda g: g.weight(day))


def compare_shares(pairs: Sequence[tuple[Group, Group]], day: float) -> tuple[float, float, float]:
    """Share activated by ``day``, first group minus second, with its interval; see `_difference` for more than one pair."""
    return _difference(pairs, lambda g: g.share(day), lambda g: g.until(day))


def _difference(
    pairs: Sequence[tuple[Group, Group]], estimate: Callable, weight: Callable
) -> tuple[float, float, float]:
    """Mean over strata of first group minus second, weights n_1 n_0 / (n_1 + n_0) as Mantel & Haenszel's; errors by account where there are accounts.

    ``estimate``: of a group, with its standard error. ``weight``: of a group, what `Group.effects` needs for it.
    """
    size = np.array([g.n_users * h.n_users / (g.n_users + h.n_users) for g, h in pairs])
    size = size / size.sum()
    found = np.array([[*estimate(g), *estimate(h)] for g, h in pairs])
    groups = [g for pair in pairs for g in pair]
    difference, variance = (
        float(size @ (found[:, 0] - found[:, 2])),
        float(size**2 @ (found[:, 1] ** 2 + found[:, 3] ** 2)),
    )
    if groups[0].cells is not None and variance == variance:
        sums, variance = np.zeros(groups[0].n_accounts), 0.0
        for share, pair in zip(size, pairs):
            for sign, group in zip((1, -1), pair):
                mine, alone = group.effects(weight(group))
                sums, variance = sums + sign * share * mine, variance + share**2 * alone
        variance += (sums**2).sum()
    width = critical(groups) * np.sqrt(variance)
    return difference, difference - width, difference + width


def compare_hazards(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], groups: Sequence[tuple[Group, Group]] = ()
) -> dict[str, float]:
    """Step curves (time, n_at_risk, n_event) compared, one pair a stratum: hazard_ratio + ci, logrank_pvalue, ph_pvalue. Exact for counts with ties.

    Cox's model with one 0/1 covariate and Efron's correction, stratified, its partial likelihood written on counts (case weights, as lifelines and R
    read them, would take the tied users of one row for one user). ph_pvalue: score test of a covariate x (1 - S(t-)) term, S the pooled Kaplan-Meier
    curve (Grambsch & Therneau 1994, as R's survival >= 3 computes cox.zph; lifelines has the older approximation); of one stratum only.
    ``groups``: where these hold accounts, the interval is Lin & Wei's (1989) with score residuals summed by account, and the test of no difference the
    robust score test in the same residuals; both by `critical`'s t distribution. What cannot be estimated is absent.
    """
    from scipy.special import chdtrc, psi, stdtr, zeta

    strata = [_Events.of(*pair) for pair in pairs]
    d_1, d_0, n_1, n_0 = (
        np.concatenate([getattr(s, name) for s in strata]) for name in ("d_1", "d_0", "n_1", "n_0")
    )
    n, d = n_1 + n_0, d_1 + d_0
    if not d.sum():
        return {}
    clustered = [pair for pair in groups if pair[0].cells is not None]
    members = [g for pair in clustered for g in pair]
    z = critical(members) if clustered else stats.Z

    def robust(beta: float) -> float:
        """Variance of the score, its residuals summed by account."""
        sums, alone = np.zeros(members[0].n_accounts), 0.0
        for events, pair in zip(strata, clustered):
            for side, group in zip((1, 0), pair):
                mine, single = group.cells.by_account(
                    events.residuals(beta, group, side), group.n_accounts
                )
                sums, alone = sums + mine, alone + single
        return float((sums**2).sum() + alone)

    score, spread = (
        (d_1 - d * n_1 / n).sum(),
        (n_1 * n_0 / n**2 * d * (n - d) / np.maximum(n - 1, 1)).sum(),
    )
    pvalue = float(chdtrc(1, score**2 / spread)) if spread > 0 else np.nan
    if clustered:
        score, count = sum(s.score() for s in strata), n_clusters(members)
        spread = robust(0.0) * count / (count - 1) if count >= stats.MIN_CLUSTERS else 0.0
        pvalue = (
            float(2 * stdtr(count - 1, -abs(score) / np.sqrt(spread))) if spread > 0 else np.nan
        )
    if (
        not d_0[n_1 > 0].any() or not d_1[n_0 > 0].any()
    ):  # one group is wholly before the other, or without an event: no finite hazard ratio
        return {"logrank_pvalue": pvalue}

    def shares(beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """By time: sum over its d tied events of p, the first group's share of the hazard when an event falls, and what p is made of.

        The k-th event sees k/d of the tied users gone: p = (n_1 - k d_1/d) / (n_1 + n_0 / hr - k c) = slope + gap / (x - k). A sum over
        1 / (x - k) is a difference of digamma functions (of its square: trigamma), so no array grows with the number of users.
        """
        c = (d_1 + d_0 * np.exp(-beta)) / d
        x, slope = (n_1 + n_0 * np.exp(-beta)) / c, d_1 / d / c
        gap = n_1 / c - slope * x
        return d * slope + gap * (psi(x + 1) - psi(x - d + 1)), slope, gap, x

    beta = 0.0
    for _ in range(100):
        p, *_ = shares(beta)
        step = np.clip(
            (d_1 - p).sum() / (p * (1 - p / d)).sum(), -0.5, 0.5
        )  # Newton's, no longer than these logistic curves allow
        beta += step
        if abs(step) < 1e-10:
            break
    p, slope, gap, x = shares(beta)
    information = (
        p - 2 * slope * p + d * slope**2 - gap**2 * (zeta(2, x - d + 1) - zeta(2, x + 1))
    )  # sum of p (1 - p)
    se = np.sqrt(robust(beta)) / information.sum() if clustered else information.sum() ** -0.5
    low, high = (beta + side * z * se for side in (-1, 1))
    out = {
        "hazard_ratio": float(np.exp(beta)),
        "hazard_ratio_ci_lower": float(np.exp(low)),
        "hazard_ratio_ci_upper": float(np.exp(high)),
        "logrank_pvalue": pvalue,
    }
    if len(strata) > 1:
        return out
    g = 1 - np.r_[1.0, np.cumprod(1 - d / n)[:-1]]
    drift = g @ (d_1 - p)
    spread = g**2 @ information - (g @ information) ** 2 / information.sum()
    return out | {"ph_pvalue": float(chdtrc(1, drift**2 / spread)) if spread > 1e-12 else np.nan}


@dataclass(frozen=True)
class _Events:
    """By time of an event in either of two groups: events and users at risk in the first (1) and the second (0)."""

    time: np.ndarray
    d_1: np.ndarray
    d_0: np.ndarray
    n_1: np.ndarray
    n_0: np.ndarray

    @classmethod
    def of(cls, steps: pd.DataFrame, steps_0: pd.DataFrame) -> _Events:
        time = np.union1d(*(s.loc[s["n_event"] > 0, "time"] for s in (steps, steps_0)))
        d_1, d_0 = (
            s.set_index("time")["n_event"].reindex(time, fill_value=0).to_numpy(int)
            for s in (steps, steps_0)
        )
        return cls(time, d_1, d_0, at_risk(steps, time), at_risk(steps_0, time))

    def _tied(self, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One entry an event: its time's index, the part of its time's events that came before it, the first group's share of the hazard, the hazard's sum."""
        d = self.d_1 + self.d_0
        at = np.repeat(np.arange(len(d)), d)
        gone = (np.arange(len(at)) - np.repeat(np.cumsum(d) - d, d)) / d[at]
        one, other = (
            (self.n_1[at] - gone * self.d_1[at]) * np.exp(beta),
            self.n_0[at] - gone * self.d_0[at],
        )
        return at, gone, one / (one + other), one + other

    def score(self) -> float:
        """Of Cox's likelihood at no difference."""
        return float(self.d_1.sum() - self._tied(0.0)[2].sum())

    def residuals(self, beta: float, group: Group, side: int) -> np.ndarray:
        """Score residuals of the cells of a group (side 1: the first), ties by Efron's rule: an event's own part is the mean over its tied places."""
        at, gone, p, total = self._tied(beta)
        rise = ((1 - p) * np.exp(beta) if side else -p) / total
        add = lambda v: np.bincount(at, v, minlength=len(self.time))  # noqa: E731
        before = np.r_[0.0, np.cumsum(add(rise))]
        own = side - add(p) / (self.d_1 + self.d_0) - add((1 - gone) * rise)
        day, cells = group.steps["time"].to_numpy(), group.cells
        end = np.searchsorted(self.time, day, side="right")
        hit = (
            np.r_[0.0, own][end] - before[np.maximum(end - 1, 0)]
        )  # of an event at each row of the group's curve
        return (
            np.where(cells.kind == 0, hit[cells.row], -before[end][cells.row])
            + np.r_[before[end], 0.0][cells.entry]
        )
