"""Credit by rule: each touch's share of a conversion, chains of touches, and how far an order of partners can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution.touchpoints import Users
from mctlib.eventlog.journeys import first_rows

RULES = ("first", "last", "linear", "time_decay", "position", "markov", "shapley")
APPROACHES = ("CRM record", "survey answer", "last UTM", "multi-touch")
SURE = 0.975  # share of bootstrap draws from which on one partner is said to stand before another


def shares(rule: str, user: np.ndarray, half_lives: np.ndarray, latest: np.ndarray) -> np.ndarray:
    """Each touch's share of its conversion; the rows are whole paths, in order. ``latest``: the partner's latest touch in the path."""
    first = first_rows(user)
    n = np.repeat(np.diff(np.r_[first, len(user)]), np.diff(np.r_[first, len(user)]))
    before = np.arange(len(user)) - np.repeat(first, np.diff(np.r_[first, len(user)]))
    after = n - 1 - before
    if rule == "position":
        return np.select(
            [n == 1, n == 2, (before == 0) | (after == 0)],
            [1.0, 0.5, 0.4],
            0.2 / np.maximum(n - 2, 1),
        )
    recent = (
        half_lives - half_lives[np.arange(len(user)) + after]
    )  # against the path's last touch, so that nothing vanishes
    weight = {
        "first": before == 0,
        "last": after == 0,
        "linear": np.ones(len(user)),
        "time_decay": 2.0**-recent,
        "shapley": latest,
    }[rule].astype(float)
    return weight / np.repeat(np.add.reduceat(weight, first), n[first]) if len(user) else weight


def count_credit(
    tally: Callable[..., None],
    u: Users,
    user: np.ndarray,
    time: np.ndarray,
    partner: np.ndarray,
    *,
    rules: Sequence[str],
    windows: np.ndarray,
    half_life: int,
    start_state: int,
) -> None:
    """Credit by rule and window, and the transitions of the Markov chain by window. ``start_state``: the first state after the partners."""
    lag, n = u.conv[user] - time, len(user)
    apart = np.r_[np.diff(user) != 0, True][:n]  # the next touch is another user's
    following = np.r_[partner[1:], -1][:n]
    latest = np.zeros(n, bool)  # the partner's latest touch in the path
    order = np.lexsort((np.arange(n), partner, user))
    latest[order] = np.r_[(np.diff(user[order]) != 0) | (np.diff(partner[order]) != 0), True][:n]
    for w, window in enumerate(windows):
        hit = u.counted[user] & (lag <= window)
        rows = np.flatnonzero(hit)
        for i, rule in enumerate(rules):
            if rule != "markov":
                tally(
                    "credit",
                    user[rows],
                    shares(rule, user[rows], lag[rows] / half_life, latest[rows]),
                    window=w,
                    item=i,
                    partner=partner[rows],
                )
        if "markov" not in rules:
            continue
        ends = apart | (np.r_[np.diff(time), 0][:n] > window) | (hit != np.r_[hit[1:], False][:n])
        closed = np.minimum(
            time + window, u.leave[user]
        )  # a path is lost when its window closes or the user leaves
        lost = (
            ~hit & ~(u.inside[user] & (lag <= window)) & (closed >= u.origin) & (closed <= u.as_of)
        )
        begins = np.r_[True, ends[:-1]][:n]
        valid = (hit | lost)[ends][np.cumsum(begins) - 1]
        begins, moves, ends = (
            begins & valid,
            ~ends & valid & (partner != following),
            ends & valid,
        )  # staying changes no removal effect
        tally("path", user[begins], window=w, partner=start_state, other=partner[begins])
        tally("path", user[moves], window=w, partner=partner[moves], other=following[moves])
        tally(
            "path",
            user[ends],
            window=w,
            partner=partner[ends],
            other=start_state + np.where(hit[ends], 1, 2),
        )


def count_approaches(
    tally: Callable[..., None],
    u: Users,
    user: np.ndarray,
    time: np.ndarray,
    partner: np.ndarray,
    utm: np.ndarray | None,
    named: Mapping[int, np.ndarray],
    *,
    window: int,
) -> None:
    """Whom each of `APPROACHES` names for the counted conversions, and how much of that multi-touch credits alike.

    ``utm``: the partner that each touch's utm_source names (-1: none; None: not asked) · ``named``: approach -> each user's partner (-1: none).
    """
    near = np.flatnonzero(u.counted[user] & (u.conv[user] - time <= window))
    who, p = user[near], partner[near]
    share = shares("linear", who, np.zeros(len(who)), np.zeros(len(who), bool))
    for what in ("approach", "alike"):
        tally(what, who, share, item=3, partner=p)
    if utm is not None:
        tagged = near[utm[near] >= 0]  # in order of time, so that a user's last one stays
        last = np.full(len(u.conv), -1)
        last[user[tagged]] = utm[tagged]
        named = {**named, 2: last}
    for i, name in named.items():
        said = np.flatnonzero(u.counted & (name >= 0))
        tally("approach", said, item=i, partner=name[said])
        same = name[who] == p
        tally("alike", who[same], share[same], item=i, partner=p[same])


def removal_credit(path: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(n, partners) credit from n chains' transition counts (n, partners + start, partners + start + conversion + lost), scaled to ``total`` (n,).

    Removal effect = P(the partner is ever visited) x P(conversion from there) / P(conversion): paths through a removed partner are lost.
    """
    p = path.shape[1] - 1
    move = np.nan_to_num(stats.rate(path, path.sum(axis=2, keepdims=True)))
    visits = np.linalg.inv(np.eye(p) - move[:, :p, :p])  # expected visits, row to column
    arrive = np.einsum("ni,nij->nj", move[:, p, :p], visits) / np.einsum("nii->ni", visits)
    effect = arrive * np.einsum("nij,nj->ni", visits, move[:, :p, p + 1])
    return np.nan_to_num(total[:, None] * stats.rate(effect, effect.sum(axis=1, keepdims=True)))


