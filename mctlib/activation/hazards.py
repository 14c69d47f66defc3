"""Hazards of two groups or many kinds of users: Cox's model and the log-rank test on counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from mctlib import stats
from mctlib.activation.survival_groups import Group, at_risk, critical_of, n_clusters
from mctlib.contract import interval_columns

Pairs = Sequence[tuple[Group, Group]]
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
    ``at_risk``, ``events``: users by time of an event and kind of user · ``x``: what a kind is
    (kinds, covariates) · ``beta``: logarithms of the hazard ratios. Returned are, by time, the sums
    of m and of V over the tied events; those of the rise, and of the rise times m; and the same
    with each event counted k/d times, which is what a tied user does not live through.
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
    pairs: Sequence[tuple[stats.Curve, stats.Curve]], groups: Pairs = ()
) -> dict[str, float]:
    """Two step curves compared, one pair a stratum: hazard_ratio + ci, logrank_pvalue, ph_pvalue.

    Cox's model with one 0/1 covariate and Efron's correction, stratified, its partial likelihood
    written on counts: exact with ties (case weights, as lifelines and R read them, would take the
    tied users of one row for one user). ph_pvalue: `drift_pvalues` with one minus the pooled
    Kaplan-Meier curve just before; of one stratum only. ``groups``: where these hold accounts, the
    interval is Lin & Wei's (1989) with score residuals summed by account, by `critical`'s t
    distribution; the test is `logrank`'s. What cannot be estimated is absent.
    """
    sets, times = _risk_sets(pairs)
    if not sets.events.sum():
        return {}
    clusters = _Clusters(sets, times, [pair for pair in groups if pair[0].cells is not None])
    out = {"logrank_pvalue": clusters.test().pvalue}
    if not (sets.events[:, ::-1] * (sets.at_risk > 0)).any(axis=0).all():
        return out  # one group is wholly before the other, or without an event: no finite ratio
    beta, moments = fit(sets)
    information = float(moments.variance.sum())
    se, z = information**-0.5, stats.Z
    if clusters.strata:
        se, z = float(clusters.spread(beta)[0, 0]) ** 0.5 / information, critical_of(groups)
    ends = np.exp(beta[0] + np.array([0.0, -z * se, z * se]))
    out = interval_columns("hazard_ratio", *map(float, ends)) | out
    if len(pairs) == 1:
        n, d = sets.at_risk.sum(axis=1), sets.events.sum(axis=1)
        past = 1 - np.r_[1.0, np.cumprod(1 - d / n)[:-1]]
        out["ph_pvalue"] = float(drift_pvalues(moments, past)[0])
    return out


class LogRank(NamedTuple):
    """A log-rank test: its statistic, degrees of freedom, and p-value."""

    statistic: float
    df: int
    pvalue: float


def logrank(groups: Sequence[Group]) -> LogRank:
    """Whether any of several groups differs from the others, over the whole of their curves.

    Where users sit in accounts it is the robust score test of Cox's model at no difference, its
    residuals summed by account, by the F distribution with one degree less than there are accounts
    (`n_clusters`); NaN where any group has fewer than 10 of these.
    """
    sets, times = _risk_sets([[group.steps for group in groups]])
    by_account = groups[0].cells is not None
    return _Clusters(sets, times, [groups] if by_account else []).test()


def _risk_sets(strata: Sequence[Sequence[stats.Curve]]) -> tuple[RiskSets, list[np.ndarray]]:
    """Risk sets of the step curves of each stratum, and the times of events in each."""
    happened = [[_happened(steps) for steps in curves] for curves in strata]
    times = [np.unique(np.concatenate([time for time, _ in each])) for each in happened]
    sides = [
        [(_events(h, time), at_risk(s, time)) for h, s in zip(each, curves)]
        for time, each, curves in zip(times, happened, strata)
    ]
    events, risk = (
        np.vstack([np.column_stack([side[k] for side in stratum]) for stratum in sides])
        for k in (0, 1)
    )
    # a kind has a column of ones, the last of them none
    x = np.ascontiguousarray(np.eye(events.shape[1])[:, :-1])
    return RiskSets(risk.astype(float), events.astype(float), x), times


def _happened(steps: stats.Curve) -> tuple[np.ndarray, np.ndarray]:
    """The times of a step curve's events, and how many there are."""
    time, n = (np.asarray(steps[column]) for column in ("time", "n_event"))
    return time[n > 0], n[n > 0]


