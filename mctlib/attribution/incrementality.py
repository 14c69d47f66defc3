"""What touches add: the background rate, and the conversions beyond it by window and partner."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import interval_columns

ENOUGH = 0.9  # share of the largest excess that a window must reach
# Share of exposed days without a background of their own: beyond it a borrowed rate, not the data,
# would decide the excess.
MOST_POOLED = 0.2
# Untouched days per exposed day below which a stratum has no background: one untouched conversion
# would weigh more than 20 exposed ones.
THIN = 0.05


def hazard(n: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Conversions per day by stratum (axis 1), the overall rate where a stratum has no day."""
    overall = stats.rate(n.sum(axis=1, keepdims=True), time.sum(axis=1, keepdims=True))
    return np.where(time > 0, stats.rate(n, time), overall)


def share_columns(name: str, *values: np.ndarray) -> dict[str, np.ndarray]:
    """`interval_columns` of a share that chance may put beyond 0 or 1, where none can lie."""
    return interval_columns(name, *(value.clip(0, 1) for value in values))


def pooled_share(time: np.ndarray) -> float:
    """Share of the exposed days whose stratum has hardly any background of its own.

    ``time``: (strata, windows + 1) days, the last column untouched; 1 where there is no day.
    """
    exposed = time[:, :-1].sum(axis=1)
    if not (time[:, -1].any() and exposed.any()):
        return 1.0
    thin = time[:, -1] < THIN * exposed
    return float(exposed[thin].sum() / exposed.sum())


def background_counts(sums: np.ndarray) -> np.ndarray:
    """Attributed conversions, and those of them that would have come anyway, judged in two ways.

    Sums (draws, 5, strata, lags) of the arrays of `window_table` to (draws, 3, windows): attributed
    by lag bin, expected of the background by lag bin, and as many as placebo touches would be
    credited with, up to the window. These compare touched users against all, at the same tenure and
    calendar.
    """
    n, time, once_n, sham_n, sham_time = np.moveaxis(sums, 1, 0)
    k = n.shape[-1] - 1
    once = once_n[..., :k].sum(axis=1)
    rate = hazard(n[..., k], time[..., k])[:, None]
    expected, sham = ((rate @ t[..., :k])[:, 0] for t in (time, sham_time))
    prone = stats.rate(sham_n[..., :k].sum(axis=1).cumsum(axis=1), sham.cumsum(axis=1))
    placebo = prone * expected.cumsum(axis=1) + once.cumsum(axis=1)
    return np.stack([n[..., :k].sum(axis=1) + once, expected + once, placebo], axis=1)


