"""The waits of users and cohorts in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.survival_groups import (
    Clock,
    Group,
)
from mctlib.contract import interval_columns

ENDS = ("", "_ci_lower", "_ci_upper")


@dataclass(frozen=True)
class Waits:
    """What the sentences of `time_to_activation` are made of."""

    roles: Mapping[str, str]  # role -> the event, in words
    clock: Clock
    until: str  # day of as_of
    groups: Mapping[str, Group]  # by label
    reference: str
    pooled: Sequence[str]  # segments that were too small to stand alone
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


def clear(table: pd.DataFrame) -> pd.Series:
    """Rows that are named, in every sentence: their interval of days does not hold nought.

    Nor would it after the false discovery rate of all that were tried. Either way counts.
    """
    ends = table["rmst_difference_days_ci_lower"] * table["rmst_difference_days_ci_upper"]
    return (table["qvalue"] < 0.05) & (ends > 0)


def crosses(row: pd.Series, share: str, named: bool) -> bool:
    """Whether the shares clearly differ and the days do not, or the other way round."""
    differs = row[f"{share}_ci_lower"] * row[f"{share}_ci_upper"] > 0
    return bool(differs and (not named or row[share] * row["rmst_difference_days"] > 0))


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
        median = f"half are activated by {unit.name} {in_unit(row, 'median_days', unit.per_day)}"
    share = phrases.share(row, "activated_rate")
    of = phrases.users(row["n_users"])
    where = f" in {waits.reference}" if len(waits.groups) > 1 else ""
    span = _span(waits, group.last)
    return (
        f"{span[0].upper()}{span[1:]} {share} of {of}{where} reach {goal}; {median}; on average "
        f"{in_unit(row, 'rmst_days', unit.per_day)} of these {unit.name}s pass unactivated."
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
        f"{phrases.listed(rows['segment'], most=5)} {'is' if len(rows) == 1 else 'are'} {word}"
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
        f" (hazard ratio {in_unit(row, 'hazard_ratio', decimals=2)})"
        for _, row in sure.iterrows()
    ]
    return (f"Other things equal ({held}): {phrases.listed(told, most=5)}.",)


def _span(waits: Waits, days: float) -> str:
    """The time that is told of."""
    begun = waits.roles["start"]
    if not days:
        return f"at the very moment of {begun}"
    so_far = "so far, " if days < waits.clock.end else ""
    return f"{so_far}within {phrases.duration(days)} of {begun}"


def in_unit(row: Any, column: str, per_day: int = 1, decimals: int = 1) -> str:
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
