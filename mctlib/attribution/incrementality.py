"""What follows touches beyond the users' own chance, and what users do whom a partner brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mctlib import stats
from mctlib.attribution.own_time import OwnTime
from mctlib.attribution.rotation import CALENDAR, OTHER_DAYS, VISITS
from mctlib.contract import interval_columns

FEW = 30  # conversions below which a partner gets no verdict and no rank
THIN = 10.0  # room that the users' own time must leave for chance, or there is no comparison
HALF = 0.5  # share of conversions that must be compared before all are judged by them
ABLE = 10  # users without whom the backward control cannot run
ENOUGH = 0.9  # share of the largest excess that a window must reach
EARNS, FOLLOWED, BELOW = "earns credit", "conversions follow", "below background"
NO_EFFECT, UNTOLD, TOO_FEW = "shows no effect", "cannot be told", f"too few conversions (< {FEW})"
BRINGS = "brings users who convert"
MORE, ALIKE, LESS, NOBODY = f"{BRINGS} more", f"{BRINGS} as others", f"{BRINGS} less", "brings none"
# why touches after the start cannot be judged, and why no window is to be used
KEEP_COMPANY, SAME_DAY = "touches keep company with conversions", "on the conversion's day only"
NONE_ABOVE, STILL_RISES, NONE_ENOUGH = "none above chance", "still rises", "none enough"

Array = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Numbers with their 95 % intervals, from pseudo-values of the buckets (the first axis)."""

    pseudo: Array

    @property
    def value(self) -> Array:
        """The numbers, corrected for bias."""
        some = self.pseudo if len(self.pseudo) else np.full((1, *self.pseudo.shape[1:]), np.nan)
        found: Array = some.mean(axis=0)
        return found

    @property
    def ends(self) -> tuple[Array, Array]:
        """Lower and upper ends, NaN where the buckets are too few."""
        n, value = len(self.pseudo), self.value
        if n < stats.MIN_CLUSTERS:
            return np.full_like(value, np.nan), np.full_like(value, np.nan)
        return stats.t_interval(value, self.pseudo.std(axis=0, ddof=1) / np.sqrt(n), n - 1)

    def of(self, some: Any) -> Estimate:
        """Some of the numbers."""
        return Estimate(self.pseudo[(slice(None), *(some if isinstance(some, tuple) else (some,)))])

    def columns(self, name: str, told: Array | bool = True) -> dict[str, Array]:
        """Columns of the numbers and their intervals, missing where they are not ``told``."""
        values = (np.where(told, end, np.nan) for end in (self.value, *self.ends))
        return interval_columns(name, *values)


def excess(sums: Array) -> Array:
    """Conversions within the window beyond chance, of the sums of `rotation.add_chance`.

    Mantel-Haenszel: n (1 - chance / room), where room is the sum of 1 - p of the touched, chance
    the sum of p of the others, and p each one's own chance to be touched.
    """
    n, room, chance = sums[..., 0], sums[..., 1], sums[..., 2]
    beyond: Array = np.where(room > 0, n * (1 - np.nan_to_num(stats.rate(chance, room))), -chance)
    return beyond


def beyond_others(sums: Array) -> Array:
    """Conversions of users brought, beyond as many users whom nobody brought; see `between`."""
    expected = stats.rate(sums[..., 5], sums[..., 6]) * sums[..., 4]
    beyond: Array = np.where(sums[..., 2] > 0, sums[..., 3] - expected, 0.0)
    return beyond


def beyond_all(sums: Array) -> Array:
    """The same and the excess of touches after the start, projected to all they are credited."""
    n_later, own, beyond = sums[..., 0] - sums[..., 1], sums[..., 7:11], excess(sums[..., 7:11])
    later = np.where(own[..., 0] > 0, n_later * stats.rate(beyond, own[..., 0]), beyond)
    added: Array = beyond_others(sums) + later
    return added


def still_to_come(sums: Array) -> Array:
    """Of what both add at the longest window (the last), the share that comes later, by window.

    Touches after the start by one set of users, those who can be compared at the longest window.
    """
    beyond, n = excess(sums[..., 11:]), sums[..., 7]
    scale = stats.rate(sums[..., 0] - sums[..., 1], n)[..., -1:]
    added = beyond_others(sums) + np.where(n[..., -1:] > 0, scale, 1.0) * beyond
    return 1 - stats.rate(added, added[..., -1:])


def jackknife(by_bucket: Array, statistic: Callable[[Array], Array]) -> Estimate:
    """A statistic of sums by bucket, with its interval."""
    return Estimate(stats.pseudo_values(by_bucket, statistic))


@dataclass(frozen=True)
class Comparison:
    """Both comparisons by partner (any: the last one) and window."""

    n_attributed: Array
    n_compared: Array  # credited to touches after the start, of users who can be compared
    n_brought: Array  # credited to the touch that brought the user
    own: Estimate  # of the compared, beyond the users' own chance
    told: Array  # whether that can be judged
    refused: str  # why nobody's can, "" where it can
    able: bool  # whether the backward control could run
    control: Estimate  # of those touched soon after a conversion, the share beyond chance
    upper: Estimate | None  # the calendar's reading, where the clock is the visits
    n_users: Array  # brought by the partner
    n_converted: Array
    expected: Array  # of as many users whom nobody brought
    brought: Estimate  # (converted - expected) / users
    brought_told: Array  # whether there is enough of both to compare
    both: Estimate  # what users brought and touches after the start add
    both_told: Array  # whether there is enough to judge all of it by
    late: Estimate  # of what both add at the longest window, the share that comes later

    @property
    def n_later(self) -> Array:
        """Conversions credited to touches after the start alone."""
        return self.n_attributed - self.n_brought

    @property
    def enough(self) -> Array:
        """Where so many of these are compared that all are judged by them."""
        mostly: Array = self.told & (self.n_compared >= HALF * self.n_later)
        return mostly

    @property
    def projected(self) -> Estimate:
        """The excess of all of these, if those compared are like the others."""
        scale = np.nan_to_num(stats.rate(self.n_later, self.n_compared))
        return Estimate(self.own.pseudo * scale)


