"""Credit by rule: each touch's share of a conversion, and what can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numba import njit, types

from mctlib import stats
from mctlib.attribution.person_time import CLOCK, Clock
from mctlib.attribution.touchpoints import INTS, TOUCHES, USERS, Array, Touches, Users
from mctlib.eventlog.journeys import NOWHERE

RULES = ("first", "last", "linear", "time_decay", "position", "markov", "shapley")
FIRST, LAST, LINEAR, TIME_DECAY, POSITION, MARKOV, SHAPLEY = range(len(RULES))
APPROACHES = ("CRM record", "kept by hand", "survey answer", "last UTM", "multi-touch")
CRM, HAND, ANSWER, UTM, MULTI = range(len(APPROACHES))
AXES = ("what", "rule", "window", "partner")  # of credit: conversions or money, by whom and how
CREDIT = types.Array(types.float64, 1 + len(AXES), "C")
SURE = 0.975  # share of bootstrap draws from which on one partner is said to stand before another


@njit(cache=True, nogil=True)
def weight(kind: int, place: int, n: int, half_lives: float, final: bool) -> float:
    """Weight of the touch at a ``place`` (from 0) of a path of n by a rule.

    Time decay counts against the path's last touch, so that nothing vanishes; Shapley's value is an
    equal split among the partners, so each partner's ``final`` touch stands for it.
    """
    if kind == FIRST:
        return 1.0 if place == 0 else 0.0
    if kind in (LAST, MARKOV):
        return 1.0 if place == n - 1 else 0.0
    if kind == TIME_DECAY:
        return float(2.0**-half_lives)
    if kind == SHAPLEY:
        return 1.0 if final else 0.0
    if kind == POSITION and n > 2:
        return 0.4 if place in (0, n - 1) else 0.2 / (n - 2)
    return 1.0


@njit(cache=True, nogil=True)
def share_path(
    path: tuple[int, int], touches: Touches, final: Array, clock: Clock, worth: float, credit: Array
) -> None:
    """Share a conversion, and its ``worth``, among its touches; ``credit``: (what, rule, partner).

    Markov chains share by what all users do (`markov.removal`): of them stands here what the path's
    last partner brings.
    """
    begin, stop = path
    n = stop - begin
    weights = np.empty(n)
    for r, kind in enumerate(clock.rules):
        for i in range(begin, stop):
            half_lives = (touches.time[stop - 1] - touches.time[i]) / clock.half_life
            weights[i - begin] = weight(kind, i - begin, n, half_lives, final[i])
        whole = weights.sum()
        for i in range(begin, stop):
            share = weights[i - begin] / whole
            credit[0, r, touches.partner[i]] += share
            credit[1, r, touches.partner[i]] += share * worth


@njit(cache=True, nogil=True)
def first_within(user: int, users: Users, touches: Touches, window: int) -> int:
    """First of the user's touches that may earn credit; all later ones are in the window too."""
    first: int = touches.edges[user + 1]
    if users.counted[user]:
        since = users.conversion[user] - window
        while first > touches.edges[user] and touches.time[first - 1] > since:
            first -= 1
    return first


@njit(cache=True, nogil=True)
def add_credit(
    user: int, users: Users, touches: Touches, clock: Clock, final: Array, credit: Array
) -> None:
    """Add the user's ``credit`` (what, rule, window, partner)."""
    stop = touches.edges[user + 1]
    for w, window in enumerate(clock.windows):
        first = first_within(user, users, touches, window)
        if first < stop:
            path = (first, stop)
            share_path(path, touches, final, clock, users.worth[user], credit[:, :, w])


@njit(types.void(INTS, USERS, TOUCHES, CLOCK, CREDIT), cache=True, nogil=True)
def count_users(bucket: Array, users: Users, touches: Touches, clock: Clock, credit: Array) -> None:
    """Count the ``credit`` (bucket, then `AXES`) of users by each one's ``bucket``."""
    final = np.zeros(len(touches.time), np.bool_)
    seen = np.full(credit.shape[4], NOWHERE)  # the last user whom a partner touched
    for user, b in enumerate(bucket):
        for i in range(touches.edges[user + 1] - 1, touches.edges[user] - 1, -1):
            final[i] = seen[touches.partner[i]] != user
            seen[touches.partner[i]] = user
        add_credit(user, users, touches, clock, final, credit[b])


