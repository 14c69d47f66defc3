"""Days at risk after touches: the background rate, the conversions beyond it by window and partner, how late they come, and placebo touches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution.touchpoints import FAR, Users
from mctlib.eventlog.journeys import first_rows

DAY = 86_400_000_000
TENURE_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)
ENOUGH = 0.9  # share of the largest excess that a window must reach
MOST_POOLED = 0.2  # share of exposed days without a background of their own: beyond it a borrowed rate, not the data, would decide the excess
THIN = 0.05  # untouched days per exposed day below which a stratum has no background: one untouched conversion would weigh more than 20 exposed ones

# ---------------------------------------------------------------------------------------------------------------------------- counting


def cut(
    a: np.ndarray, b: np.ndarray, anchor: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Intervals (a, b] cut at ``anchor`` + ``edges``: row, band (edges are upper ends, inclusive), begin and end of each piece."""
    first, last = (
        np.searchsorted(edges, a - anchor, side="right"),
        np.searchsorted(edges, b - anchor, side="left"),
    )
    n = last - first + 1
    row = np.repeat(np.arange(len(a)), n)
    band = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n) + first[row]
    bounds = np.r_[-FAR, edges, FAR]
    return (
        row,
        band,
        np.maximum(a[row], anchor[row] + bounds[band]),
        np.minimum(b[row], anchor[row] + bounds[band + 1]),
    )


