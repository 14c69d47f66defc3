"""The waits of users and cohorts in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.differences import clear, crosses
from mctlib.activation.survival_groups import (
    FEW_ACTIVATIONS,
    Clock,
    Group,
    n_accounts,
    n_clusters,
)
from mctlib.contract import ENDS, interval_columns
from mctlib.results import MIN_USERS


@dataclass(frozen=True)
class Waits:
    """What the sentences of `time_to_activation` are made of."""

    roles: Mapping[str, str]  # role -> the event, in words
    acts: str  # who is told first of the activation; "" where no plan says
    clock: Clock
    until: str  # day of as_of
    groups: Mapping[str, Group]  # by label
    reference: str
    pooled: Sequence[str]  # segments that were too small to stand alone
    joined: Mapping[str, str]  # segments of too few users to be told, and the name they share
    left_out: pd.Series  # users by outcome
    summary: pd.DataFrame
    contrasts: pd.DataFrame
    overall: pd.DataFrame  # log-rank test
    adjusted: pd.DataFrame
    strata: Sequence[str]  # columns whose values have a course of their own


def activation_rule(waits: Waits) -> str:
    """How the waits were counted."""
    roles, clock = waits.roles, waits.clock
    parts = [f"Clock from the first {roles['start']}"]
    if "competing" in roles:
        parts.append(f"{roles['competing']} counts as an exit")
    if "censor" in roles:
        parts.append(f"out of view from {roles['censor']} on")
    if "observed_from" in roles:
        parts.append(f"counted from {roles['observed_from']} on")
    span = phrases.window(clock.horizon)
    parts.append(f"users seen for less than {span} count for as long as they were seen")
    if clock.unit > 1:
        parts.append(f"times in steps of {phrases.window(clock.unit)}")
    return "; ".join(parts) + "."


def activation_finding(waits: Waits) -> str:
    """The segments that differ and the widest gap, or the one group there is."""
    known = waits.contrasts[waits.contrasts["rmst_difference_days_ci_lower"].notna()]
    if known.empty:
        text = _one_group(waits)
    elif len(known) == 1 or clear(known).any():
        text = _gap(waits, known)
    else:
        text = (
            f"None of {len(known)} segments is clearly slower or faster than {waits.reference}. "
            f"{_one_group(waits)}"
        )
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
        few = f"Fewer than {stats.MIN_WAITING} users with {begun}"
        return f"{few}: too few to say how long {goal} takes."
    row = waits.summary.set_index("segment").loc[waits.reference]
    unit = phrases.unit_of(group.last)
    median = "fewer than half are activated by then"
    if row["plateau"] == "flat":
        median = f"the curve is flat there, {phrases.share(row, 'never_rate')} never do"
    if row["median_days"] >= 0:
        median = f"half are activated by {unit.name} {_in_unit(row, 'median_days', unit.per_day)}"
    share = phrases.share(row, "activated_rate")
    of = phrases.users(row["n_users"])
    where = f" in {waits.reference}" if len(waits.groups) > 1 else ""
    span = _span(waits, group.last)
    return (
        f"{span[0].upper()}{span[1:]} {share} of {of}{where} reach {goal}; {median}; on average "
        f"{_in_unit(row, 'rmst_days', unit.per_day)} of these {unit.name}s pass unactivated."
    )


def _gap(waits: Waits, known: pd.DataFrame) -> str:
    """Who is slower and who faster than the reference, and the widest gap of these."""
    named = known[clear(known)]
    of = named if len(named) else known
    # days over the days they are of: segments may be read at different ones
    row = of.loc[(of["rmst_difference_days"].abs() / of["horizon_days"]).idxmax()]
    segment, days = row["segment"], row["horizon_days"]
    unit = phrases.unit_of(days)
    rates = [
        phrases.share(interval_columns("rate", *waits.groups[label].rate(days)), "rate")
        for label in (segment, waits.reference)
    ]
    more = _more(*(row[f"rmst_difference_days{end}"] * unit.per_day for end in ENDS))
    slower = named["rmst_difference_days"] > 0
    verdict = "is not clearly slower or faster than"
    if len(named):
        verdict = f"is {'slower' if slower[row.name] else 'faster'} than"
    verdict += f" {waits.reference}"
    if crosses(row, "difference_rate", len(named) > 0):
        most = "more" if row["difference_rate"] > 0 else "fewer"
        verdict += f", but {most} of its users get there"
    text = (
        f"egment {segment} {verdict}: {_span(waits, days)} {rates[0]} reach "
        f"{waits.roles['activation']}, against {rates[1]}; on average its users spend {more} of "
        f"the first {phrases.duration(days)} not activated."
    )
    if len(known) == 1:
        return f"S{text}"
    sides = [
        f"{phrases.listed(rows['segment'], most=4)} {'is' if len(rows) == 1 else 'are'} {word}"
        for rows, word in ((named[slower], "slower"), (named[~slower], "faster"))
        if len(rows)
    ]
    return (
        f"{len(named)} of {len(known)} segments differ{'s' * (len(named) == 1)} from "
        f"{waits.reference} (5 % false discovery rate): {phrases.listed(sides)}. The largest gap: "
        f"s{text}"
    )


def activation_details(waits: Waits) -> tuple[str, ...]:
    """What shortens the wait, other things equal."""
    adjusted = waits.adjusted
    if adjusted.empty:
        return ()
    sure = adjusted[adjusted["qvalue"] < 0.05]
    held = phrases.listed(adjusted["covariate"].unique())
    if waits.strata:
        held += f"; within each {phrases.listed(waits.strata)}"
    if sure.empty:
        return (f"Other things equal ({held}), no level differs clearly from its reference.",)
    told = [
        f"{row['level']} {'sooner' if row['hazard_ratio'] > 1 else 'later'} than {row['reference']}"
        f" (hazard ratio {_in_unit(row, 'hazard_ratio', decimals=2)})"
        for _, row in sure.iterrows()
    ]
    return (f"Other things equal ({held}): {phrases.listed(told, most=4)}.",)


def activation_caveats(waits: Waits) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    return (
        *_left_out(waits),
        *_how_seen(waits),
        *_what_is_known(waits),
        *_account_caveats(waits.groups.values()),
        *_tests(waits),
    )


def _left_out(waits: Waits) -> tuple[str, ...]:
    """Whom the counts leave out."""
    out, (begun, goal) = waits.left_out, (waits.roles[role] for role in ("start", "activation"))
    entry = waits.roles.get("observed_from")
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
        ]
    )


def _how_seen(waits: Waits) -> tuple[str, ...]:
    """How the users who count were seen."""
    roles, groups = waits.roles, waits.groups.values()
    leave, censor = roles.get("competing"), roles.get("censor")
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
                thin > 0,
                f"Thin start: fewer than {stats.MIN_WAITING} users of some segment were in view "
                f"during the first {phrases.duration(thin)}. One activation then moves the whole "
                "curve.",
            ),
            (
                n_immature and any(g.n["censored"] for g in groups),
                f"{n_immature:,} of {n_users:,} users ({100 * n_immature / n_users:.0f} %) started "
                f"less than {span} before {waits.until}: counted for as long as they were "
                "seen. The late part of a curve speaks for the earlier users.",
            ),
            (
                leave,
                f"{leave} ends the clock unactivated ({n_exits:,} users): they stay in the "
                "denominator and their remaining days count as not activated."
                + (still if len(waits.contrasts) else ""),
            ),
            (
                censor,
                f"{censor} takes users out of view: they count for as long as they were seen, as "
                "if it had nothing to do with whether they would have activated.",
            ),
            (
                n_activated and n_at_once >= 0.05 * n_activated,
                f"{n_at_once:,} of {n_activated:,} activations "
                f"({100 * n_at_once / max(n_activated, 1):.0f} %) come {when} of the start. Kept "
                "as duration 0; a sign of times recorded by day, or of activation as a part of the "
                "start.",
            ),
        ]
    )


def _what_is_known(waits: Waits) -> tuple[str, ...]:
    """Of which segments too little is known, and for how long the others were seen."""
    groups, clock, pooled = waits.groups, waits.clock, waits.pooled
    short = [f"{s} ({phrases.duration(g.last)})" for s, g in groups.items() if g.last < clock.end]
    small = [s for s, g in groups.items() if g.last != g.last]
    alone = waits.contrasts.loc[waits.contrasts["horizon_days"].isna(), "segment"]
    few = [s for s in alone if groups[s].last >= 0]
    known = waits.summary[waits.summary["horizon_days"].notna()]
    never = known.loc[known["median_days"].isna(), "segment"]
    flat = known[known["plateau"] == "flat"]
    told = [f"{row['segment']} {phrases.share(row, 'never_rate')}" for _, row in flat.iterrows()]
    rising = known.loc[known["plateau"] == "still rising", "segment"]
    return phrases.that_hold(
        [
            (
                short,
                f"Fewer than {stats.MIN_WAITING} users were followed and still waiting after "
                f"{phrases.window(clock.horizon)}; rate and mean are read at the last day on which "
                f"so many were: {_named(short)}. Nothing is said of later days.",
            ),
            *((waits.joined, text) for text in phrases.told_together(waits.joined, MIN_USERS)),
            (small, f"Fewer than {stats.MIN_WAITING} users, no estimates: {_named(small)}."),
            (
                pooled,
                f"Too small to stand alone (fewer than {FEW_ACTIVATIONS} activations, even at "
                f"everybody's rate), taken together as small cohorts ({len(pooled)}): "
                f"{_named(pooled)}.",
            ),
            (
                few,
                f"Too small to be compared (fewer than {FEW_ACTIVATIONS} activations, even at "
                f"everybody's rate): {_named(few)}.",
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


def _tests(waits: Waits) -> tuple[str, ...]:
    """The log-rank test of all segments; whose ratio of hazards is no constant."""
    contrasts, adjusted = waits.contrasts, waits.adjusted
    pvalue = waits.overall["pvalue"].max()
    several = f"all {len(waits.groups)}" if len(waits.groups) > 2 else "both"
    test = f"p {'< 0.001' if pvalue < 0.001 else f'= {pvalue:.3f}'}"
    for _, row in contrasts[contrasts["hazard_ratio"] > 0].iterrows():
        if len(contrasts) == 1:
            test += f"; hazard ratio {_in_unit(row, 'hazard_ratio', decimals=2)}"
    crossing = contrasts.loc[contrasts["ph_pvalue"] < 0.05, "segment"]
    drifting = adjusted[adjusted["ph_pvalue"] < 0.05]
    levels = drifting["covariate"].astype(str) + " " + drifting["level"].astype(str)
    return phrases.that_hold(
        [
            (
                pvalue >= 0,
                f"Log-rank test of {several} segments, over the whole of their curves: {test}.",
            ),
            (
                len(crossing),
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
    return phrases.listed(words, most=4)


def _span(waits: Waits, days: float) -> str:
    """The time that is told of."""
    begun = waits.roles["start"]
    if not days:
        return f"at the very moment of {begun}"
    so_far = "so far, " if days < waits.clock.end else ""
    return f"{so_far}within {phrases.duration(days)} of {begun}"


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