def window_table(
    n: np.ndarray,
    time: np.ndarray,
    once_n: np.ndarray,
    sham_n: np.ndarray,
    sham_time: np.ndarray,
    days: np.ndarray,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """The windows table, and why no window is admissible ("" where the data hold a background).

    Excess = attributed conversions - background rate x exposed days.

    Conversions and days by (bucket, stratum, lag), the last lag untouched: the background.
    ``once_n``: conversions without time at risk, which no touch is judged by. ``sham_n``,
    ``sham_time``: of placebo touches, without the last lag.
    """
    shams = [np.pad(a, ((0, 0), (0, 0), (0, 1))) for a in (sham_n, sham_time)]
    whole = np.stack([n, time, once_n, *shams], axis=1)
    found = background_counts(whole.sum(axis=0)[None])[0]
    drawn = background_counts(stats.bucket_draws(whole, seed=seed))
    attributed, expected = found[:2].cumsum(axis=1)
    late = attributed[-1] - attributed
    late_ends = stats.wilson(late, np.full(len(days), attributed[-1]))
    gain = attributed - expected
    bins = drawn[:, 0] - drawn[:, 1]
    gains, all_n = bins.cumsum(axis=1), drawn[:, 0].cumsum(axis=1)
    ends = stats.percentile_interval(gains)
    anyway = stats.percentile_interval(1 - stats.rate(gains, all_n))
    placebo = stats.percentile_interval(stats.rate(drawn[:, 2], all_n))
    table = pd.DataFrame(
        {
            "window_days": days,
            "n_attributed": attributed.astype(int),
            "n_late": late.astype(int),
            **interval_columns("late_rate", stats.rate(late, attributed[-1]), *late_ends),
            **interval_columns("n_excess", gain, *ends),
            **share_columns("dilution_rate", 1 - stats.rate(gain, attributed), *anyway),
            **share_columns("placebo_rate", stats.rate(found[2], attributed), *placebo),
            "admissible": False,
        }
    )
    pooled = pooled_share(time.sum(axis=0))
    if pooled > MOST_POOLED:
        table.loc[:, "n_excess":"placebo_rate_ci_upper"] = np.nan
        why = f"{100 * pooled:.0f} % of the exposed days have no untouched time at the same tenure"
        return table, f"{why} to compare with"
    table["admissible"], why = admissible(bins, days)
    return table, why


def admissible(bins: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, str]:
    """Which windows hold enough of the excess and no more, and why none does, if so.

    ``bins``: (draws, windows) excess by lag bin. Admissible: excess above 0, not distinguishably
    below `ENOUGH` of the largest excess, none distinguishable in the next bin (for the longest
    window: in its last bin). From the first window surely above it on, wider ones only add
    background.
    """
    gains = bins.cumsum(axis=1)
    most = gains.max(axis=1, keepdims=True)
    of_most = np.where(most > 0, gains / np.where(most > 0, most, 1), np.nan)
    low, high = stats.percentile_interval(of_most)
    above = stats.percentile_interval(gains)[0] > 0
    bin_low = stats.percentile_interval(bins)[0]
    rises = np.r_[bin_low[1:], bin_low[-1]] > 0  # the excess still grows beyond the window
    fit = above & (high >= ENOUGH) & ~rises
    surely = np.flatnonzero(fit & (low >= ENOUGH))
    if len(surely):
        fit[surely[0] + 1 :] = False
    if not above.any():
        return fit, "no window holds more conversions than the background would bring"
    if rises[-1]:
        longer = f"so take windows longer than {days[-1]:g} days"
        return fit, f"the excess still grows in the last bin, {longer}"
    return fit, "no window reaches 90 % of the excess and stops growing"


def partner_excess(
    n: np.ndarray,
    time: np.ndarray,
    partner_n: np.ndarray,
    partner_time: np.ndarray,
    overlap: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each partner's conversions beyond what the background and the other partners bring.

    Least squares of the additive hazard (Lin & Ying 1994): background by stratum + one addition a
    partner while exposed to it, times its exposed days. So conversions caused by one partner are
    not counted for another whose touches lie near. NaN for a partner without an exposed day.

    By bucket: conversions and days by stratum, conversions by partner, exposed days by stratum and
    partner, days that two partners share.
    """
    s, p = partner_time.shape[1:]
    flat = [a.reshape(len(n), -1) for a in (partner_n, n, time, partner_time, overlap)]
    edges = np.cumsum([a.shape[1] for a in flat])[:-1]

    def excess(sums: np.ndarray) -> np.ndarray:
        reached, n, time, exposed, common = np.split(sums, edges, axis=1)
        exposed, common = exposed.reshape(-1, s, p), common.reshape(-1, p, p)
        share = np.nan_to_num(stats.rate(exposed, time[:, :, None])).swapaxes(1, 2)
        beyond = reached[..., None] - share @ n[..., None]
        effect = np.linalg.pinv(common - share @ exposed, hermitian=True) @ beyond
        added: np.ndarray = effect[..., 0] * exposed.sum(axis=1)
        return added

    whole = np.concatenate(flat, axis=1)
    value = excess(whole.sum(axis=0, keepdims=True))[0]
    low, high = stats.percentile_interval(stats.bucket_draws(whole, excess, seed=seed))
    value, low, high = np.where(partner_time.any(axis=(0, 1)), (value, low, high), np.nan)
    return value, low, high


def late_table(
    n: np.ndarray,
    time: np.ndarray,
    alone_n: np.ndarray,
    alone_time: np.ndarray,
    days: np.ndarray,
    least: int,
    seed: int,
) -> pd.DataFrame:
    """What comes of a touch by how many days later: group, window_days, n_converted and rates.

    Group 0 is any partner, then each alone. The clock starts anew with each touch. Excess hazard of
    a lag = conversions per day there - untouched ones, by stratum; even within a lag bin. Whoever
    is not followed far enough counts for the days that were seen. Rates are missing where fewer
    than ``least`` convert or nothing is in excess.

    Conversions and days by (bucket, stratum, lag), the last lag untouched; ``alone_*`` without the
    last lag, and by partner too.
    """
    k = len(days)
    background = hazard(n[..., k].sum(axis=0)[None], time[..., k].sum(axis=0)[None])[0]
    every = np.ones_like(background)

    def added(weight: np.ndarray, whole: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """Strata added up by weight: (bucket, window, group)."""
        of_all = np.einsum("s,bsk->bk", weight, whole[..., :k])[..., None]
        return np.concatenate([of_all, np.einsum("s,bskg->bkg", weight, parts)], axis=-1)

    converted = added(every, n, alone_n)
    rest = np.stack([n[..., k].sum(axis=1), time[..., k] @ background], axis=1)[..., None]
    flat = [converted, added(every, time, alone_time), added(background, time, alone_time)]
    whole = np.concatenate([*flat, np.repeat(rest, converted.shape[-1], axis=2)], axis=1)
    width = np.diff(days, prepend=0)[:, None]

    def curve(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, time, expected, rest = np.split(sums, [k, 2 * k, 3 * k], axis=1)
        # the background of this draw; its shape over the strata is kept
        level = stats.rate(rest[:, :1], rest[:, 1:])
        share = 1 - np.exp(-(stats.rate(n - level * expected, time) * width).cumsum(axis=1))
        return share, np.clip(1 - stats.rate(share, share[:, -1:]), 0, 1)

    (rate,), (late,) = curve(whole.sum(axis=0)[None])
    drawn, drawn_late = curve(stats.bucket_draws(whole, seed=seed))
    ends = stats.percentile_interval(drawn)
    n_converted = converted.sum(axis=0).cumsum(axis=0)
    told = (ends[0][-1] > 0) & (n_converted[-1] >= least)
    rates = share_columns("excess_rate", rate, *ends)
    rates |= share_columns("late_rate", late, *stats.percentile_interval(drawn_late))
    columns = {"n_converted": n_converted.astype(int)}
    columns |= {name: np.where(told, values, np.nan) for name, values in rates.items()}
    groups = range(converted.shape[-1])
    grid = pd.MultiIndex.from_product([groups, days], names=["group", "window_days"])
    table = pd.DataFrame({name: v.T.ravel() for name, v in columns.items()}, index=grid)
    return table.reset_index()
