"""The waits of users and cohorts in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.survival_groups import (
    FEW_ACTIVATIONS,
    MIN_FOLLOWED,
    Clock,
    Group,
    n_accounts,
    n_clusters,
)
from mctlib.contract import interval_columns
from mctlib.phrases import DAY_US

ENDS = ("", "_ci_lower", "_ci_upper")


@dataclass(frozen=True)
class Waits:
    """What the sentences of `time_to_activation` are made of."""

    roles: Mapping[str, str]  # role -> the event, in words
    clock: Clock
    as_of: pd.Timestamp
    groups: Mapping[str, Group]  # by label
    reference: str
    pooled: Sequence[str]  # segments that were too small to stand alone
    left_out: pd.Series  # users by outcome
    summary: pd.DataFrame
    contrasts: pd.DataFrame
    adjusted: pd.DataFrame
    strata: Sequence[str]  # columns whose values have a course of their own


def activation_rule(waits: Waits) -> str:
    """How the waits were counted."""
    roles, clock = waits.roles, waits.clock
    parts = [f"Clock from the first {roles['start']}"]
    if "competing" in roles:
        parts.append(f"{roles['competing']} counts as an exit")
    if "observed_from" in roles:
        parts.append(f"counted from {roles['observed_from']} on")
    span = phrases.window(clock.horizon)
    parts.append(f"users seen for less than {span} count for as long as they were seen")
    if clock.unit > 1:
        parts.append(f"times in steps of {phrases.window(clock.unit)}")
    return "; ".join(parts) + "."


def activation_finding(waits: Waits) -> str:
    """The clearest contrast, or the one group there is."""
    judged = waits.contrasts[["logrank_pvalue", "rmst_difference_days_ci_lower"]]
    known = waits.contrasts[judged.notna().any(axis=1)]
    text = _one_group(waits) if known.empty else _largest_gap(waits, known)
    told = {waits.reference, *known["segment"]}
    none = [
        f" In {label} none of {phrases.users(group.n_users)} reach {waits.roles['activation']}."
        for label, group in waits.groups.items()
        if label not in told and group.last >= 0 and not group.n["activated"]
    ]
    return text + "".join(none)


def _one_group(waits: Waits) -> str:
    """How long the reference waits, where nothing can be compared with it."""
    begun, goal = waits.roles["start"], waits.roles["activation"]
    group = waits.groups[waits.reference]
    if not group.last >= 0:
        return (
            f"Fewer than {MIN_FOLLOWED} users with {begun}: too few to say how long {goal} takes."
        )
    row = waits.summary.set_index("segment").loc[waits.reference]
    unit = phrases.unit_of(group.last)
    median = "fewer than half are activated by then"
    if row["median_days"] >= 0:
        median = f"half are activated by {unit.name} {_in_unit(row, 'median_days', unit.per_day)}"
    share = phrases.share(row, "activated_rate")
    of = phrases.users(row["n_users"])
    where = f" in {waits.reference}" if len(waits.groups) > 1 else ""
    span = _span(group.last, begun)
    return (
        f"{span[0].upper()}{span[1:]} {share} of {of}{where} reach {goal}; {median}; on average "
        f"{_in_unit(row, 'rmst_days', unit.per_day)} of these {unit.name}s pass unactivated."
    )


def _largest_gap(waits: Waits, known: pd.DataFrame) -> str:
    """The largest of the clear contrasts, or of all where none is clear."""
    clear = known[known["qvalue"] < 0.05]
    of = clear if len(clear) else known
    row = of.loc[of["rmst_difference_days"].abs().idxmax()]
    segment, days = row["segment"], row["horizon_days"]
    unit = phrases.unit_of(days)
    share, share_0 = (
        phrases.share(interval_columns("rate", *waits.groups[label].rate(days)), "rate")
        for label in (segment, waits.reference)
    )
    more = _more(*(row[f"rmst_difference_days{end}"] * unit.per_day for end in ENDS))
    text = (
        f"egment {segment} {_verdict(row)} {waits.reference}: {_span(days, waits.roles['start'])} "
        f"{share} reach {waits.roles['activation']}, against {share_0}; on average its users spend "
        f"{more} of the first {phrases.duration(days)} not activated."
    )
    if len(known) > 1:
        text = (
            f"{len(clear)} of {len(known)} segments differ from {waits.reference} (log-rank, 5 % "
            f"false discovery rate). The largest gap: s{text}"
        )
    else:
        text = f"S{text}"
    if row["ph_pvalue"] < 0.05:
        return f"{text} The gap changes over time, so it is told in days, not as a hazard ratio."
    if row["hazard_ratio"] > 0:
        return f"{text} Hazard ratio {_in_unit(row, 'hazard_ratio', decimals=2)}."
    return text


def _verdict(row: pd.Series) -> str:
    """Which is slower, by the interval; where there is none, by the test."""
    difference, low, high = (row[f"rmst_difference_days{end}"] for end in ENDS)
    if low != low and row["qvalue"] < 0.05:  # one side without an activation
        low = high = difference
    if low > 0:
        return "is slower than"
    return "is faster than" if high < 0 else "does not differ clearly from"


def activation_details(waits: Waits) -> tuple[str, ...]:
    """What shortens the wait, other things equal."""
    adjusted = waits.adjusted
    if adjusted.empty:
        return ()
    clear = adjusted[adjusted["qvalue"] < 0.05]
    held = phrases.listed(adjusted["covariate"].unique())
    if waits.strata:
        held += f"; within each {phrases.listed(waits.strata)}"
    if clear.empty:
        return (f"Other things equal ({held}), no level differs clearly from its reference.",)
    told = [
        f"{row['level']} {'sooner' if row['hazard_ratio'] > 1 else 'later'} than {row['reference']}"
        f" (hazard ratio {_in_unit(row, 'hazard_ratio', decimals=2)})"
        for _, row in clear.iterrows()
    ]
    return (f"Other things equal ({held}): {phrases.listed(told, most=5)}.",)


def activation_caveats(waits: Waits) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    return (
        *_who_counts(waits),
        *_what_is_known(waits),
        *_account_caveats(waits.groups.values()),
        *_changing(waits),
    )


def _who_counts(waits: Waits) -> tuple[str, ...]:
    """Whom the counts leave out, and how the others were seen."""
    roles, groups, out = waits.roles, waits.groups.values(), waits.left_out
    begun, goal = roles["start"], roles["activation"]
    entry, leave = roles.get("observed_from"), roles.get("competing")
    n_users = sum(g.n_users for g in groups)
    n_activated, n_exits = (sum(g.n[end] for g in groups) for end in ("activated", "competing"))
    n_immature, n_at_once = sum(g.n_immature for g in groups), sum(g.n_at_once for g in groups)
    span, unit = phrases.window(waits.clock.horizon), waits.clock.unit
    thin = max((g.thin_until for g in groups if g.last >= 0), default=0.0)
    when = "at the very moment" if unit == 1 else f"within {phrases.window(unit)}"
    still = " Hazard ratio and log-rank test compare the users still there."
    return phrases.that_hold(
        [
            (
                out["already"],
                f"Left out, already activated: {out['already']:,} with {goal} before their first "
                f"{begun}.",
            ),
            (
                out["unstarted"],
                f"Not counted, no clock to start: {out['unstarted']:,} with {goal} but without "
                f"{begun}. If that is many, check the tracking.",
            ),
            (
                out["unobserved"],
                f"Left out, never in view: {out['unobserved']:,} without {entry} at or after their "
                "start.",
            ),
            (
                out["ended_before"],
                f"Left out, no longer waiting when they came into view: {out['ended_before']:,}. "
                f"Users count from {entry} on; before it only those who were still waiting could "
                "be seen.",
            ),
            (
                thin > 0,
                f"Thin start: fewer than {MIN_FOLLOWED} users of some segment were in view during "
                f"the first {phrases.duration(thin)}. One activation then moves the whole curve.",
            ),
            (
                n_immature,
                f"{n_immature:,} of {n_users:,} users ({n_immature / n_users:.0%}) started less "
                f"than {span} before {waits.as_of:%Y-%m-%d}: counted for as long as they were "
                "seen. The late part of a curve speaks for the earlier users.",
            ),
            (
                leave,
                f"{leave} ends the clock unactivated ({n_exits:,} users): they stay in the "
                "denominator and their remaining days count as not activated."
                + (still if len(waits.contrasts) else ""),
            ),
            (
                n_activated and n_at_once >= 0.05 * n_activated,
                f"{n_at_once:,} of {n_activated:,} activations "
                f"({n_at_once / max(n_activated, 1):.0%}) come {when} of the start. Kept as "
                "duration 0; a sign of times recorded by day, or of activation as a part of the "
                "start.",
            ),
        ]
    )


def _what_is_known(waits: Waits) -> tuple[str, ...]:
    """Of which segments too little is known, and for how long the others were seen."""
    groups, clock, pooled = waits.groups, waits.clock, waits.pooled
    whole = clock.horizon // clock.unit * clock.unit / DAY_US
    short = [f"{s} ({phrases.duration(g.last)})" for s, g in groups.items() if g.last < whole]
    small = [s for s, g in groups.items() if g.last != g.last]
    few = [s for s, g in groups.items() if g.n["activated"] < FEW_ACTIVATIONS and g.last >= 0]
    alone = " and compared with nobody" if set(few) - {waits.reference} else ""
    known = waits.summary[waits.summary["horizon_days"].notna()]
    never = known.loc[known["median_days"].isna(), "segment"]
    flat = known[known["plateau"] == "flat"]
    told = [f"{row['segment']} {phrases.share(row, 'never_rate')}" for _, row in flat.iterrows()]
    rising = known.loc[known["plateau"] == "still rising", "segment"]
    return phrases.that_hold(
        [
            (
                short,
                f"Fewer than {MIN_FOLLOWED} users were followed for "
                f"{phrases.window(clock.horizon)}; rate and mean are read at the last day they "
                f"were: {_named(short)}.",
            ),
            (small, f"Fewer than {MIN_FOLLOWED} users, no estimates: {_named(small)}."),
            (
                pooled,
                f"Fewer than {FEW_ACTIVATIONS} activations each, taken together as small cohorts "
                f"({len(pooled)}): {_named(pooled)}.",
            ),
            (
                few,
                f"Fewer than {FEW_ACTIVATIONS} activations, too small{alone}; intervals are rough: "
                f"{_named(few)}.",
            ),
            (
                len(never),
                f"Median not reached, fewer than half activate in the time seen: {_named(never)}.",
            ),
            (
                told,
                f"The curve has gone flat; not activated by then: {_named(told)}. At the pace of "
                "the last third of the time seen no more than "
                f"{100 * flat['further_rate_ci_upper'].max():.1g} % of the users would follow in "
                "as long again.",
            ),
            (
                len(rising),
                "Still rising at the end of the time seen, so how many never activate cannot be "
                f"said: {_named(rising)}.",
            ),
        ]
    )


def _account_caveats(groups: Iterable[Group]) -> tuple[str, ...]:
    """What users who share an account do to the intervals."""
    shared = [g for g in groups if g.cells is not None]
    if not shared:
        return ()
    effects = sorted(g.design_effect for g in shared if g.design_effect > 0)
    effect = f", design effect of the activated share {effects[0]:.2f}" if effects else ""
    if len(effects) > 1:
        effect += f" to {effects[-1]:.2f}"
    refused = [g.label for g in shared if n_clusters([g]) < stats.MIN_CLUSTERS]
    return phrases.that_hold(
        [
            (
                True,
                f"Users share accounts ({n_accounts(shared):,} of them): intervals and tests are "
                f"by account{effect}.",
            ),
            (
                refused,
                f"Fewer than {stats.MIN_CLUSTERS} accounts, too few for an interval: "
                f"{_named(refused)}.",
            ),
        ]
    )


def _changing(waits: Waits) -> tuple[str, ...]:
    """Whose ratio of hazards is no constant."""
    contrasts, adjusted = waits.contrasts, waits.adjusted
    crossing = contrasts.loc[contrasts["ph_pvalue"] < 0.05, "segment"]
    drifting = adjusted[adjusted["ph_pvalue"] < 0.05]
    levels = drifting["covariate"].astype(str) + " " + drifting["level"].astype(str)
    return phrases.that_hold(
        [
            (
                len(crossing) and len(contrasts) > 1,  # of a single one the finding says it
                f"The ratio of hazards changes over time (p < 0.05): {_named(crossing)}. Read the "
                "difference in days; the ratio is only an average.",
            ),
            (
                len(levels),
                "Other things equal, these ratios of hazards change over time (p < 0.05), so each "
                f"is only an average: {_named(levels)}.",
            ),
        ]
    )


def _named(words: Iterable[str]) -> str:
    return phrases.listed(words, most=5)


def _span(days: float, begun: str) -> str:
    """The time that is told of."""
    if not days:
        return f"at the very moment of {begun}"
    return f"within {phrases.duration(days)} of {begun}"


def _in_unit(row: Any, column: str, per_day: int = 1, decimals: int = 1) -> str:
    """A number of a row with its interval: "5.8 (4.6 to 7.0)"."""
    value, low, high = (row[column + end] * per_day for end in ENDS)
    if low != low:
        return f"{value:.{decimals}f}"
    upper = "no limit" if high != high else f"{high:.{decimals}f}"
    return f"{value:.{decimals}f} ({low:.{decimals}f} to {upper})"


def _more(difference: float, low: float, high: float) -> str:
    """Say "9.1 (7.2 to 11.0) more", "0.5 more (0.2 fewer to 1.2 more)"; "9.1 more" alone."""
    if low * high > 0:
        small, large = sorted((abs(low), abs(high)))
        side = "more" if difference > 0 else "fewer"
        return f"{abs(difference):.1f} ({small:.1f} to {large:.1f}) {side}"
    value, least, most = (
        f"{abs(v):.1f} {'more' if v >= 0 else 'fewer'}" for v in (difference, low, high)
    )
    return f"{value} ({least} to {most})" if low == low else value
