"""How long users take from a start to first value, by segment, when some leave first and some have not been seen for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.journeys import NOWHERE, Journeys, Step, as_step, first_rows, next_row
from mctlib.log import EventLog, add_up, as_timestamp, as_window
from mctlib.store import ParameterError, nearest
from mctlib.words import in_words

OUTCOMES = ("activated", "competing", "censored", "not_activated", "already", "unstarted", "followed")
ENDINGS = OUTCOMES[:4]  # every counted user has exactly one of these
POOLED = "all others"  # label of a reference made of several segments: whatever is not shown on its own
MIN_FOLLOWED = 10  # an estimate is read no later than the last day to which this many users were followed
FEW_ACTIVATIONS = 30
GRID = 180  # the printed curve has a row every horizon / GRID
BLOCK_ROWS = 500_000  # rows walked at a time: much longer arrays get fresh memory pages for every step, and that doubles the time
DAY = 86_400_000_000
NEVER = np.iinfo(np.int64).max
CONTRAST_COLUMNS = [
    "segment", "reference", "horizon_days", "rmst_difference_days", "rmst_difference_days_ci_lower", "rmst_difference_days_ci_upper",
    "hazard_ratio", "hazard_ratio_ci_lower", "hazard_ratio_ci_upper", "logrank_pvalue", "qvalue", "ph_pvalue",
]


@dataclass(frozen=True)
class Activation:
    """Result of `time_to_activation`, which says what the columns mean."""

    curve: pd.DataFrame
    summary: pd.DataFrame
    contrasts: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def time_to_activation(
    log: EventLog, *, start: str | Sequence[str] | Step, activation: str | Sequence[str] | Step, as_of: Any,
    competing: str | Sequence[str] | Step | None = None, by: str | Sequence[str] | None = None, horizon: str = "90d",
    reference: str | Sequence[str] | None = None,
) -> Activation:
    """Share of users activated by each day since their start, and the mean time they spend not activated.

    One user, one clock. It starts at the user's first ``start`` event and ends at the first of: an ``activation`` event at or after it (the
    same moment counts, duration 0), a ``competing`` exit at or after it (at one moment the activation comes first), ``horizon``, ``as_of``.
    A user with an activation before the start was already activated and is left out; an exit before the start counts for nothing. One row
    fills one role, so the same event as start and activation means its second occurrence. ``by``: columns of people or of the start event.
    ``reference``: the segment the others are compared with, or a list of segments that become one called "all others"; by default the largest.

    Outcomes are decided on microseconds; durations are then floored to the longest unit that divides a day and the horizon and is no more
    than horizon / 10,000 (at least 1 s, at most 2 hours, finer than what is printed): 12 minutes at 90 days. Daily data stay exact. All
    statistics work on counts by (segment, outcome, duration).

    ``curve``: segment, days, activated_rate + ci, n_at_risk (users whose clock runs for at least that long), up to the last day to which at
    least 10 users were followed. Rows every horizon / 180, plus every step where there are no more than 180; a row's values are exact.
    ``summary``: segment, n_users = n_activated + n_competing + n_censored (still waiting at as_of, sooner than the horizon) + n_not_activated
    (waited through the whole horizon); horizon_days, where the following are read: the horizon, or the curve's last day if that is sooner;
    activated_rate + ci, median_days + ci (NaN: not reached), rmst_days + ci (mean days of the first horizon_days spent not activated).
    ``contrasts``: segment, reference, horizon_days (the shorter of the two), rmst_difference_days + ci (segment minus reference),
    hazard_ratio + ci, logrank_pvalue, qvalue (Benjamini-Hochberg over the segments), ph_pvalue. Users who left lose the rest of the horizon
    in the rate and the mean; hazard ratio and tests compare users still there (cause-specific: an exit leaves the risk set).

    Methods: Kaplan-Meier with log-log Greenwood bands, or Aalen-Johansen where exits compete, and their restricted mean (`stats.incidence`,
    `stats.restricted_mean`); median by inversion of the band; the rest by `compare_hazards`. Users are taken as independent.
    An interval is missing where a segment has no activation or fewer than 10 users.

    Raises ParameterError: start or activation do not occur, no user to follow, an unknown segment as reference.
    """
    roles = {"start": as_step(start), "activation": as_step(activation)}
    if competing is not None:
        roles["competing"] = as_step(competing)
    window = as_window(horizon, "horizon")
    caveats = _unknown_events(log, roles)
    kernel = partial(count_durations, horizon=window, unit=_unit(window))
    counts = log.reduce(kernel, events=list(roles.values()), by=by or (), as_of=as_of)
    counts, reference = _pool(counts, by, reference)
    totals = counts.groupby("outcome")["n_users"].sum().reindex(OUTCOMES, fill_value=0)
    if not totals["followed"]:
        before = f" without {roles['activation'].label} before; are start and activation swapped?" if totals["already"] else "."
        raise ParameterError(f"start: no user has {roles['start'].label} by {as_of}{before}")
    counted = counts[counts["outcome"].isin((*ENDINGS, "followed"))]
    groups = [_Group.of(s, part, window, competing is not None) for s, part in counted.groupby("segment")]
    of = {g.label: g for g in sorted(groups, key=lambda g: (-g.n["followed"], g.label))}
    reference = reference or next(iter(of))
    curve = pd.concat([g.printed(window) for g in of.values()], ignore_index=True)
    summary = pd.DataFrame([g.summary() for g in of.values()])
    contrasts = pd.DataFrame([_contrast(g, of[reference]) for s, g in of.items() if s != reference], columns=CONTRAST_COLUMNS)
    contrasts["qvalue"] = stats.fdr(contrasts["logrank_pvalue"])
    caveats += _caveats(roles, totals, of, contrasts, window, as_timestamp(as_of))
    return Activation(curve, summary, contrasts, _finding(roles, of, contrasts, reference, window), tuple(caveats))


def count_durations(j: Journeys, *, horizon: int, unit: int) -> pd.DataFrame:
    """Kernel: segment, outcome (OUTCOMES), units, n_users. Bits: 0 start, 1 activation, 2 competing exit; arguments in microseconds.

    Every started user counts twice: under the outcome with the units the clock ran, and under "followed" with the units it could have run.
    """
    shape = (*(len(j.levels[name]) for name in j.dims), len(OUTCOMES), horizon // unit + 1)
    cuts = np.unique(np.r_[0, np.searchsorted(j.user, j.user[BLOCK_ROWS::BLOCK_ROWS]), len(j)])
    cells = [np.empty(0, np.int64)]
    for low, high in zip(cuts, cuts[1:]):
        part = j.take(slice(low, high))
        rows, outcome, us = _clocks(part, horizon)
        cells.append(np.ravel_multi_index((*(codes[rows] for codes in part.dims.values()), outcome, us // unit), shape))
    cells, n_users = np.unique(np.concatenate(cells), return_counts=True)
    *codes, outcome, units = np.unravel_index(cells, shape)
    segment = replace(j, dims=dict(zip(j.dims, codes))).segment(np.arange(len(cells)))
    return pd.DataFrame({"segment": segment, "outcome": np.asarray(OUTCOMES, object)[outcome], "units": units, "n_users": n_users})


def _clocks(j: Journeys, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `count_durations` counts, one entry each: row that gives the segment, index of the outcome, microseconds."""
    own = np.zeros(len(j), np.int64)  # each row's user, numbered from 0
    np.cumsum(j.user[1:] != j.user[:-1], out=own[1:])
    start, first = (rows[first_rows(own[rows])] for rows in (np.flatnonzero(j.has(bit)) for bit in (0, 1)))
    began = np.full(own[-1] + 1, NOWHERE)
    began[own[start]] = start
    zero = began[own[first]]  # start of each user who ever activates
    unstarted, already = first[zero < 0], zero[(zero >= 0) & (j.time[first] < j.time[zero])]
    began[own[already]] = NOWHERE
    began = began[began >= 0]
    begun = j.time[began]

    def wait(rows: np.ndarray) -> np.ndarray:
        """From the start to these rows; NEVER where there is none."""
        us = j.time[rows] - begun
        us[rows < 0] = NEVER
        return us

    to_hit, to_exit = wait(next_row(j, began, 1)), wait(next_row(j, began, 2))
    followed = np.minimum(j.as_of - begun, horizon)
    ran = np.minimum(np.minimum(to_hit, to_exit), followed)
    outcome = np.full(len(began), 3)
    for code, holds in ((2, followed < horizon), (1, to_exit == ran), (0, to_hit == ran)):  # where several hold, the last one counts
        outcome[holds] = code
    more = np.repeat([6, 4, 5], [len(began), len(already), len(unstarted)])
    none = np.zeros(len(already) + len(unstarted), np.int64)
    return np.concatenate([began, began, already, unstarted]), np.concatenate([outcome, more]), np.concatenate([ran, followed, none])


