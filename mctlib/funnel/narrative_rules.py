"""What `compare_rules` says of its tables, in words."""

from __future__ import annotations

import pandas as pd

from mctlib import phrases
from mctlib.headlines import brief


def finding(counts: pd.DataFrame) -> str:
    """What our plain count and other tools' say, in one sentence."""
    last = counts[counts["step"] == counts["step"].max()]
    rates = 100 * last["reached_rate"]
    said = f"{rates.iloc[1:].min():.1f} to {rates.iloc[1:].max():.1f} %"
    if len({f"{rate:.1f}" for rate in rates}) == 1:
        return brief(f"Counted plainly, every tool says {rates.iloc[0]:.1f} %")
    return brief(f"Counted plainly, other tools say {said} where we say {rates.iloc[0]:.1f} %")


def details(counts: pd.DataFrame, differences: pd.DataFrame, window: int) -> tuple[str, str]:
    """What each tool counts and which difference is the largest; and the rule."""
    last = counts[counts["step"] == counts["step"].max()]
    ours, others = last.iloc[0], last.iloc[1:]
    said = []
    for _, row in others.iterrows():
        more = row["n_reached"] - ours["n_reached"]
        words = f"{abs(more):,} {'more' if more > 0 else 'fewer'}" if more else "the same"
        said.append(f"{row['tool']} {words}")
    moved = differences["n_gained"] + differences["n_lost"]
    why = "no user is counted differently by any of them"
    if len(moved):
        most = differences.loc[moved.idxmax()]
        why = (
            f"the largest single difference is {phrases.users(moved.max())} at {most['event']} in "
            f"{most['tool']}, because {most['reason']}"
        )
    first = counts.iloc[0]
    text = (
        f"A plain count (any attempt, open windows as not there) finds {ours['n_reached']:,} of "
        f"{phrases.users(first['n_reached'])} with {first['event']} at {ours['event']} within "
        f"{phrases.window(window)}, {phrases.share(ours, 'reached_rate')}; {', '.join(said)}; "
        f"{why}."
    )
    accounts = phrases.in_accounts(ours["n_accounts"], ours["design_effect"])
    rule = "any attempt, steps in order, each tool with its defaults; 95 % intervals"
    return text, f"{rule}{accounts}."


def caveats(counts: pd.DataFrame, asides: pd.Series, end: int) -> tuple[str, ...]:
    """Whom all rules count alike although one could do otherwise."""
    n_open, n_knotted = asides["n_open"], asides["n_knotted"]
    said = [
        (
            n_open,
            f"Still inside the window of their first entry on {phrases.day(end)} and not at the "
            f"last step: {phrases.users(n_open)}. Every rule here counts them as not there, as the "
            "tools' screens do.",
        ),
        (
            n_knotted,
            "Different events at one moment, and events that fit several steps: "
            f"{phrases.users(n_knotted)}. PostHog reads such a moment once and may lose an attempt "
            "that we keep; that is not imitated here.",
        ),
        (
            counts["reached_rate_ci_lower"].isna().any(),
            phrases.too_few_accounts(f" ({counts['n_accounts'].iloc[0]:,.0f})"),
        ),
        (
            True,
            "The rules of Mixpanel and Amplitude are taken from their public pages; the products "
            "themselves were not asked.",
        ),
    ]
    return phrases.that_hold(said)
