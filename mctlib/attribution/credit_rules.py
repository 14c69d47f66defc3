"""Credit by rule: each touch's share of a conversion, chains of touches, what can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit, types

from mctlib import stats
from mctlib.attribution.person_time import CLOCK, TALLY, Clock, Tally
from mctlib.attribution.touchpoints import INTS, TOUCHES, USERS, Array, Touches, Users
from mctlib.eventlog.journeys import NEVER, NOWHERE

RULES = ("first", "last", "linear", "time_decay", "position", "markov", "shapley")
FIRST, LAST, LINEAR, TIME_DECAY, POSITION, MARKOV, SHAPLEY = range(len(RULES))
APPROACHES = ("CRM record", "survey answer", "last UTM", "multi-touch")
CRM, ANSWER, UTM, MULTI = range(len(APPROACHES))
SURE = 0.975  # share of bootstrap draws from which on one partner is said to stand before another


@njit(cache=True, nogil=True)
def weight(kind: int, place: int, n: int, half_lives: float, final: bool) -> float:
    """Weight of the touch at a ``place`` (from 0) of a path of n by a rule.

    Time decay counts against the path's last touch, so that nothing vanishes; Shapley's value is an
    equal split among the partners, so each partner's ``final`` touch stands for it.
    """
    if kind == FIRST:
        return 1.0 if place == 0 else 0.0
    if kind == LAST:
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
    path: tuple[int, int], touches: Touches, final: Array, clock: Clock, credit: Array
) -> None:
    """Share a conversion among the touches of its path; ``credit``: (rule, partner)."""
    begin, stop = path
    n = stop - begin
    weights = np.empty(n)
    for r, kind in enumerate(clock.rules):
        if kind == MARKOV:
            continue
        for i in range(begin, stop):
            half_lives = (touches.time[stop - 1] - touches.time[i]) / clock.half_life
            weights[i - begin] = weight(kind, i - begin, n, half_lives, final[i])
        whole = weights.sum()
        for i in range(begin, stop):
            credit[r, touches.partner[i]] += weights[i - begin] / whole


@njit(cache=True, nogil=True)
def follow_chain(
    user: int, first: int, users: Users, touches: Touches, span: tuple[int, int, int], moves: Array
) -> None:
    """Add the moves of a user's paths, runs of touches less than the window apart.

    The touches from ``first`` on lead to the conversion. A run that no conversion follows within
    the window is lost, in the last moment of its window or when the user leaves; while it is open
    it is no path. Staying with a partner changes no removal effect. ``span``: window, origin, end.
    """
    window, origin, end = span
    begin, stop = touches.edges[user], touches.edges[user + 1]
    start, converted, lost = len(moves) - 1, len(moves), len(moves) + 1
    for i in range(begin, stop):
        goes_on = i + 1 < stop and touches.time[i + 1] - touches.time[i] < window
        if goes_on and i + 1 != first:
            continue
        closes = touches.time[i] + window - 1
        in_time = users.inside[user] and closes >= users.conversion[user]
        if users.leave[user] != NEVER:
            closes = min(closes, users.leave[user])
        if i >= first or (not in_time and origin <= closes <= end):
            moves[start, touches.partner[begin]] += 1
            for k in range(begin, i):
                if touches.partner[k] != touches.partner[k + 1]:
                    moves[touches.partner[k], touches.partner[k + 1]] += 1
            moves[touches.partner[i], converted if i >= first else lost] += 1
        begin = i + 1


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
    user: int, users: Users, touches: Touches, clock: Clock, final: Array, found: Tally
) -> None:
    """Add the user's credit by rule and window, and the moves of their chains."""
    stop = touches.edges[user + 1]
    for w, window in enumerate(clock.windows):
        first = first_within(user, users, touches, window)
        if first < stop:
            share_path((first, stop), touches, final, clock, found.credit[:, w])
        if MARKOV in clock.rules:
            span = (window, clock.origin, clock.end)
            follow_chain(user, first, users, touches, span, found.moves[w])