def _unit(horizon: int) -> int:
    """Resolution of the durations in microseconds (the rule stands in `time_to_activation`)."""
    seconds = horizon // 1_000_000
    common = gcd(seconds, 86_400)
    return 1_000_000 * max(d for d in range(1, max(1, min(seconds // 10_000, common, 7200)) + 1) if common % d == 0)


def _unknown_events(log: EventLog, roles: dict[str, Step]) -> list[str]:
    """Names that do not occur, as caveats; refused where a start or an activation has no other name."""
    sentences = []
    for role, step in roles.items():
        unknown = [f"{role}: {sentence}" for sentence in log.missing_events([step])]
        if role != "competing" and unknown and len(unknown) == len(set(step.names)):
            raise ParameterError(" ".join(unknown))
        sentences += unknown
    return sentences


def _pool(counts: pd.DataFrame, by: Any, reference: str | Sequence[str] | None) -> tuple[pd.DataFrame, str | None]:
    """The counts with a list of reference segments made one, and the reference's label."""
    if reference is None:
        return counts, None
    labels = [reference] if isinstance(reference, str) else list(reference)
    known = sorted(set(counts.loc[counts["outcome"] == "followed", "segment"]))
    for label in labels:
        if label not in known:
            there = f"; there are {', '.join(known[:20])}." if by else ' without "by".'
            raise ParameterError(f'reference: no segment is called "{label}"{there}{nearest(label, known)}')
    if isinstance(reference, str):
        return counts, reference
    return add_up([counts.assign(segment=counts["segment"].where(~counts["segment"].isin(labels), POOLED))]), POOLED


@dataclass(frozen=True)
class _Group:
    """One segment: its users by outcome, its exact step curve (time in days), the last day its estimates are read at (NaN: none)."""

    label: str
    n: pd.Series
    n_at_once: int
    n_immature: int
    steps: pd.DataFrame
    last: float

    @classmethod
    def of(cls, label: str, counts: pd.DataFrame, horizon: int, competing: bool) -> _Group:
        """From the kernel's counts of one segment."""
        wide = counts.pivot(index="units", columns="outcome", values="n_users").reindex(columns=OUTCOMES).fillna(0).astype(int)
        ended = wide[wide[list(ENDINGS)].any(axis=1)]
        hit, out, unseen = (ended[c].to_numpy() for c in ("activated", "competing", "censored"))
        unseen = unseen + ended["not_activated"].to_numpy()
        steps = stats.incidence(ended.index.to_numpy() * _unit(horizon) / DAY, hit, unseen, out if competing else None)
        enough = wide.index[wide["followed"].to_numpy()[::-1].cumsum()[::-1] >= MIN_FOLLOWED]
        n_immature = int(wide.loc[wide.index < horizon // _unit(horizon), "followed"].sum())
        last = enough[-1] * _unit(horizon) / DAY if len(enough) else np.nan
        return cls(label, wide.sum(), int(wide["activated"].get(0, 0)), n_immature, steps, last)

    def rate(self, day: float) -> tuple[float, float, float]:
        """Share activated by ``day`` and its interval."""
        if np.isnan(day):
            return np.nan, np.nan, np.nan
        low, high = (stats.at_time(self.steps, day, f"rate_ci_{side}", np.nan) for side in ("lower", "upper"))
        return stats.at_time(self.steps, day), low, high

    def mean(self, day: float) -> tuple[float, float]:
        """Mean days not activated within ``day`` and its standard error (NaN without an activation: nothing to judge by)."""
        if np.isnan(day):
            return np.nan, np.nan
        mean, se = stats.restricted_mean(self.steps, day)
        return mean, se if stats.at_time(self.steps, day) > 0 else np.nan

    def summary(self) -> dict[str, Any]:
        """Row of the summary."""
        rate, low, high = self.rate(self.last)
        mean, se = self.mean(self.last)
        seen = self.steps[self.steps["time"] <= self.last]
        median = [stats.quantile(seen, 0.5, column) for column in ("rate", "rate_ci_upper", "rate_ci_lower")]
        return {
            "segment": self.label, "n_users": int(self.n["followed"]), **{f"n_{end}": int(self.n[end]) for end in ENDINGS},
            "horizon_days": self.last, "activated_rate": rate, "activated_rate_ci_lower": low, "activated_rate_ci_upper": high,
            "median_days": median[0], "median_days_ci_lower": median[1], "median_days_ci_upper": median[2],
            "rmst_days": mean, "rmst_days_ci_lower": mean - stats.Z * se, "rmst_days_ci_upper": mean + stats.Z * se}

    def printed(self, horizon: int) -> pd.DataFrame:
        """Rows of the curve, up to the last day."""
        time = self.steps["time"].to_numpy()
        exact = time[time <= self.last]
        days = np.r_[np.arange(GRID + 1) * (horizon / GRID) / DAY, self.last, exact if len(exact) <= GRID else []]
        days = np.unique(days[days <= self.last])
        at = np.searchsorted(time, days, side="right")
        columns = {"rate": 0.0, "rate_ci_lower": np.nan, "rate_ci_upper": np.nan}  # and their values before the first step
        rates = {f"activated_{c}": np.r_[first, self.steps[c]][at] for c, first in columns.items()}
        return pd.DataFrame({"segment": self.label, "days": days, **rates, "n_at_risk": _at_risk(self.steps, days)})


def _at_risk(steps: pd.DataFrame, days: np.ndarray) -> np.ndarray:
    """Users whose clock runs for at least ``days``."""
    return np.r_[steps["n_at_risk"], 0].astype(int)[np.searchsorted(steps["time"], days)]


def _contrast(group: _Group, reference: _Group) -> dict[str, Any]:
    """Row of the contrasts."""
    last = min(group.last, reference.last) if group.last > 0 and reference.last > 0 else np.nan
    (mean, se), (mean_0, se_0) = group.mean(last), reference.mean(last)
    difference, width = mean - mean_0, stats.Z * np.hypot(se, se_0)
    row = {"segment": group.label, "reference": reference.label, "horizon_days": last, "rmst_difference_days": difference,
           "rmst_difference_days_ci_lower": difference - width, "rmst_difference_days_ci_upper": difference + width}
    return row | (compare_hazards(group.steps, reference.steps) if last > 0 else {})


def compare_hazards(steps: pd.DataFrame, steps_0: pd.DataFrame) -> dict[str, float]:
    """Two step curves (time, n_at_risk, n_event) compared: hazard_ratio + ci, logrank_pvalue, ph_pvalue. Exact for counts with ties.

    Cox's model with one 0/1 covariate and Efron's correction, its partial likelihood written on counts (case weights, as lifelines and R
    read them, would take the tied users of one row for one user). ph_pvalue: score test of a covariate x (1 - S(t-)) term, S the pooled
    Kaplan-Meier curve (Grambsch & Therneau 1994, as R's survival >= 3 computes cox.zph; lifelines has the older approximation).
    What cannot be estimated is absent.
    """
    from scipy.special import psi, zeta
    from scipy.stats import chi2

    time = np.union1d(*(s.loc[s["n_event"] > 0, "time"] for s in (steps, steps_0)))
    n_1, n_0 = _at_risk(steps, time), _at_risk(steps_0, time)
    d_1, d_0 = (s.set_index("time")["n_event"].reindex(time, fill_value=0).to_numpy(int) for s in (steps, steps_0))
    n, d = n_1 + n_0, d_1 + d_0
    if not d_1.sum() or not d_0.sum():
        return {}
    logrank = (d_1 - d * n_1 / n).sum() ** 2 / (n_1 * n_0 / n**2 * d * (n - d) / np.maximum(n - 1, 1)).sum()

    if not d_0[n_1 > 0].any() or not d_1[n_0 > 0].any():  # one group is wholly before the other: no finite hazard ratio
        return {"logrank_pvalue": float(chi2.sf(logrank, 1))}

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
        step = np.clip((d_1 - p).sum() / (p * (1 - p / d)).sum(), -0.5, 0.5)  # Newton's, no longer than these logistic curves allow
        beta += step
        if abs(step) < 1e-10:
            break
    p, slope, gap, x = shares(beta)
    information = p - 2 * slope * p + d * slope**2 - gap**2 * (zeta(2, x - d + 1) - zeta(2, x + 1))  # sum of p (1 - p)
    low, high = (beta + side * stats.Z * information.sum() ** -0.5 for side in (-1, 1))
    g = 1 - np.r_[1.0, np.cumprod(1 - d / n)[:-1]]
    drift = g @ (d_1 - p)
    spread = g**2 @ information - (g @ information) ** 2 / information.sum()
    return {
        "hazard_ratio": float(np.exp(beta)), "hazard_ratio_ci_lower": float(np.exp(low)), "hazard_ratio_ci_upper": float(np.exp(high)),
        "logrank_pvalue": float(chi2.sf(logrank, 1)), "ph_pvalue": float(chi2.sf(drift**2 / spread, 1)) if spread > 1e-12 else np.nan}


def _caveats(
    roles: dict[str, Step], totals: pd.Series, groups: dict[str, _Group], contrasts: pd.DataFrame, horizon: int, as_of: pd.Timestamp,
) -> list[str]:
    """What a reader must know about these numbers, in sentences."""
    begun, goal, days, unit = roles["start"].label, roles["activation"].label, f"{horizon / DAY:g}", _unit(horizon)
    named = lambda labels: "; ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")  # noqa: E731
    n_users, n_activated = totals["followed"], totals["activated"]
    n_immature, n_at_once = (sum(getattr(g, name) for g in groups.values()) for name in ("n_immature", "n_at_once"))
    out = []
    if totals["already"]:
        out.append(f"Left out, already activated: {totals['already']:,} with {goal} before their first {begun}.")
    if totals["unstarted"]:
        out.append(f"Not counted, no clock to start: {totals['unstarted']:,} with {goal} but without {begun}. "
                   "If that is many, check the tracking.")
    if n_immature:
        out.append(f"{n_immature:,} of {n_users:,} users ({n_immature / n_users:.0%}) started less than {days} days before {as_of:%Y-%m-%d}: counted "
                   "for as long as they were seen. The late part of a curve speaks for the earlier users; newer ones may differ.")
    if "competing" in roles:
        still = " Hazard ratio and log-rank test compare the users still there." if len(contrasts) else ""
        out.append(f"{roles['competing'].label} ends the clock unactivated ({totals['competing']:,} users): they stay in the denominator and "
                   f"their remaining days count as not activated.{still}")
    if n_activated and n_at_once >= 0.05 * n_activated:
        out.append(f"{n_at_once:,} of {n_activated:,} activations ({n_at_once / n_activated:.0%}) come within {unit / 60e6:.3g} min of the "
                   "start, the resolution here. Kept as duration 0; a sign of times recorded by day, or of activation as a part of the start.")
    if short := [f"{s} ({g.last:.1f} days)" for s, g in groups.items() if g.last < horizon // unit * unit / DAY]:
        out.append(f"Fewer than {MIN_FOLLOWED} users were followed for {days} days; rate and mean are read at the last day they were: "
                   f"{named(short)}.")
    if small := [s for s, g in groups.items() if np.isnan(g.last)]:
        out.append(f"Fewer than {MIN_FOLLOWED} users, no estimates: {named(small)}.")
    if few := [s for s, g in groups.items() if g.n["activated"] < FEW_ACTIVATIONS and g.last >= 0]:
        out.append(f"Fewer than {FEW_ACTIVATIONS} activations, intervals are rough: {named(few)}.")
    if never := [s for s, g in groups.items() if g.last >= 0 and np.isnan(g.summary()["median_days"])]:
        out.append(f"Median not reached, fewer than half activate in the time seen: {named(never)}.")
    if crossing := list(contrasts.loc[contrasts["ph_pvalue"] < 0.05, "segment"]):
        out.append(f"The ratio of hazards changes over time (p < 0.05): {named(crossing)}. Read the difference in days; "
                   "the ratio is only an average.")
    return out


def _finding(roles: dict[str, Step], groups: dict[str, _Group], contrasts: pd.DataFrame, reference: str, horizon: int) -> str:
    """The answer in words: the clearest contrast, or the one group there is."""
    begun, goal = roles["start"].label, roles["activation"].label
    leaving = f"{roles['competing'].label} counts as an exit; " if "competing" in roles else ""
    rule = (f"(Clock from the first {begun}; {leaving}users seen for less than {horizon / DAY:g} days count for as long as they were seen; "
            f"times in steps of {in_words(_unit(horizon))}.)")
    known = contrasts[contrasts["rmst_difference_days_ci_lower"].notna()]
    if known.empty:
        group = groups[reference]
        row = group.summary()
        if np.isnan(group.last):
            return f"Fewer than {MIN_FOLLOWED} users with {begun}: too few to say how long {goal} takes. {rule}"
        known_median = f"half are activated by day {_ci(row, 'median_days')}"
        median = known_median if row["median_days"] >= 0 else "fewer than half are activated by then"
        return (f"Within {group.last:g} days of {begun} {_share(*group.rate(group.last))} of {row['n_users']:,} users reach {goal}; {median}; "
                f"on average {_ci(row, 'rmst_days')} of these days pass unactivated. {rule}")
    clear = known[known["qvalue"] < 0.05]
    row = known.loc[(clear if len(clear) else known)["rmst_difference_days"].abs().idxmax()]
    low, high, days = row["rmst_difference_days_ci_lower"], row["rmst_difference_days_ci_upper"], row["horizon_days"]
    verdict = "is slower than" if low > 0 else "is faster than" if high < 0 else "does not differ clearly from"
    rate, rate_0 = (_share(*groups[label].rate(days)) for label in (row["segment"], reference))
    text = (f"segment {row['segment']} {verdict} {reference}: within {days:g} days of {begun} {rate} reach {goal}, against {rate_0}; on average its users "
            f"spend {_more(row['rmst_difference_days'], low, high)} of the first {days:g} days not activated.")
    if len(known) > 1:
        text = f"{len(clear)} of {len(known)} segments differ from {reference} (log-rank, 5 % false discovery rate). The largest gap: {text}"
    else:
        text = f"S{text[1:]}"
    if row["ph_pvalue"] < 0.05:
        text += " The gap changes over time, so it is told in days, not as a hazard ratio."
    elif row["hazard_ratio"] > 0:
        text += f" Hazard ratio {_ci(row, 'hazard_ratio', 2)}."
    return f"{text} {rule}"


def _share(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.1f} %" + (f" ({100 * low:.1f} to {100 * high:.1f})" if low == low else "")


def _ci(row: Any, column: str, decimals: int = 1) -> str:
    value, low, high = (f"{row[c]:.{decimals}f}" for c in (column, f"{column}_ci_lower", f"{column}_ci_upper"))
    return value if low == "nan" else f"{value} ({low} to {'no limit' if high == 'nan' else high})"


def _more(difference: float, low: float, high: float) -> str:
    """9.1 (7.2 to 11.0) more; 2.0 (1.0 to 3.0) fewer; 0.5 more (0.2 fewer to 1.2 more)."""
    word = lambda v: f"{abs(v):.1f} {'more' if v >= 0 else 'fewer'}"  # noqa: E731
    if low * high > 0:
        small, large = sorted((abs(low), abs(high)))
        return f"{abs(difference):.1f} ({small:.1f} to {large:.1f}) {'more' if difference > 0 else 'fewer'}"
    return f"{word(difference)} ({word(low)} to {word(high)})"
