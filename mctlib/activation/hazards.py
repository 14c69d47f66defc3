"""Two groups or many kinds of users compared: mean waits, shares, and Cox's model on counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from mctlib import stats
from mctlib.activation.survival_groups import Group, at_risk, critical, n_clusters
from mctlib.contract import interval_columns

Interval = tuple[float, float, float]  # estimate, low, high
Pairs = Sequence[tuple[Group, Group]]
SIDES = np.array([[1.0], [0.0]])  # covariate of the first and the second group


def compare_days(pairs: Pairs, day: float) -> Interval:
    """Mean days not activated until ``day``, first group minus second; see `_difference`."""
    return _difference(pairs, lambda g: g.mean(day), lambda g: g.weight(day))


def compare_shares(pairs: Pairs, day: float) -> Interval:
    """Share activated by ``day``, first group minus second; see `_difference`."""
    return _difference(pairs, lambda g: g.share(day), lambda g: g.until(day))


def _difference(
    pairs: Pairs,
    estimate: Callable[[Group], tuple[float, float]],
    weight: Callable[[Group], np.ndarray],
) -> Interval:
    """Mean over strata of first group minus second, with its interval.

    Weights n_1 n_0 / (n_1 + n_0) as Mantel & Haenszel's; errors by account where there are any.
    ``estimate``: with its standard error. ``weight``: what `Group.effects` needs for it.
    """
    groups = [group for pair in pairs for group in pair]
    size = np.array([g.n_users * h.n_users / (g.n_users + h.n_users) for g, h in pairs])
    size = size / size.sum()
    found = np.array([[estimate(g), estimate(h)] for g, h in pairs])  # pair, side, (value, error)
    difference = float(size @ (found[:, 0, 0] - found[:, 1, 0]))
    variance = float(size**2 @ (found[:, :, 1] ** 2).sum(axis=1))
    if groups[0].cells is not None and variance == variance:
        sums, variance = np.zeros(groups[0].n_accounts), 0.0
        for share, (group, other) in zip(size, pairs):
            mine, alone = group.effects(weight(group))
            theirs, alone_too = other.effects(weight(other))
            sums += share * (mine - theirs)
            variance += share**2 * (alone + alone_too)
        variance += float((sums**2).sum())
    width = critical(groups) * np.sqrt(variance)
    return difference, difference - width, difference + width


MATRIX = "float64[:, ::1]"


@njit(
    f"Tuple(({MATRIX}, float64[:, :, ::1], {MATRIX}, {MATRIX}))"
    f"({MATRIX}, {MATRIX}, {MATRIX}, float64[::1])",
    cache=True,
    nogil=True,
)
def efron(
    at_risk: np.ndarray, events: np.ndarray, x: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Moments of Cox's model at each time of an event, with Efron's rule for ties.

    When the k-th of d tied events falls, k/d of the tied users are gone. Of the others, weighted by
    their hazards, m is the mean covariate and V its variance; the hazard rises by 1 over their sum.

    Parameters
    ----------
    at_risk, events : array (times, kinds)
        Users by time of an event and kind of user.
    x : array (kinds, covariates)
        What a kind of user is.
    beta : array (covariates,)
        Logarithms of the hazard ratios.

    Returns
    -------
    mean, variance : array (times, covariates), (times, covariates, covariates)
        Sums of m and of V over the tied events.
    rise, spared : array (times, 1 + covariates)
        Sums of the rise and of the rise times m; the same with each event counted k/d times, which
        is what a tied user does not live through.
    """
    n_times, (n_kinds, p) = len(events), x.shape
    mean, variance = np.zeros((n_times, p)), np.zeros((n_times, p, p))
    rise, spared = np.zeros((n_times, 1 + p)), np.zeros((n_times, 1 + p))
    hazard = np.exp(x @ beta)
    z = np.ones((n_kinds, 1 + p))  # 1 and the covariates: every sum below is one of z z'
    z[:, 1:] = x
    m = np.zeros(1 + p)
    for t in range(n_times):
        total, tied = np.zeros((1 + p, 1 + p)), np.zeros((1 + p, 1 + p))
        for kind in range(n_kinds):
            for i in range(1 + p):
                for j in range(1 + p):
                    weight = hazard[kind] * z[kind, i] * z[kind, j]
                    total[i, j] += at_risk[t, kind] * weight
                    tied[i, j] += events[t, kind] * weight
        d = int(events[t].sum())
        for k in range(d):
            part = k / d
            share = 1 / (total[0, 0] - part * tied[0, 0])
            for i in range(1 + p):
                m[i] = (total[0, i] - part * tied[0, i]) * share
                rise[t, i] += m[i] * share
                spared[t, i] += part * m[i] * share
            for i in range(p):
                mean[t, i] += m[1 + i]
                for j in range(p):
                    square = (total[1 + i, 1 + j] - part * tied[1 + i, 1 + j]) * share
                    variance[t, i, j] += square - m[1 + i] * m[1 + j]
    return mean, variance, rise, spared