@njit(
    types.void(USERS, TOUCHES, INTS, types.int64[:, ::1], types.int64, types.float64[:, :, ::1]),
    cache=True,
    nogil=True,
)
def add_approaches(
    users: Users, touches: Touches, utm: Array, named: Array, window: int, sums: Array
) -> None:
    """Count whom each of `APPROACHES` names for the conversions, and what multi-touch does alike.

    ``utm``: the partner that each touch's utm_source names, NOWHERE: none · ``named``: (approach,
    user) the partner, of which the last UTM's is found here · ``sums``: credited, alike and what
    those alike are worth, by approach and partner.
    """
    credited, alike, worth = sums
    for user in range(len(users.counted)):
        if not users.counted[user]:
            continue
        stop = touches.edges[user + 1]
        first = first_within(user, users, touches, window)
        for i in range(first, stop):
            credited[MULTI, touches.partner[i]] += 1 / (stop - first)
            alike[MULTI, touches.partner[i]] += 1 / (stop - first)
            worth[MULTI, touches.partner[i]] += users.worth[user] / (stop - first)
            if utm[i] != NOWHERE:
                named[UTM, user] = utm[i]
        for approach in range(MULTI):
            partner = named[approach, user]
            if partner != NOWHERE:
                credited[approach, partner] += 1
                for i in range(first, stop):
                    if touches.partner[i] == partner:
                        alike[approach, partner] += 1 / (stop - first)
                        worth[approach, partner] += users.worth[user] / (stop - first)


@njit(types.void(*[types.float64[:, ::1]] * 2, types.int64[:, ::1]), cache=True, nogil=True)
def rank_rows(credit: Array, found: Array, order: Array) -> None:
    """Rank each row's numbers by their ``order``; equal ones share the first of their ranks."""
    for row in range(len(credit)):
        rank, before = 0, np.nan
        for place in range(credit.shape[1]):
            at = order[row, place]
            if credit[row, at] != before:
                rank, before = place + 1, credit[row, at]
            found[row, at] = rank


@dataclass(frozen=True)
class Credit:
    """Credit (rules, windows, partners), or the money it stands for, and bootstrap draws of it.

    ``parts``: by bucket (first axis); they add up to the credit · ``seed``: of the draws ·
    ``sure``: whether there are buckets enough for draws to judge by.
    """

    names: np.ndarray
    parts: np.ndarray
    seed: int
    sure: bool = True

    @cached_property
    def found(self) -> np.ndarray:
        """The credit."""
        credit: np.ndarray = self.parts.sum(axis=0)
        return credit

    @cached_property
    def drawn(self) -> np.ndarray:
        """Draws of it, on a first axis; NaN where none can be trusted."""
        draws = stats.bucket_draws(self.parts, seed=self.seed)
        return np.maximum(draws, 0.0) if self.sure else np.full_like(draws, np.nan)

    def of(self, some: np.ndarray) -> Credit:
        """The credit of some of the partners."""
        return replace(self, names=self.names[some], parts=self.parts[..., some])

    def by(self, rule: int) -> Credit:
        """The credit (windows, partners) by one rule."""
        return replace(self, parts=self.parts[:, rule])


def ranks(credit: np.ndarray) -> np.ndarray:
    """1 + how many partners (the last axis) have more; of nobody where one's is missing."""
    rows = np.ascontiguousarray(credit, float).reshape(-1, credit.shape[-1])
    rows = np.round(rows, 6)  # sums in another order differ by less
    found = np.empty_like(rows)
    rank_rows(rows, found, np.argsort(-rows, axis=-1))
    found[np.isnan(rows).any(axis=-1)] = np.nan
    return found.reshape(credit.shape)


def kendall_tau(credit: np.ndarray, reference: int) -> np.ndarray:
    """Kendall's tau-b of the partners' credit (rules, windows, partners) against one window's."""
    found = []
    for by in credit:
        order = np.sign(by[:, :, None] - by[:, None, :])  # of every two partners
        agreed, untied = (order * order[reference]).sum(axis=(1, 2)), (order**2).sum(axis=(1, 2))
        found.append(stats.rate(agreed, np.sqrt(untied * untied[reference])))
    return np.array(found)


def stability(
    credit: Credit, rules: Sequence[str], days: np.ndarray, reference: int
) -> pd.DataFrame:
    """rule, window_days, kendall_tau, top_partner, top_rate, of the partners that are ranked."""
    columns = ["rule", "window_days", "kendall_tau", "top_partner", "top_rate"]
    if not len(credit.names):
        return pd.DataFrame(columns=columns)
    top = credit.found.argmax(axis=-1)
    drawn = (credit.by(r).drawn.argmax(axis=-1) == top[r] for r in range(len(rules)))
    rate = np.array([same.mean(axis=0) for same in drawn])
    table = pd.MultiIndex.from_product([rules, days], names=columns[:2]).to_frame(index=False)
    return table.assign(
        kendall_tau=kendall_tau(credit.found, reference).ravel(),
        top_partner=credit.names[top].ravel(),
        top_rate=rate.ravel() if credit.sure else np.nan,
    )


def sure_order(draws: np.ndarray) -> np.ndarray:
    """(..., partner, partner): has the first more credit than the second in enough draws (`SURE`).

    Draws on the first axis, partners on the last.
    """
    ahead = np.zeros((*draws.shape[1:], draws.shape[-1]))
    for draw in draws:
        ahead += draw[..., :, None] > draw[..., None, :]
    return ahead >= SURE * len(draws)