def draw_credit(
    credit: np.ndarray, paths: Iterable[np.ndarray], attributed: np.ndarray, markov: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Credit (rules, windows, partners) and bootstrap draws of it (draws first) from counts by user bucket (axis 0).

    ``paths``: transitions, one window after the other (so that one at a time is in memory), for the rule of index ``markov`` (none: not asked);
    ``attributed``: conversions by window.
    """
    found, drawn = credit.sum(axis=0), stats.bucket_draws(credit, seed=seed)
    for w, path in enumerate(paths):
        whole = np.c_[path.reshape(len(path), -1), attributed[:, w]]
        removal = lambda sums, shape=path.shape[1:]: removal_credit(
            sums[:, :-1].reshape(-1, *shape), sums[:, -1]
        )  # noqa: E731
        found[markov, w], drawn[:, markov, w] = (
            removal(whole.sum(axis=0)[None])[0],
            stats.bucket_draws(whole, removal, seed=seed),
        )
    return found, drawn


def ranks(credit: np.ndarray) -> np.ndarray:
    """1 + how many partners (the last axis) have more."""
    from scipy.stats import rankdata

    return rankdata(-credit, method="min", axis=-1)


def stability(
    credit: np.ndarray,
    draws: np.ndarray,
    names: Sequence[str],
    rules: Sequence[str],
    days: np.ndarray,
    reference: int,
) -> pd.DataFrame:
    """rule, window_days, kendall_tau (tau-b of the partners' credit against the window of index ``reference``), top_partner, top_rate."""
    order = np.sign(
        credit[..., :, None] - credit[..., None, :]
    )  # of every pair of partners; Kendall's tau-b is their correlation
    kept, against = (order**2).sum(axis=(-2, -1)), order[:, reference, None]
    tau = stats.rate((order * against).sum(axis=(-2, -1)), np.sqrt(kept * kept[:, reference, None]))
    rows, drawn = [], not np.isnan(draws).any()
    for i, rule in enumerate(rules if len(names) else ()):
        for w, window in enumerate(days):
            top = credit[i, w].argmax()
            rows.append(
                (
                    rule,
                    window,
                    tau[i, w],
                    names[top],
                    (draws[:, i, w].argmax(axis=1) == top).mean() if drawn else np.nan,
                )
            )
    return pd.DataFrame(
        rows, columns=["rule", "window_days", "kendall_tau", "top_partner", "top_rate"]
    )


def sure_order(draws: np.ndarray) -> np.ndarray:
    """(..., partner, partner): whether the first has more credit than the second in at least `SURE` of the draws (axis 0); partners on the last axis."""
    ahead = np.zeros((*draws.shape[1:], draws.shape[-1]))
    for draw in draws:
        ahead += draw[..., :, None] > draw[..., None, :]
    return ahead >= SURE * len(draws)