def _events(happened: tuple[np.ndarray, np.ndarray], time: np.ndarray) -> np.ndarray:
    """Events at each time, these among them."""
    found = np.zeros(len(time))
    found[np.searchsorted(time, happened[0])] = happened[1]
    return found


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
    """Groups by stratum, with their accounts, for errors that allow for colleagues being alike."""

    sets: RiskSets
    times: Sequence[np.ndarray]  # of events, by stratum
    strata: Sequence[Sequence[Group]]  # none where users sit in no accounts

    @property
    def groups(self) -> list[Group]:
        return [group for groups in self.strata for group in groups]

    def spread(self, beta: np.ndarray) -> np.ndarray:
        """Variance of the score, its residuals summed by account."""
        parts, moments, begin = [], self.sets.moments(beta), 0
        for time, groups in zip(self.times, self.strata):
            for side, group in enumerate(groups):
                cells = group.cells
                assert cells is not None
                place = begin + np.searchsorted(time, group.steps["time"], side="right")
                first = np.where(cells.entry < 0, begin, place[cells.entry])
                kind = np.full(len(cells.row), side)
                last, hit = place[cells.row], cells.kind == 0
                parts.append(self.sets.residuals(beta, moments, kind, first, last, hit))
            begin += len(time)
        account, n = (
            np.concatenate([getattr(g.cells, name) for g in self.groups])
            for name in ("account", "n")
        )
        return spread_by_account(np.vstack(parts), account, n)

    def test(self) -> LogRank:
        """Of no difference: by accounts where there are any, NaN where these are too few."""
        from scipy.special import chdtrc, fdtrc

        score, variance = _logrank(self.sets)
        if not self.strata:
            df = int(np.linalg.matrix_rank(variance))
            statistic = float(score @ np.linalg.pinv(variance) @ score)
            return LogRank(statistic, df, float(chdtrc(df, statistic)) if df else np.nan)
        count, none = n_clusters(self.groups), np.zeros(len(score))
        score = self.sets.moments(none).surprise.sum(axis=0)
        spread = self.spread(none) * count / (count - 1)
        df = int(np.linalg.matrix_rank(spread))
        if not df or count < df + 2 or np.isnan(critical_of(self.strata)):
            return LogRank(np.nan, df, np.nan)
        statistic = float(score @ np.linalg.pinv(spread) @ score)
        return LogRank(statistic, df, float(fdtrc(df, count - 1, statistic / df)))


def _logrank(sets: RiskSets) -> tuple[np.ndarray, np.ndarray]:
    """Events less those expected of every kind of user but the last, and their covariance."""
    n, d = sets.at_risk.sum(axis=1), sets.events.sum(axis=1)
    share = sets.at_risk / n[:, None]
    score = (sets.events - d[:, None] * share).sum(axis=0)
    times = d * (n - d) / np.maximum(n - 1, 1)
    variance = np.diag(times @ share) - share.T @ (times[:, None] * share)
    return score[:-1], variance[:-1, :-1]


def spread_by_account(at: np.ndarray, account: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sum over accounts (-1: none, each such user for himself) of the square of their users' sum.

    ``at``: a row a cell of users alike; ``account`` and ``n``: of the cells.
    """
    has = account >= 0
    each = [np.bincount(account[has], n[has] * column[has]) for column in at.T]
    sums = np.column_stack(each)
    return np.asarray(sums.T @ sums + at[~has].T @ (n[~has, None] * at[~has]))