def count_exposure(
    tally: Callable[..., None],
    u: Users,
    user: np.ndarray,
    time: np.ndarray,
    partner: np.ndarray,
    *,
    bucket: np.ndarray,
    windows: np.ndarray,
    reference: int,
    periods: np.ndarray,
) -> None:
    """Days at risk and conversions by stratum (tenure x calendar ``periods``) and lag: of any last touch (``risk_*``), of a touch with no other
    partner's beside it (``alone_*``), of placebo touches (``placebo_*``). ``windows`` are the lag's bins, the last band is beyond them all. Conversions at the very begin of the counted time at
    risk stand apart (``once_n``, ``partner_once``).

    Beside it, at ``windows[reference]``: conversions and days by partner (``partner_*``), and the days that two partners have in common (``overlap``).
    """
    tenure, n_periods = np.array(TENURE_DAYS) * DAY, len(periods) + 1

    def days(
        what: str,
        who: np.ndarray,
        a: np.ndarray,
        b: np.ndarray,
        since: np.ndarray | None,
        **keys: np.ndarray,
    ) -> None:
        """The days of (a, b] at risk, by stratum and, where given, lag since ``since``."""
        a, b = np.maximum(a, u.low[who]), np.minimum(b, u.end[who])
        at = np.flatnonzero(a < b)
        a, b, lag = a[at], b[at], np.zeros(len(at), np.int64)
        if since is not None:
            row, lag, a, b = cut(a, b, since[at], windows)
            at = at[row]
        row, band, a, b = cut(a, b, u.start[who[at]], tenure)
        again, period, a, b = cut(a, b, np.zeros(len(a), np.int64), periods)
        row, band = row[again], band[again]
        at = at[row]
        tally(
            what,
            who[at],
            (b - a) / DAY,
            window=lag[row],
            item=band * n_periods + period,
            **{k: v[at] for k, v in keys.items()},
        )

    def converted(what: str, who: np.ndarray, since: np.ndarray, **keys: np.ndarray) -> None:
        """The conversions of some users, by lag since ``since`` and stratum."""
        conv = u.conv[who]
        stratum = np.searchsorted(tenure, conv - u.start[who]) * n_periods + np.searchsorted(
            periods, conv
        )
        tally(what, who, window=np.searchsorted(windows, conv - since), item=stratum, **keys)

    # from a touch to the next one the lag runs; before the first touch it is beyond every window
    begin, longest = first_rows(user), windows[-1]
    final = np.r_[begin[1:], len(user)] - 1 if len(user) else begin
    first_touch, last_touch, following = (
        np.full(len(u.start), FAR),
        np.full(len(u.start), -FAR),
        np.roll(time, -1),
    )
    first_touch[user[begin]], last_touch[user[final]], following[final] = (
        time[begin],
        time[final],
        FAR,
    )
    everyone, won = np.flatnonzero(u.start < FAR), np.flatnonzero(u.counted)
    days(
        "risk_time",
        np.r_[user, everyone],
        np.r_[time, u.start[everyone]],
        np.r_[following, first_touch[everyone]],
        np.r_[time, u.start[everyone] - longest - 1],
    )
    timed = (
        u.counted & (u.conv > u.low)
    )  # the others convert at the very start: no day of theirs tells how soon they would have without a touch
    for what, which in (("risk_n", timed[won]), ("once_n", ~timed[won])):
        converted(what, won[which], last_touch[won[which]])

    # while no other partner has touched within the longest window, what follows is this partner's alone
    here = np.arange(len(user))
    run = np.maximum.accumulate(
        np.where(np.r_[True, (np.diff(user) != 0) | (np.diff(partner) != 0)][: len(user)], here, 0)
    )  # begin of the partner's run of touches
    other = (
        np.where((run > 0) & (user[run - 1] == user), time[run - 1], -FAR) if len(user) else time
    )
    days(
        "alone_time",
        user,
        np.maximum(time, other + longest),
        np.minimum(following, time + longest),
        time,
        partner=partner,
    )
    held = final[timed[user[final]]]
    held = held[
        (u.conv[user[held]] - time[held] <= longest) & (u.conv[user[held]] - other[held] > longest)
    ]
    converted("alone_n", user[held], time[held], partner=partner[held])

    # a partner's exposure: the union of the windows of its touches; then what two partners' exposures have in common
    reach = windows[reference]
    order = np.lexsort((time, partner, user))
    who, p, t = user[order], partner[order], time[order]
    fresh = np.r_[True, (np.diff(who) != 0) | (np.diff(p) != 0) | (np.diff(t) > reach)][: len(t)]
    a, b, who, p = t[fresh], t[np.r_[fresh[1:], True][: len(t)]] + reach, who[fresh], p[fresh]
    held = u.counted[who] & (
        b >= u.conv[who]
    )  # no touch is later than the conversion, so only a partner's last union can hold it
    tally("partner_n", who[held], partner=p[held])
    held &= ~timed[who]
    tally("partner_once", who[held], partner=p[held])
    days("partner_time", who, a, b, None, partner=p)
    a, b = np.maximum(a, u.low[who]), np.minimum(b, u.end[who])
    some = a < b
    who, p, a, b = who[some], p[some], a[some], b[some]
    i, step = np.arange(len(who) - 1), 1
    while len(i := i[(i + step < len(who))]) and len(i := i[who[i + step] == who[i]]):
        common = np.minimum(b[i], b[i + step]) - np.maximum(a[i], a[i + step])
        meet = i[common > 0]
        tally("overlap", who[meet], common[common > 0] / DAY, partner=p[meet], other=p[meet + step])
        step += 1

    # placebo: the same touches, later by one to two longest windows (by the user's bucket), where no true touch is within the longest window
    real = np.r_[np.ones(len(user), bool), np.zeros(len(user), bool)]
    who, t = np.r_[user, user], np.r_[time, time + longest + longest * bucket[user] // 100]
    order = np.lexsort((t, who))
    who, t, real = who[order], t[order], real[order]
    here = np.arange(len(t))
    latest = [np.maximum.accumulate(np.where(kind, here, -1)) for kind in (real, ~real)]
    true, sham = (np.where((i >= 0) & (who[i] == who), np.r_[t, 0][i], -FAR) for i in latest)
    going = np.minimum(
        np.where(np.r_[who[1:] != who[:-1], True][: len(t)], FAR, np.roll(t, -1)), sham + longest
    )
    days("placebo_time", who, np.maximum(t, true + longest), going, sham)
    before = np.flatnonzero(t <= u.conv[who])
    before = before[np.r_[who[before][1:] != who[before][:-1], True][: len(before)]]
    conv = u.conv[who[before]]
    before = before[
        timed[who[before]] & (conv - true[before] > longest) & (conv - sham[before] <= longest)
    ]
    converted("placebo_n", who[before], sham[before])


# -------------------------------------------------------------------------------------------------------------------------- statistics


def hazard(n: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Conversions per day by stratum (axis 1), the overall rate where a stratum has no day."""
    overall = stats.rate(n.sum(axis=1, keepdims=True), time.sum(axis=1, keepdims=True))
    return np.where(time > 0, stats.rate(n, time), overall)


def pooled_share(time: np.ndarray) -> float:
    """Share of the exposed days whose stratum has hardly any background of its own, 1 without a day; ``time``: (strata, windows + 1) days, the last column untouched."""
    exposed = time[:, :-1].sum(axis=1)
    return (
        float(exposed[time[:, -1] < THIN * exposed].sum() / exposed.sum())
        if time[:, -1].any() and exposed.any()
        else 1.0
    )


def window_table(
    n: np.ndarray,
    time: np.ndarray,
    once_n: np.ndarray,
    sham_n: np.ndarray,
    sham_time: np.ndarray,
    days: np.ndarray,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """The windows table of `attribution_windows`, and why no window is admissible ("" where the data hold a background).

    Conversions and days by (bucket, stratum, lag), the last lag of ``n``, ``time`` and ``once_n`` untouched; ``sham_*``: of placebo touches;
    ``once_n``: conversions without time at risk, which no touch is judged by.
    """
    k = len(days)
    whole = np.stack(
        [
            n,
            time,
            once_n,
            np.pad(sham_n, ((0, 0), (0, 0), (0, 1))),
            np.pad(sham_time, ((0, 0), (0, 0), (0, 1))),
        ],
        axis=1,
    )

    def counts(sums: np.ndarray) -> np.ndarray:
        """(draws, 3, windows): attributed conversions and those of them that the background brings, by lag bin; as many as placebo touches would be credited, up to it."""
        n, time, once_n, sham_n, sham_time = np.moveaxis(sums, 1, 0)
        once = once_n[..., :k].sum(axis=1)
        rate = hazard(n[..., k], time[..., k])[:, None]
        expected, sham = ((rate @ t[..., :k])[:, 0] for t in (time, sham_time))
        prone = stats.rate(
            sham_n[..., :k].sum(axis=1).cumsum(axis=1), sham.cumsum(axis=1)
        )  # touched users against all at the same tenure and calendar
        return np.stack(
            [
                n[..., :k].sum(axis=1) + once,
                expected + once,
                prone * expected.cumsum(axis=1) + once.cumsum(axis=1),
            ],
            axis=1,
        )

    found, drawn = (
        counts(whole.sum(axis=0)[None])[0],
        counts(stats.bucket_draws(whole, seed=seed)),
    )
    (attributed, expected), placebo = found[:2].cumsum(axis=1), found[2]
    bins = drawn[:, 0] - drawn[:, 1]
    gain, gains, placebos = attributed - expected, bins.cumsum(axis=1), drawn[:, 2]
    all_n = drawn[:, 0].cumsum(axis=1)
    late = attributed[-1] - attributed
    (e_low, e_high), (d_low, d_high), (p_low, p_high) = (
        stats.percentile_interval(d)
        for d in (gains, 1 - stats.rate(gains, all_n), stats.rate(placebos, all_n))
    )
    late_low, late_high = stats.wilson(late, np.full(k, attributed[-1]))
    most = gains.max(axis=1, keepdims=True)
    r_low, r_high = stats.percentile_interval(
        np.where(most > 0, gains / np.where(most > 0, most, 1), np.nan)
    )
    bin_low = stats.percentile_interval(bins)[0]
    rises = (
        np.r_[bin_low[1:], bin_low[-1]] > 0
    )  # the excess still grows beyond the window; for the longest: within its last bin
    admissible = (e_low > 0) & (r_high >= ENOUGH) & ~rises
    enough = np.flatnonzero(admissible & (r_low >= ENOUGH))
    admissible[enough[0] + 1 if len(enough) else k :] = False
    table = pd.DataFrame(
        {
            "window_days": days,
            "n_attributed": attributed.astype(int),
            "n_late": late.astype(int),
            "late_rate": stats.rate(late, attributed[-1]),
            "late_rate_ci_lower": late_low,
            "late_rate_ci_upper": late_high,
            "n_excess": gain,
            "n_excess_ci_lower": e_low,
            "n_excess_ci_upper": e_high,
            "dilution_rate": 1 - stats.rate(gain, attributed),
            "dilution_rate_ci_lower": d_low,
            "dilution_rate_ci_upper": d_high,
            "placebo_rate": stats.rate(placebo, attributed),
            "placebo_rate_ci_lower": p_low,
            "placebo_rate_ci_upper": p_high,
            "admissible": admissible,
        }
    )
    pooled = pooled_share(time.sum(axis=0))
    if pooled > MOST_POOLED:
        table.loc[:, "n_excess":"placebo_rate_ci_upper"], table["admissible"] = np.nan, False
        return (
            table,
            f"{100 * pooled:.0f} % of the exposed days have no untouched time at the same tenure to compare with",
        )
    if not (e_low > 0).any():
        return table, "no window holds more conversions than the background would bring"
    if rises[-1]:
        return (
            table,
            f"the excess still grows in the last bin, so take windows longer than {days[-1]:g} days",
        )
    return table, "no window reaches 90 % of the excess and stops growing"


def partner_excess(
    n: np.ndarray,
    time: np.ndarray,
    partner_n: np.ndarray,
    partner_time: np.ndarray,
    overlap: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each partner's conversions beyond what the background and the other partners bring, and the interval's ends; NaN for one without an exposed day.

    By bucket: conversions and days by stratum, conversions by partner, exposed days by stratum and partner, days two partners share.
    Least squares of the additive hazard (Lin & Ying 1994): background by stratum + one addition a partner while exposed to it, times its exposed days.
    """
    s, p = partner_time.shape[1:]
    flat = [partner_n, n, time, partner_time.reshape(100, -1), overlap.reshape(100, -1)]
    edges = np.cumsum([a.shape[1] for a in flat])[:-1]

    def excess(sums: np.ndarray) -> np.ndarray:
        reached, n, time, exposed, common = np.split(sums, edges, axis=1)
        exposed, common = exposed.reshape(-1, s, p), common.reshape(-1, p, p)
        share = np.nan_to_num(stats.rate(exposed, time[:, :, None])).swapaxes(1, 2)
        effect = np.linalg.pinv(common - share @ exposed, hermitian=True) @ (
            reached[..., None] - share @ n[..., None]
        )
        return effect[..., 0] * exposed.sum(axis=1)

    whole = np.concatenate(flat, axis=1)
    found = (
        excess(whole.sum(axis=0, keepdims=True))[0],
        *stats.percentile_interval(stats.bucket_draws(whole, excess, seed=seed)),
    )
    return tuple(np.where(partner_time.any(axis=(0, 1)), end, np.nan) for end in found)


def late_table(
    n: np.ndarray,
    time: np.ndarray,
    alone_n: np.ndarray,
    alone_time: np.ndarray,
    days: np.ndarray,
    least: int,
    seed: int,
) -> pd.DataFrame:
    """What comes of a touch by how many days later: group (0: any partner, then each alone), window_days, n_converted, excess_rate + ci, late_rate + ci.

    Conversions and days by (bucket, stratum, lag), the last lag of ``n`` and ``time`` untouched, and ``alone_*`` by partner too; the clock starts anew with each
    touch. Excess hazard of a lag = conversions per day there - untouched ones, by stratum; even within a lag bin. Whoever is not followed far enough counts for
    the days that were seen. Rates are missing where fewer than ``least`` convert or nothing is in excess.
    """
    k = len(days)
    background = hazard(n[..., k].sum(axis=0)[None], time[..., k].sum(axis=0)[None])[0]
    every = np.ones_like(background)
    added = lambda weight, whole, parts: np.concatenate(
        [
            np.einsum("s,bsk->bk", weight, whole[..., :k])[..., None],
            np.einsum("s,bskg->bkg", weight, parts),
        ],
        axis=-1,
    )  # noqa: E731
    rest = np.stack([n[..., k].sum(axis=1), time[..., k] @ background], axis=1)[..., None]
    n_groups = 1 + alone_n.shape[-1]
    flat = np.concatenate(
        [
            added(every, n, alone_n),
            added(every, time, alone_time),
            added(background, time, alone_time),
            np.repeat(rest, n_groups, axis=2),
        ],
        axis=1,
    )
    width = np.diff(days, prepend=0)[:, None]

    def curve(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, time, expected, rest = np.split(sums, [k, 2 * k, 3 * k], axis=1)
        level = stats.rate(
            rest[:, :1], rest[:, 1:]
        )  # the background of this draw; its shape over the strata is kept
        share = 1 - np.exp(-(stats.rate(n - level * expected, time) * width).cumsum(axis=1))
        return share, np.clip(1 - stats.rate(share, share[:, -1:]), 0, 1)

    (rate,), (late,) = curve(flat.sum(axis=0)[None])
    drawn, drawn_late = curve(stats.bucket_draws(flat, seed=seed))
    (low, high), (late_low, late_high) = (
        stats.percentile_interval(drawn),
        stats.percentile_interval(drawn_late),
    )
    converted = flat[:, :k].sum(axis=0).cumsum(axis=0)
    columns = {
        "excess_rate": rate,
        "excess_rate_ci_lower": low,
        "excess_rate_ci_upper": high,
        "late_rate": late,
        "late_rate_ci_lower": late_low,
        "late_rate_ci_upper": late_high,
    }
    told = (low[-1] > 0) & (converted[-1] >= least)
    grid = pd.MultiIndex.from_product([range(n_groups), days], names=["group", "window_days"])
    columns = {
        "n_converted": converted.astype(int),
        **{c: np.where(told, v, np.nan) for c, v in columns.items()},
    }
    return pd.DataFrame({c: v.T.ravel() for c, v in columns.items()}, index=grid).reset_index()