def compare(found: OwnTime, reference: int) -> Comparison:
    """Judge what the second walk found; touches after the start by the clock that fits."""
    sums = found.own[:, found.clock]
    own, calendar = jackknife(sums, excess), jackknife(found.own[:, CALENDAR], excess)
    reach, total = found.reach.sum(axis=0), sums.sum(axis=0)
    n_compared = np.rint(total[..., 0]).astype(int)
    counts = np.rint(np.moveaxis(reach, -1, 0)[:4]).astype(int)
    n_attributed, n_brought, n_users, n_converted = counts
    told, refused = (n_compared >= FEW) & (total[..., 1] >= THIN), ""
    if found.clock == CALENDAR:
        if (jackknife(found.after, excess).ends[0][[reference, -1]] > 0).any():
            refused = KEEP_COMPANY
        if found.bare:  # of a touch on the conversion's day nobody knows which came first
            others = jackknife(found.own[:, OTHER_DAYS], excess)
            same_day = (own.ends[0] > 0) & ~(others.ends[0] > 0)
            told &= ~same_day
            refused = refused or SAME_DAY * bool(same_day[-1, reference])
    background = np.broadcast_to(found.others[:, None], (*found.reach.shape[:3], 2))
    later = found.later[:, found.clock]
    both = np.concatenate([found.reach, background, sums, later], axis=-1)
    n_others, pace_others = (background.sum(axis=0)[..., k] for k in range(2))
    # as many as would convert at the pace of both together
    alike = stats.rate(reach[..., 3] + n_others, reach[..., 4] + pace_others)
    expected = n_converted - beyond_others(both.sum(axis=0))
    brought_told = (np.fmax(n_converted, expected) >= FEW) & (alike * pace_others >= FEW)
    enough = n_compared + n_brought >= HALF * n_attributed
    both_told = enough & (brought_told | (n_users == 0)) & (not refused)
    controlled = np.rint(found.after.sum(axis=0)[[reference, -1], 3].max())
    return Comparison(
        n_attributed=n_attributed,
        n_compared=n_compared,
        n_brought=n_brought,
        own=own,
        told=told & (not refused),
        refused=refused,
        able=found.clock == VISITS or bool(controlled >= ABLE),
        control=jackknife(found.after, lambda sums: stats.rate(excess(sums), sums[..., 0])),
        upper=None if found.clock == CALENDAR else calendar,
        n_users=n_users,
        n_converted=n_converted,
        expected=expected,
        brought=jackknife(both, lambda sums: stats.rate(beyond_others(sums), sums[..., 2])),
        brought_told=brought_told,
        both=jackknife(both, beyond_all),
        both_told=both_told,
        late=jackknife(both, still_to_come),
    )


def verdicts(found: Comparison, at: int) -> Array:
    """What the partners' touches after the start do, by each one's own interval."""
    low, high = (end[:-1, at] for end in found.own.ends)
    told = found.told[:-1, at] & ~np.isnan(low)
    cases = [
        (found.n_attributed[:-1, at] < FEW, TOO_FEW),
        (~told, UNTOLD),
        (low > 0, EARNS if found.able else FOLLOWED),
        (high < 0, BELOW),
    ]
    return np.select([case for case, _ in cases], [word for _, word in cases], NO_EFFECT)


def brings(found: Comparison, at: int) -> Array:
    """How the users convert whom the partners brought, beside those whom nobody brought."""
    low, high = (end[:-1, at] for end in found.brought.ends)
    cases = [
        (found.n_users[:-1, at] == 0, NOBODY),
        (~found.brought_told[:-1, at] | np.isnan(low), UNTOLD),
        (low > 0, MORE),
        (high < 0, LESS),
    ]
    return np.select([case for case, _ in cases], [word for _, word in cases], ALIKE)


def admissible(found: Comparison) -> tuple[Array, str]:
    """Which windows hold enough of what partners add and no more, and why none does, if so.

    Touches after the start surely add something; by both comparisons the window is not
    distinguishably below `ENOUGH` of the largest one, and nothing is distinguishably added between
    it and the next (for the longest: and the one before). From the first window surely so on,
    wider ones only add what would come anyway.
    """
    known = np.flatnonzero(found.told[-1] & found.both_told[-1])
    fit = np.zeros(found.told.shape[1], bool)
    if not len(known):
        return fit, found.refused or UNTOLD
    gains, above = found.both.pseudo[:, -1, known], found.own.ends[0][-1, known] > 0
    steps = Estimate(np.diff(gains, axis=1, prepend=0)).ends[0] > 0
    rises = np.r_[steps[1:], steps[-1]]
    largest = gains[:, Estimate(gains).value.argmax()]
    low, high = Estimate(gains - ENOUGH * largest[:, None]).ends
    good = above & (high >= 0) & ~rises
    surely = np.flatnonzero(good & (low >= 0))
    if len(surely):
        good[surely[0] + 1 :] = False
    fit[known] = good
    if not above.any():
        return fit, NONE_ABOVE
    return fit, STILL_RISES if rises[-1] else NONE_ENOUGH