@njit(types.void(INTS, USERS, TOUCHES, CLOCK, TALLY), cache=True, nogil=True)
def count_users(who: Array, users: Users, touches: Touches, clock: Clock, found: Tally) -> None:
    """Count the credit of some users and the moves of their chains."""
    final = np.zeros(len(touches.time), np.bool_)
    seen = np.full(found.credit.shape[2], NOWHERE)  # the last user whom a partner touched
    for user in who:
        for i in range(touches.edges[user + 1] - 1, touches.edges[user] - 1, -1):
            final[i] = seen[touches.partner[i]] != user
            seen[touches.partner[i]] = user
        add_credit(user, users, touches, clock, final, found)


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
    user) the partner, of which the last UTM's is found here · ``sums``: credited and alike, by
    approach and partner.
    """
    credited, alike = sums
    for user in range(len(users.counted)):
        if not users.counted[user]:
            continue
        stop = touches.edges[user + 1]
        first = first_within(user, users, touches, window)
        for i in range(first, stop):
            credited[MULTI, touches.partner[i]] += 1 / (stop - first)
            alike[MULTI, touches.partner[i]] += 1 / (stop - first)
            if utm[i] != NOWHERE:
                named[UTM, user] = utm[i]
        for approach in range(MULTI):
            partner = named[approach, user]
            if partner != NOWHERE:
                credited[approach, partner] += 1
                for i in range(first, stop):
                    if touches.partner[i] == partner:
                        alike[approach, partner] += 1 / (stop - first)


def removal_credit(path: np.ndarray) -> np.ndarray:
    """(n, partners) credit from the moves of n chains, scaled to their conversions.

    Moves from partners and start (n, partners + start) to partners, start, conversion and lost.
    Removal effect = P(the partner is ever visited) x P(conversion from there) / P(conversion):
    paths through a removed partner are lost (Anderl et al. 2016, solved exactly).
    """
    p = path.shape[1] - 1
    move = np.nan_to_num(stats.rate(path, path.sum(axis=2, keepdims=True)))
    visits = np.linalg.inv(np.eye(p) - move[:, :p, :p])  # expected visits, row to column
    arrive = np.einsum("ni,nij->nj", move[:, p, :p], visits) / np.einsum("nii->ni", visits)
    effect: Array = arrive * np.einsum("nij,nj->ni", visits, move[:, :p, p + 1])
    converted = path[:, :, p + 1].sum(axis=1)
    scaled = converted[:, None] * stats.rate(effect, effect.sum(axis=1, keepdims=True))
    return np.nan_to_num(scaled)


@dataclass(frozen=True)
class Credit:
    """Credit (rules, windows, partners) and bootstrap draws of it (draws first)."""

    names: np.ndarray
    found: np.ndarray
    drawn: np.ndarray

    def of(self, some: np.ndarray) -> Credit:
        """The credit of some of the partners."""
        return Credit(self.names[some], self.found[..., some], self.drawn[..., some])

    def by(self, rule: int) -> Credit:
        """The credit (windows, partners) by one rule."""
        return Credit(self.names, self.found[rule], self.drawn[:, rule])

    @property
    def sure(self) -> bool:
        """Whether there are draws to judge by."""
        return not np.isnan(self.drawn).any()


def draw_credit(
    credit: np.ndarray, paths: Iterable[np.ndarray], markov: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Credit (rules, windows, partners) and draws of it, from counts by bucket (the first axis).

    ``paths``: moves, one window after the other (so that one at a time is in memory), for the rule
    of index ``markov``, where it is asked for.
    """
    found, drawn = credit.sum(axis=0), stats.bucket_draws(credit, seed=seed)
    for w, path in enumerate(paths):
        found[markov, w] = removal_credit(path.sum(axis=0)[None])[0]
        drawn[:, markov, w] = stats.bucket_draws(path, removal_credit, seed=seed)
    return found, drawn


def ranks(credit: np.ndarray) -> np.ndarray:
    """1 + how many partners (the last axis) have more."""
    from scipy.stats import rankdata

    found: Array = rankdata(-credit, method="min", axis=-1)
    return found


def kendall_tau(credit: np.ndarray, reference: int) -> np.ndarray:
    """Kendall's tau-b of the partners' credit (rules, windows, partners) against one window's.

    It is the correlation of the signs of all pairs' differences.
    """
    order = np.sign(credit[..., :, None] - credit[..., None, :])
    against = order[:, reference, None]
    untied = (order**2).sum(axis=(-2, -1))
    scale = np.sqrt(untied * untied[:, reference, None])
    return stats.rate((order * against).sum(axis=(-2, -1)), scale)


def stability(
    credit: Credit, rules: Sequence[str], days: np.ndarray, reference: int
) -> pd.DataFrame:
    """rule, window_days, kendall_tau, top_partner, top_rate, of the partners that are ranked."""
    columns = ["rule", "window_days", "kendall_tau", "top_partner", "top_rate"]
    if not len(credit.names):
        return pd.DataFrame(columns=columns)
    top = credit.found.argmax(axis=-1)
    rate = (credit.drawn.argmax(axis=-1) == top).mean(axis=0)
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