@dataclass(frozen=True)
class RiskSets:
    """Users by time of an event (rows, stratum after stratum) and kind of user (columns)."""

    at_risk: np.ndarray
    events: np.ndarray
    x: np.ndarray  # what a kind of user is: a row a kind, a column a covariate

    def moments(self, beta: np.ndarray) -> Moments:
        """Of Cox's model with these coefficients."""
        mean, variance, rise, spared = efron(self.at_risk, self.events, self.x, beta)
        return Moments(self.events @ self.x - mean, variance, rise, spared)

    def residuals(
        self,
        beta: np.ndarray,
        moments: Moments,
        kind: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        hit: np.ndarray,
    ) -> np.ndarray:
        """Score residuals (Lin & Wei 1989), a row a user or cell of users alike.

        At risk in the rows from ``first`` to before ``last``, with an event (``hit``) in the last
        of them or none.
        """
        until = np.vstack([np.zeros_like(moments.rise[:1]), np.cumsum(moments.rise, axis=0)])
        lived = until[last] - until[first]
        ended = last[hit] - 1  # the row of the event
        lived[hit] -= moments.spared[ended]
        x = self.x[kind]
        residuals = np.exp(x @ beta)[:, None] * (lived[:, 1:] - x * lived[:, :1])
        expected = self.events @ self.x - moments.surprise
        residuals[hit] += x[hit] - (expected / self.events.sum(axis=1, keepdims=True))[ended]
        return np.asarray(residuals)


class Moments(NamedTuple):
    """Of Cox's model by time of an event."""

    surprise: np.ndarray  # covariates of the events less those that were expected: the score
    variance: np.ndarray  # of the covariates at these events: the information
    rise: np.ndarray  # see `efron`
    spared: np.ndarray


def drift_pvalues(moments: Moments, past: np.ndarray) -> np.ndarray:
    """Whether each log hazard ratio changes with ``past``, a number by time of an event.

    Score test of a covariate x past term (Grambsch & Therneau 1994, as R's survival >= 3 computes
    cox.zph; lifelines has the older approximation). Takes users as independent.
    """
    from scipy.special import chdtrc

    drift = past @ moments.surprise
    slope = np.einsum("t,tij->ij", past, moments.variance)
    own = np.einsum("t,tii->i", past**2, moments.variance)
    spread = own - np.diag(slope @ np.linalg.pinv(moments.variance.sum(axis=0)) @ slope)
    known = spread > 1e-12
    return np.where(known, chdtrc(1, drift**2 / np.where(known, spread, 1.0)), np.nan)


