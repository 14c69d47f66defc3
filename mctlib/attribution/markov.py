"""Chains of touches: the moves of users' paths, and what is lost without a partner."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types

from mctlib import stats
from mctlib.attribution.credit_rules import first_within
from mctlib.attribution.person_time import CLOCK, Clock
from mctlib.attribution.touchpoints import FLOATS, INTS, TOUCHES, USERS, Array, Touches, Users
from mctlib.eventlog.journeys import NEVER

# Where a chain begins and ends, beside the partners, whose names begin with no blank.
ENDS = (" start", " conversion", " lost")


class Moves(NamedTuple):
    """Moves of chains at one window, added up by user bucket; a line each.

    States are the partners' numbers, then those of `ENDS`.
    """

    bucket: Array
    state: Array
    next: Array
    n: Array


@njit(INTS(INTS, USERS, TOUCHES, CLOCK, types.int64), cache=True, nogil=True)
def chain_moves(
    bucket: Array, users: Users, touches: Touches, clock: Clock, n_partners: int
) -> Array:
    """The moves of users' paths, runs of touches less than the window apart.

    The touches within the window before the conversion lead to it. A run that no conversion follows
    is lost, in the last moment of its window or when the user leaves; while it is open it is no
    path. Staying with a partner changes no removal effect. A move is one number, of its user's
    bucket, the window, state and next state (see `Moves`).
    """
    start, converted, lost = n_partners, n_partners + 1, n_partners + 2
    n_states, n, n_windows = n_partners + 3, 0, len(clock.windows)
    moves = np.empty(2 * len(touches.time) * n_windows, np.int64)  # each run of k touches has k + 1
    for user, b in enumerate(bucket):
        begin_of_all, stop = touches.edges[user], touches.edges[user + 1]
        for w, window in enumerate(clock.windows):
            first, begin = first_within(user, users, touches, window), begin_of_all
            for i in range(begin, stop):
                goes_on = i + 1 < stop and touches.time[i + 1] - touches.time[i] < window
                if goes_on and i + 1 != first:
                    continue
                closes = touches.time[i] + window - 1
                in_time = users.inside[user] and closes >= users.conversion[user]
                if users.leave[user] != NEVER:
                    closes = min(closes, users.leave[user])
                if i >= first or (not in_time and clock.origin <= closes <= clock.end):
                    state, place = start, (b * n_windows + w) * n_states
                    for k in range(begin, i + 1):
                        if state != touches.partner[k]:
                            moves[n] = (place + state) * n_states + touches.partner[k]
                            n += 1
                        state = touches.partner[k]
                    ends = converted if i >= first else lost
                    moves[n] = (place + state) * n_states + ends
                    n += 1
                begin = i + 1
    return moves[:n]


@njit(
    types.float64[:, ::1](INTS, INTS, INTS, FLOATS, *[types.float64[:, ::1]] * 2),
    cache=True,
    nogil=True,
)
def returns(
    bucket: Array, state: Array, next: Array, share: Array, into: Array, visits: Array
) -> Array:
    """By bucket and partner: how much some moves add to the visits of paths that begin with it.

    ``share``: of the moves from its state, each · ``visits``: expected, (from, to) · ``into``: the
    same, (to, from).
    """
    found = np.zeros((stats.N_BUCKETS, len(visits)))
    for m in range(len(bucket)):
        there, back, sums = into[state[m]], visits[next[m]], found[bucket[m]]
        for i in range(len(sums)):
            sums[i] += share[m] * there[i] * back[i]
    return found


class Removal(NamedTuple):
    """What would be lost without each partner, and the credit that is shared out by it.

    By bucket they are derivatives by the weight of the bucket's users, so that weighted sums are
    bootstrap draws to first order: those of the credit add up to it, those of the effect to 0.
    """

    effect: Array  # (partner)
    effect_parts: Array  # (bucket, partner)
    credit: Array  # (bucket, what, partner)


def removal(moves: Moves, brought: Array) -> Removal:
    """Removal effects (Anderl et al. 2016) of a chain, solved exactly.

    Effect of a partner = P(it is ever visited) x P(conversion from there) / P(conversion): paths
    through a removed partner are lost. ``brought``: conversions, and what they bring, by the
    partner before them (bucket, what, partner); the credit of each sums to all of them.
    """
    p = brought.shape[-1]
    n, per_bucket = moves.n, (stats.N_BUCKETS, p)
    left = stats.dense(n, moves.bucket, moves.state, shape=(stats.N_BUCKETS, p + 1))
    per_move = np.nan_to_num(stats.rate(1.0, left.sum(axis=0)))
    begins = moves.state == p
    begun = stats.dense(n[begins], moves.bucket[begins], moves.next[begins], shape=per_bucket)
    begun, left, brought_each = (
        begun * per_move[p],
        (left * per_move)[:, :p],
        brought * per_move[:p],
    )
    inner = (moves.state < p) & (moves.next < p)
    bucket, state, next, n = (column[inner] for column in moves)
    share = n * per_move[state]
    move = stats.dense(share, state, next, shape=(p, p))
    visits = np.linalg.inv(np.eye(p) - move)
    again, first = np.diag(visits), begun.sum(axis=0)
    arrive, reach = first @ visits, brought_each.sum(axis=0) @ visits.T
    effect = arrive * reach / again

    # each by the bucket's weight: moves of its users more, at the cost of the other moves
    d_first = begun - first * begun.sum(axis=1, keepdims=True)
    d_arrive = stats.dense(share * arrive[state], bucket, next, shape=per_bucket)
    d_arrive = (d_first + d_arrive - (left * arrive) @ move) @ visits
    far = [stats.dense(share * end[next], bucket, state, shape=per_bucket) for end in reach]
    d_reach = brought_each + np.stack(far, axis=1) - left[:, None] * reach
    d_reach = np.tensordot(d_reach, visits.T, axes=1)
    d_again = returns(bucket, state, next, share, visits.T.copy(), visits)
    d_again -= left @ (visits.T * (visits - np.eye(p)))
    d_effect = d_arrive[:, None] * reach + arrive * d_reach - effect * d_again[:, None]
    d_effect /= again

    converts = first @ reach[0]
    lost = stats.rate(effect[0], converts)
    d_converts = d_first @ reach[0] + d_reach[:, 0] @ first
    d_lost = stats.rate(d_effect[:, 0] - lost * d_converts[:, None], converts)
    held = np.nan_to_num(stats.rate(effect, effect.sum(axis=1, keepdims=True)))
    d_held = d_effect - held * d_effect.sum(axis=2, keepdims=True)
    d_held = np.nan_to_num(stats.rate(d_held, effect.sum(axis=1, keepdims=True)))
    whole = brought.sum(axis=2, keepdims=True)
    return Removal(lost, d_lost, whole * held + whole.sum(axis=0) * d_held)
