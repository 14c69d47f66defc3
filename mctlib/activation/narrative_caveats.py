"""What to know of the waits of users and cohorts before acting, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from mctlib import phrases, stats
from mctlib.activation.narrative import Waits, in_unit
from mctlib.activation.survival_groups import FEW_ACTIVATIONS, Group, n_accounts, n_clusters


def activation_caveats(waits: Waits) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    return (
        *_who_is_left_out(waits),
        *_how_they_were_seen(waits),
        *_what_is_known(waits),
        *_account_caveats(waits.groups.values()),
        *_tests(waits),
    )


def _who_is_left_out(waits: Waits) -> tuple[str, ...]:
    """Whom the counts leave out."""
    roles, out = waits.roles, waits.left_out
    begun, goal, entry = roles["start"], roles["activation"], roles.get("observed_from")
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


def _how_they_were_seen(waits: Waits) -> tuple[str, ...]:
    """How those who count were seen."""
    groups = waits.groups.values()
    leave, censor = (waits.roles.get(role) for role in ("competing", "censor"))
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
                f"{n_immature:,} of {n_users:,} users ({n_immature / n_users:.0%}) started less "
                f"than {span} before {waits.until}: counted for as long as they were "
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
                f"({n_at_once / max(n_activated, 1):.0%}) come {when} of the start. Kept as "
                "duration 0; a sign of times recorded by day, or of activation as a part of the "
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
            test += f"; hazard ratio {in_unit(row, 'hazard_ratio', decimals=2)}"
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
    return phrases.listed(words, most=5)