def compare_hazards(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], groups: Pairs = ()
) -> dict[str, float]:
    """Two step curves compared, one pair a stratum: hazard_ratio + ci, logrank_pvalue, ph_pvalue.

    Cox's model with one 0/1 covariate and Efron's correction, stratified, its partial likelihood
    written on counts: exact with ties (case weights, as lifelines and R read them, would take the
    tied users of one row for one user). ph_pvalue: `drift_pvalues` with one minus the pooled
    Kaplan-Meier curve just before; of one stratum only. ``groups``: where these hold accounts, the
    interval is Lin & Wei's (1989) with score residuals summed by account, and the test of no
    difference the robust score test in the same residuals, both by `critical`'s t distribution.
    What cannot be estimated is absent.
    """
    times = [np.union1d(*(s.loc[s["n_event"] > 0, "time"] for s in pair)) for pair in pairs]
    sides = [
        [(_events(s, time), at_risk(s, time)) for s in pair] for time, pair in zip(times, pairs)
    ]
    events, risk = (
        np.vstack([np.column_stack([side[k] for side in pair]) for pair in sides]).astype(float)
        for k in (0, 1)
    )
    if not events.sum():
        return {}
    sets = RiskSets(risk, events, SIDES)
    clusters = _Clusters(sets, times, [pair for pair in groups if pair[0].cells is not None])
    out = {"logrank_pvalue": clusters.score_pvalue() if clusters.pairs else _logrank(sets)}
    if not (events[:, ::-1] * (risk > 0)).any(axis=0).all():
        return out  # one group is wholly before the other, or without an event: no finite ratio
    beta, moments = fit(sets)
    information = float(moments.variance.sum())
    se, z = information**-0.5, stats.Z
    if clusters.pairs:
        se, z = clusters.spread(beta) ** 0.5 / information, critical(clusters.groups)
    ends = np.exp(beta[0] + np.array([0.0, -z * se, z * se]))
    out = interval_columns("hazard_ratio", *map(float, ends)) | out
    if len(pairs) == 1:
        n, d = risk.sum(axis=1), events.sum(axis=1)
        past = 1 - np.r_[1.0, np.cumprod(1 - d / n)[:-1]]
        out["ph_pvalue"] = float(drift_pvalues(moments, past)[0])
    return out


def _events(steps: pd.DataFrame, time: np.ndarray) -> np.ndarray:
    """Events of a step curve at each time."""
    return np.asarray(steps.set_index("time")["n_event"].reindex(time, fill_value=0))


def _logrank(sets: RiskSets) -> float:
    """P-value of the log-rank test of the first kind of user against the second, stratified."""
    from scipy.special import chdtrc

    n, d = sets.at_risk.sum(axis=1), sets.events.sum(axis=1)
    expected = d * sets.at_risk[:, 0] / n
    spread = (sets.at_risk.prod(axis=1) / n**2 * d * (n - d) / np.maximum(n - 1, 1)).sum()
    score = (sets.events[:, 0] - expected).sum()
    return float(chdtrc(1, score**2 / spread)) if spread > 0 else np.nan


def fit(sets: RiskSets, beta: np.ndarray | None = None) -> tuple[np.ndarray, Moments]:
    """Coefficients by Newton's steps, no longer than these logistic curves allow; moments there."""
    beta = np.zeros(sets.x.shape[1]) if beta is None else beta
    for _ in range(100):
        moments = sets.moments(beta)
        step = np.linalg.solve(moments.variance.sum(axis=0), moments.surprise.sum(axis=0))
        if np.abs(step).max() < 1e-12:
            break
        beta = beta + np.clip(step, -0.5, 0.5)
    return beta, moments


@dataclass(frozen=True)
class _Clusters:
    """The accounts of pairs of groups, for errors that allow for colleagues being alike."""

    sets: RiskSets
    times: Sequence[np.ndarray]  # of events, by stratum
    pairs: Pairs

    @property
    def groups(self) -> list[Group]:
        return [group for pair in self.pairs for group in pair]

    def spread(self, beta: np.ndarray) -> float:
        """Variance of the score, its residuals summed by account."""
        sums, alone = np.zeros(self.groups[0].n_accounts), 0.0
        moments, begin = self.sets.moments(beta), 0
        for time, pair in zip(self.times, self.pairs):
            for side, group in enumerate(pair):
                cells = group.cells
                assert cells is not None
                place = begin + np.searchsorted(time, group.steps["time"], side="right")
                first = np.where(cells.entry < 0, begin, place[cells.entry])
                kind = np.full(len(cells.row), side)
                last, hit = place[cells.row], cells.kind == 0
                at = self.sets.residuals(beta, moments, kind, first, last, hit)
                mine, single = cells.by_account(at[:, 0], group.n_accounts)
                sums, alone = sums + mine, alone + single
            begin += len(time)
        return float((sums**2).sum() + alone)

    def score_pvalue(self) -> float:
        """Of the robust score test of no difference; NaN with too few accounts."""
        count = n_clusters(self.groups)
        if count < stats.MIN_CLUSTERS:
            return np.nan
        none = np.zeros(1)
        score = self.sets.moments(none).surprise.sum()
        se = np.sqrt(self.spread(none) * count / (count - 1))
        return float(stats.t_pvalue(score, se, count - 1))
