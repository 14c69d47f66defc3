"""How long users take from a start to first value, by segment, when some leave first and some have not been seen for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.survival_groups import (
    DAY,
    ENDINGS,
    GRID,
    MIN_FOLLOWED,
    OUTCOMES,
    Group,
    at_risk,
    cell_table,
    clock_roles,
    clocks,
    compare_days,
    compare_hazards,
    critical,
    distinct,
    n_accounts,
    n_clusters,
    number_accounts,
    resolution,
)
from mctlib.contract import ParameterError, as_columns, as_timestamp, as_window, nearest
from mctlib.eventlog.event_log import EventLog, add_up
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.steps import Step

POOLED = (
    "all others"  # label of a reference made of several segments: whatever is not shown on its own
)
FEW_ACTIVATIONS = 30  # segments with fewer are pooled, or compared with nobody
BLOCK_ROWS = 500_000  # rows walked at a time: much longer arrays get fresh memory pages for every step, and that doubles the time
CONTRAST_COLUMNS = [
    "segment",
    "reference",
    "horizon_days",
    "rmst_difference_days",
    "rmst_difference_days_ci_lower",
    "rmst_difference_days_ci_upper",
    "hazard_ratio",
    "hazard_ratio_ci_lower",
    "hazard_ratio_ci_upper",
    "logrank_pvalue",
    "qvalue",
    "ph_pvalue",
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
    log: EventLog,
    *,
    start: str | Sequence[str] | Step,
    activation: str | Sequence[str] | Step,
    as_of: Any,
    competing: str | Sequence[str] | Step | None = None,
    observed_from: str | Sequence[str] | Step | None = None,
    by: str | Sequence[str] | None = None,
    horizon: str = "90d",
    reference: str | Sequence[str] | None = None,
) -> Activation:
    """Share of users activated by each day since their start, and the mean time they spend not activated.

    One user, one clock. It starts at the user's first ``start`` event and ends at the first of: an ``activation`` event at or after it (the
    same moment counts, duration 0), a ``competing`` exit at or after it (at one moment the activation comes first), ``horizon``, ``as_of``.
    A user with an activation before the start was already activated and is left out; an exit before the start counts for nothing. One row
    fills one role, so the same event as start and activation means its second occurrence. ``by``: columns of people or of the start event.
    ``reference``: the segment the others are compared with, or a list of segments that become one called "all others"; by default the largest.
    Segments with fewer than 30 activations: two or more become one called "small cohorts (k)", a single one is compared with nobody; never the reference.

    ``observed_from``: the event that brings a user into view, where that is not the start (an import, the first visit with tracking). The user is at risk
    from the first such event at or after the start; who never has one, or whose clock ended before it, is left out and counted, for only those who were
    still waiting could come into view. The curves begin where the risk set holds: while fewer than 10 users of a segment are in view and most are
    still to come, nothing can be said, and the rest is said of those still waiting on that day, the same one for all segments.

    Durations are exact, to the microsecond. In a log of more than 200,000 events only outcomes are; its durations are floored to the longest unit that divides a
    day and the horizon and is no more than horizon / 10,000 (at least 1 s, at most 2 hours, finer than what is printed): 12 minutes at 90 days. Daily data
    stay exact. All statistics work on counts by (segment, outcome, duration).

    ``curve``: segment, days, activated_rate + ci, n_at_risk (users in view whose clock runs for at least that long), up to the last day on which at least
    10 users are at risk. Rows every horizon / 180, plus every step where there are no more than 180; a row's values are exact.
    ``summary``: segment, n_users = n_activated + n_competing + n_censored (still waiting at as_of, sooner than the horizon) + n_not_activated
    (waited through the whole horizon); horizon_days, where the following are read: the horizon, or the last day to which at least 10 users were followed,
    activated since or not, if that is sooner;
    activated_rate + ci, median_days + ci (NaN: not reached), rmst_days + ci (mean days of the first horizon_days spent not activated);
    plateau ("flat", "still rising", "too few to say"), further_rate + ci (share of the users who would activate in another third of the time seen, if
    the last third's pace went on; exact Poisson limits, 3.7 / n where nobody activated), never_rate + ci (the share not activated, where flat).
    Flat: no more than 1 % further by the upper limit; still rising: more than that by the estimate. Nothing is said of days beyond horizon_days.
    ``contrasts``: segment, reference, horizon_days (the shorter of the two), rmst_difference_days + ci (segment minus reference),
    hazard_ratio + ci, logrank_pvalue, qvalue (Benjamini-Hochberg over the segments), ph_pvalue. Users who left lose the rest of the horizon
    in the rate and the mean; hazard ratio and tests compare users still there (cause-specific: an exit leaves the risk set).

    Methods: Kaplan-Meier with log-log Greenwood bands, or Aalen-Johansen where exits compete, and their restricted mean (`stats.incidence`,
    `stats.restricted_mean`); median by inversion of the band; the rest by `hazards.compare_days` and `hazards.compare_hazards`. Where people sit in
    accounts (``log.accounts``), errors are summed by account: the curve's by the infinitesimal jackknife (`stats.influence`), the hazard ratio's by Lin &
    Wei; with fewer than 10 accounts there are no intervals (see `stats.count_clusters` where users without one stand beside them). ph_pvalue always takes users
    as independent. An interval is missing where a segment has no activation or fewer than 10 users. Where one side of a contrast has no activation there is a
    log-rank test, but neither a hazard ratio nor an interval in days.

    Raises ParameterError: start, activation or observed_from do not occur, an exit that is one of them, no user to follow, an unknown segment as reference.
    """
    roles, caveats = clock_roles(
        log,
        {
            "start": start,
            "activation": activation,
            "competing": competing,
            "observed_from": observed_from,
        },
    )
    window, by, end = as_window(horizon, "horizon"), as_columns(by), as_timestamp(as_of)
    accounts, unit = [a for a in log.accounts if a not in by], resolution(window, log.small)
    kernel = partial(
        count_durations, horizon=window, unit=unit, roles=tuple(roles), accounts=accounts
    )
    counts = log.reduce(kernel, events=list(roles.values()), by=[*by, *accounts], as_of=as_of)
    counts, known_accounts = number_accounts(counts)
    counts, origin = _from_where_seen(counts)
    totals = counts.groupby("outcome")["n_users"].sum().reindex(OUTCOMES, fill_value=0)
    if (
        n_unseen := int(totals["unobserved"] + totals["ended_before"])
        if not totals["followed"]
        else 0
    ):
        raise ParameterError(
            f"observed_from: none of {phrases.users(n_unseen)} with {roles['start'].label} is still waiting and has {roles['observed_from'].label} after it "
            "(an event fills one role only); leave it out where users are in view from the start."
        )
    if not totals["followed"]:
        before = (
            f" without {roles['activation'].label} before; are start and activation swapped?"
            if totals["already"]
            else "."
        )
        raise ParameterError(f"start: no user has {roles['start'].label} by {as_of}{before}")
    counts, reference, pooled = _pool(counts, by, reference)
    counted = counts[counts["outcome"].isin((*ENDINGS, "followed"))]
    clock = {
        "horizon": window,
        "unit": unit,
        "competing": competing is not None,
        "origin": origin,
        "n_accounts": known_accounts,
    }
    groups = [Group.of(s, part, **clock).by_account() for s, part in counted.groupby("segment")]
    of = {g.label: g for g in sorted(groups, key=lambda g: (-g.n_users, g.label))}
    curve = pd.concat([_printed(g, window) for g in of.values()], ignore_index=True)
    summary = pd.DataFrame([_summary(g) for g in of.values()])
    contrasts = pd.DataFrame(
        [_contrast(g, of[reference]) for s, g in of.items() if s != reference],
        columns=CONTRAST_COLUMNS,
    )
    contrasts["qvalue"] = stats.fdr(contrasts["logrank_pvalue"])
    caveats += _caveats(roles, totals, of, summary, contrasts, pooled, reference, window, unit, end)
    return Activation(
        curve,
        summary,
        contrasts,
        _finding(roles, of, summary, contrasts, reference, window, unit),
        tuple(caveats),
    )


def count_durations(
    j: Journeys,
    *,
    horizon: int,
    unit: int,
    roles: Sequence[str] = ("start", "activation", "competing"),
    accounts: Sequence[str] = (),
) -> pd.DataFrame:
    """Kernel: segment, account (where ``accounts`` names dims), outcome (OUTCOMES), entry (where observed_from is a role), units, n_users.

    ``roles``: what the bits of the mask mean (`hazards.clocks`); horizon and unit in microseconds, entry and units in units. Every started user in view
    counts twice: under the outcome with the units the clock ran, and under "followed" with the units it could have run.
    """
    late, size = "observed_from" in roles, horizon // unit + 1
    names = ("entry", "units") if late else ("units",)
    shape = (*(len(j.levels[name]) for name in j.dims), len(OUTCOMES))
    cuts = np.unique(np.r_[0, np.searchsorted(j.user, j.user[BLOCK_ROWS::BLOCK_ROWS]), len(j)])
    heads, times = (
        [np.empty(0, np.int64)],
        [np.empty((len(names), 0), np.int64)],
    )  # dims and outcome as one number; ``names``
    for low, high in zip(cuts, cuts[1:]):
        part = j.take(slice(low, high))
        c = clocks(part, horizon, roles)
        outcome, seen, entries = c.outcome, slice(None), ()
        none = np.zeros(len(c.already) + len(c.unstarted), np.int64)
        if late:
            entry = np.minimum(c.to_entry, horizon) // unit
            ended = (c.ran < c.to_entry) | (entry > 0) & (
                c.ran // unit <= entry
            )  # before they came into view, or in the very unit
            outcome = np.select([c.to_entry > c.followed, ended], [8, 7], outcome)
            seen = np.flatnonzero(outcome < len(ENDINGS))
            entries = (np.concatenate([entry, entry[seen], none]),)
        more = np.repeat([6, 4, 5], [len(c.rows[seen]), len(c.already), len(c.unstarted)])
        rows = np.concatenate([c.rows, c.rows[seen], c.already, c.unstarted])
        heads.append(
            np.ravel_multi_index(
                (*(codes[rows] for codes in part.dims.values()), np.concatenate([outcome, more])),
                shape,
            )
        )
        times.append(np.vstack([*entries, np.concatenate([c.ran, c.followed[seen], none]) // unit]))
    values, codes = zip(*(distinct(column, size) for column in np.concatenate(times, axis=1)))
    sizes = {"outcome": len(OUTCOMES)} | dict(zip(names, map(len, values)))
    cells = np.ravel_multi_index(
        (np.concatenate(heads), *codes), (int(np.prod(shape, dtype=object)), *map(len, values))
    )
    table = cell_table(j, cells, sizes, accounts)
    return table.assign(
        outcome=np.asarray(OUTCOMES, object)[table["outcome"]],
        **{name: known[table[name]] for name, known in zip(names, values)},
    )


def _from_where_seen(counts: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The counts from the unit on at which all segments' risk sets hold: who ended before goes to "ended_before", who was in view enters there; and that unit."""
    if "entry" not in counts:
        return counts, 0
    origin, ends = 0, counts["outcome"].isin(ENDINGS)
    for _, part in counts[ends].groupby("segment"):
        late = part[part["entry"] > 0]
        time = np.unique(np.r_[part["units"], late["entry"]])
        gone, entered = (
            frame.groupby(column)["n_users"].sum().reindex(time, fill_value=0)
            for frame, column in ((part, "units"), (late, "entry"))
        )
        to_come = entered[::-1].cumsum()[::-1]
        n = gone[::-1].cumsum()[::-1] - to_come
        lacking = np.flatnonzero((n < MIN_FOLLOWED) & (to_come > part["n_users"].sum() - to_come))
        origin = max(
            origin,
            time[lacking[-1]] if len(lacking) and part["n_users"].sum() >= MIN_FOLLOWED else 0,
        )
    if not origin:
        return counts, 0
    before = ends & (counts["units"] <= origin)
    return add_up(
        [
            counts.assign(
                outcome=counts["outcome"].where(~before, "ended_before"),
                entry=np.where(counts["entry"] > origin, counts["entry"], 0),
            )
        ]
    ), int(origin)


def _pool(
    counts: pd.DataFrame, by: Sequence[str], reference: str | Sequence[str] | None
) -> tuple[pd.DataFrame, str, list[str]]:
    """The counts with a list of reference segments made one and the small cohorts made one; the reference's label; the names of what was small and pooled."""
    size = counts[counts["outcome"] == "followed"].groupby("segment")["n_users"].sum()
    labels = (
        [] if reference is None else [reference] if isinstance(reference, str) else list(reference)
    )
    for label in labels:
        if label not in size.index:
            there = f"; there are {', '.join(size.index[:20])}." if by else ' without "by".'
            raise ParameterError(
                f'reference: no segment is called "{label}"{there}{nearest(label, list(size.index))}'
            )
    rename = {} if isinstance(reference, str) else dict.fromkeys(labels, POOLED)
    reference = POOLED if rename else labels[0] if labels else size.index[size.argmax()]
    activated = (
        counts[counts["outcome"] == "activated"]
        .groupby("segment")["n_users"]
        .sum()
        .reindex(size.index, fill_value=0)
    )
    small = [
        s
        for s, n in activated.items()
        if n < FEW_ACTIVATIONS and s != reference and s not in rename
    ]
    if len(small) > 1:
        rename |= dict.fromkeys(small, f"small cohorts ({len(small)})")
    return (
        add_up([counts.assign(segment=counts["segment"].replace(rename))]) if rename else counts,
        reference,
        small if len(small) > 1 else [],
    )


def _summary(group: Group) -> dict[str, Any]:
    """Row of the summary."""
    rate, low, high = group.rate(group.last)
    mean, se = group.mean(group.last)
    width = critical([group]) * se
    seen = group.steps[group.steps["time"] <= group.last]
    median = [
        stats.quantile(seen, 0.5, column) for column in ("rate", "rate_ci_upper", "rate_ci_lower")
    ]
    return {
        "segment": group.label,
        "n_users": group.n_users,
        **{f"n_{end}": int(group.n[end]) for end in ENDINGS},
        "horizon_days": group.last,
        "activated_rate": rate,
        "activated_rate_ci_lower": low,
        "activated_rate_ci_upper": high,
        "median_days": median[0],
        "median_days_ci_lower": median[1],
        "median_days_ci_upper": median[2],
        "rmst_days": mean,
        "rmst_days_ci_lower": mean - width,
        "rmst_days_ci_upper": mean + width,
        **group.plateau(),
    }


def _printed(group: Group, horizon: int) -> pd.DataFrame:
    """Rows of the curve, from its first day to the last on which enough users are at risk."""
    time = group.steps["time"].to_numpy()
    exact = time[time <= group.last]
    days = np.r_[
        np.arange(GRID + 1) * (horizon / GRID) / DAY,
        group.first,
        group.last,
        exact if len(exact) <= GRID else [],
    ]
    days = np.unique(days[(days >= group.first) & (days <= group.last)])
    n_at_risk = at_risk(group.steps, days)
    n_rows = np.flatnonzero(n_at_risk >= MIN_FOLLOWED).max(initial=-1) + 1
    days, n_at_risk = days[:n_rows], n_at_risk[:n_rows]
    at = np.searchsorted(time, days, side="right")
    columns = {
        "rate": 0.0,
        "rate_ci_lower": np.nan,
        "rate_ci_upper": np.nan,
    }  # and their values before the first step
    rates = {f"activated_{c}": np.r_[first, group.steps[c]][at] for c, first in columns.items()}
    return pd.DataFrame({"segment": group.label, "days": days, **rates, "n_at_risk": n_at_risk})


def _contrast(group: Group, reference: Group) -> dict[str, Any]:
    """Row of the contrasts; nothing but its names for a segment too small to be compared."""
    row = {"segment": group.label, "reference": reference.label}
    last = min(group.last, reference.last)
    if group.n["activated"] < FEW_ACTIVATIONS or not last > group.first:
        return row
    days, low, high = compare_days([(group, reference)], last)
    row |= {
        "horizon_days": last,
        "rmst_difference_days": days,
        "rmst_difference_days_ci_lower": low,
        "rmst_difference_days_ci_upper": high,
    }
    return row | compare_hazards([(group.steps, reference.steps)], [(group, reference)])


def _caveats(
    roles: dict[str, Step],
    totals: pd.Series,
    groups: dict[str, Group],
    summary: pd.DataFrame,
    contrasts: pd.DataFrame,
    pooled: list[str],
    reference: str,
    horizon: int,
    unit: int,
    as_of: pd.Timestamp,
) -> list[str]:
    """What a reader must know about these numbers, in sentences."""
    begun, goal, span = roles["start"].label, roles["activation"].label, phrases.window(horizon)
    named = lambda labels: (
        "; ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    )  # noqa: E731
    n_users, n_activated = totals["followed"], totals["activated"]
    n_immature, n_at_once = (
        sum(getattr(g, name) for g in groups.values()) for name in ("n_immature", "n_at_once")
    )
    out = []
    if totals["already"]:
        out.append(
            f"Left out, already activated: {totals['already']:,} with {goal} before their first {begun}."
        )
    if totals["unstarted"]:
        out.append(
            f"Not counted, no clock to start: {totals['unstarted']:,} with {goal} but without {begun}. "
            "If that is many, check the tracking."
        )
    if "observed_from" in roles:
        out += _entry_caveats(
            roles["observed_from"].label, totals, next(iter(groups.values())).first
        )
    if n_immature:
        out.append(
            f"{n_immature:,} of {n_users:,} users ({n_immature / n_users:.0%}) started less than {span} before {as_of:%Y-%m-%d}: counted "
            "for as long as they were seen. The late part of a curve speaks for the earlier users."
        )
    if "competing" in roles:
        still = (
            " Hazard ratio and log-rank test compare the users still there."
            if len(contrasts)
            else ""
        )
        out.append(
            f"{roles['competing'].label} ends the clock unactivated ({totals['competing']:,} users): they stay in the denominator and "
            f"their remaining days count as not activated.{still}"
        )
    if n_activated and n_at_once >= 0.05 * n_activated:
        when = (
            "at the very moment of the start"
            if unit == 1
            else f"within {unit / 60e6:.3g} min of the start, the resolution here"
        )
        out.append(
            f"{n_at_once:,} of {n_activated:,} activations ({n_at_once / n_activated:.0%}) come {when}. Kept as duration 0; a sign of times recorded "
            "by day, or of activation as a part of the start."
        )
    if short := [
        f"{s} ({_time(g.last)})" for s, g in groups.items() if g.last < horizon // unit * unit / DAY
    ]:
        out.append(
            f"Fewer than {MIN_FOLLOWED} users were followed for {span}; rate and mean are read at the last day they were: "
            f"{named(short)}."
        )
    if small := [s for s, g in groups.items() if np.isnan(g.last)]:
        out.append(f"Fewer than {MIN_FOLLOWED} users, no estimates: {named(small)}.")
    if pooled:
        out.append(
            f"Fewer than {FEW_ACTIVATIONS} activations each, taken together as small cohorts ({len(pooled)}): {named(pooled)}."
        )
    if few := [s for s, g in groups.items() if g.n["activated"] < FEW_ACTIVATIONS and g.last >= 0]:
        alone = " and compared with nobody" if set(few) - {reference} else ""
        out.append(
            f"Fewer than {FEW_ACTIVATIONS} activations, too small{alone}; intervals are rough: {named(few)}."
        )
    known = summary[summary["horizon_days"].notna()]
    if never := list(known.loc[known["median_days"].isna(), "segment"]):
        out.append(
            f"Median not reached, fewer than half activate in the time seen: {named(never)}."
        )
    flat = known[known["plateau"] == "flat"]
    if len(flat):
        told = named(
            [
                f"{r['segment']} {_share(*(r[c] for c in ('never_rate', 'never_rate_ci_lower', 'never_rate_ci_upper')))}"
                for _, r in flat.iterrows()
            ]
        )
        out.append(
            f"The curve has gone flat; not activated by then: {told}. At the pace of the last third of the time seen no more than "
            f"{100 * flat['further_rate_ci_upper'].max():.1g} % of the users would follow in as long again."
        )
    if rising := list(known.loc[known["plateau"] == "still rising", "segment"]):
        out.append(
            f"Still rising at the end of the time seen, so how many never activate cannot be said: {named(rising)}."
        )
    out += _account_caveats(list(groups.values()))
    if (crossing := list(contrasts.loc[contrasts["ph_pvalue"] < 0.05, "segment"])) and len(
        contrasts
    ) > 1:  # of a single one the finding says it
        out.append(
            f"The ratio of hazards changes over time (p < 0.05): {named(crossing)}. Read the difference in days; "
            "the ratio is only an average."
        )
    return out


def _entry_caveats(event: str, totals: pd.Series, first: float) -> list[str]:
    """Who came into view late, in sentences."""
    out = []
    if totals["unobserved"]:
        out.append(
            f"Left out, never in view: {totals['unobserved']:,} without {event} at or after their start."
        )
    if totals["ended_before"]:
        out.append(
            f"Left out, no longer waiting when they came into view: {totals['ended_before']:,}. Users count from {event} on; before it only "
            "those who were still waiting could be seen."
        )
    if first:
        out.append(
            f"Nothing can be said of the first {_time(first)}, when fewer than {MIN_FOLLOWED} users of some segment were in view: every share and every mean "
            "counts from that day, of the users still waiting then."
        )
    return out


def _account_caveats(groups: list[Group]) -> list[str]:
    """What users who share an account do to the intervals, in sentences."""
    if groups[0].cells is None:
        return []
    effects = sorted(g.design_effect for g in groups if g.design_effect > 0)
    out = [
        f"Users share accounts ({n_accounts(groups):,} of them): intervals and tests are by account"
        + (
            f", design effect of the activated share {effects[0]:.2f}"
            + (f" to {effects[-1]:.2f}" if len(effects) > 1 else "")
            if effects
            else ""
        )
        + "."
    ]
    if refused := [g.label for g in groups if n_clusters([g]) < stats.MIN_CLUSTERS]:
        out.append(
            f"Fewer than {stats.MIN_CLUSTERS} accounts, too few for an interval: {'; '.join(refused[:5])}."
        )
    return out


def _finding(
    roles: dict[str, Step],
    groups: dict[str, Group],
    summary: pd.DataFrame,
    contrasts: pd.DataFrame,
    reference: str,
    horizon: int,
    unit: int,
) -> str:
    """The answer in words: the clearest contrast, or the one group there is."""
    begun, goal = roles["start"].label, roles["activation"].label
    leaving = f"{roles['competing'].label} counts as an exit; " if "competing" in roles else ""
    entry = f"counted from {roles['observed_from'].label} on; " if "observed_from" in roles else ""
    rule = (
        f"(Clock from the first {begun}; {leaving}{entry}users seen for less than {phrases.window(horizon)} count for as long as they were seen"
        f"{f'; times in steps of {phrases.window(unit)}' * (unit > 1)}.)"
    )
    known = contrasts[
        contrasts[["logrank_pvalue", "rmst_difference_days_ci_lower"]].notna().any(axis=1)
    ]
    told = {reference, *known["segment"]}
    none = "".join(
        f" In {s} none of {phrases.users(g.n_users)} reach {goal}."
        for s, g in groups.items()
        if s not in told and g.last >= 0 and not g.n["activated"]
    )
    if known.empty:
        group = groups[reference]
        row = summary.set_index("segment").loc[reference]
        if np.isnan(group.last):
            return f"Fewer than {MIN_FOLLOWED} users with {begun}: too few to say how long {goal} takes.{none} {rule}"
        word, per_day = phrases.unit_of(group.last)
        known_median = f"half are activated by {word} {_ci(row, 'median_days', per_day=per_day)}"
        median = (
            known_median if row["median_days"] >= 0 else "fewer than half are activated by then"
        )
        span = _span(group, group.last, begun)
        return (
            f"{span[0].upper()}{span[1:]} {_share(*group.rate(group.last))} of {row['n_users']:,} users{f' in {reference}' * (len(groups) > 1)} reach {goal}; {median}; "
            f"on average {_ci(row, 'rmst_days', per_day=per_day)} of these {word}s pass unactivated.{none} {rule}"
        )
    clear = known[known["qvalue"] < 0.05]
    row = known.loc[(clear if len(clear) else known)["rmst_difference_days"].abs().idxmax()]
    difference, low, high, days = row[
        [
            "rmst_difference_days",
            "rmst_difference_days_ci_lower",
            "rmst_difference_days_ci_upper",
            "horizon_days",
        ]
    ]
    if (
        np.isnan(low) and row["qvalue"] < 0.05
    ):  # one side without an activation has no interval, but a test
        verdict = "is slower than" if difference > 0 else "is faster than"
    else:
        verdict = (
            "is slower than"
            if low > 0
            else "is faster than"
            if high < 0
            else "does not differ clearly from"
        )
    rate, rate_0 = (_share(*groups[label].rate(days)) for label in (row["segment"], reference))
    word, per_day = phrases.unit_of(days)
    text = (
        f"segment {row['segment']} {verdict} {reference}: {_span(groups[reference], days, begun)} {rate} reach {goal}, against {rate_0}; on average its users "
        f"spend {_more(difference * per_day, low * per_day, high * per_day)} of {'these' if groups[reference].first else f'the first {_number(days * per_day)}'} {word}s "
        "not activated."
    )
    if len(known) > 1:
        text = f"{len(clear)} of {len(known)} segments differ from {reference} (log-rank, 5 % false discovery rate). The largest gap: {text}"
    else:
        text = f"S{text[1:]}"
    if row["ph_pvalue"] < 0.05:
        text += " The gap changes over time, so it is told in days, not as a hazard ratio."
    elif row["hazard_ratio"] > 0:
        text += f" Hazard ratio {_ci(row, 'hazard_ratio', 2)}."
    return f"{text}{none} {rule}"


def _span(group: Group, days: float, begun: str) -> str:
    """The time that is told of."""
    word, per_day = phrases.unit_of(days)
    if group.first:
        return f"from {word} {_number(group.first * per_day)} to {word} {_number(days * per_day)} after {begun}"
    return (
        f"within {_number(days * per_day)} {word}s of {begun}"
        if days
        else f"at the very moment of {begun}"
    )


def _number(value: float) -> str:
    """Three digits, but every digit of a whole number."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _time(days: float) -> str:
    """A span of days in words: 14.0 days, 7.0 hours."""
    word, per_day = phrases.unit_of(days)
    return f"{days * per_day:.1f} {word}s"


def _share(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.1f} %" + (f" ({100 * low:.1f} to {100 * high:.1f})" if low == low else "")


def _ci(row: Any, column: str, decimals: int = 1, per_day: int = 1) -> str:
    value, low, high = (
        f"{row[c] * per_day:.{decimals}f}"
        for c in (column, f"{column}_ci_lower", f"{column}_ci_upper")
    )
    return value if low == "nan" else f"{value} ({low} to {'no limit' if high == 'nan' else high})"


def _more(difference: float, low: float, high: float) -> str:
    """9.1 (7.2 to 11.0) more; 2.0 (1.0 to 3.0) fewer; 0.5 more (0.2 fewer to 1.2 more); 9.1 more, where there is no interval."""
    word = lambda v: f"{abs(v):.1f} {'more' if v >= 0 else 'fewer'}"  # noqa: E731
    if low * high > 0:
        small, large = sorted((abs(low), abs(high)))
        return f"{abs(difference):.1f} ({small:.1f} to {large:.1f}) {'more' if difference > 0 else 'fewer'}"
    return word(difference) + (f" ({word(low)} to {word(high)})" if low == low else "")
