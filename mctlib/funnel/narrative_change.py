"""What `explain_change` and `drop_off_drivers` say of their tables, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mctlib import phrases, stats
from mctlib.funnel.change_parts import MIN_CELL
from mctlib.funnel.driver_counts import Rule
from mctlib.headlines import brief, named, upper, whose

MOST_CHANCE = f"{100 * stats.MAX_FALSE:g} %"  # of what is named

# ----------------------------------------------------------------------- change: mix, behaviour ...

MEANING = {  # of a part that adds to the rate, and of one that takes from it
    "mix": (
        "more of the users were of kinds that convert often",
        "more of the users were of kinds that convert seldom",
    ),
    "behaviour": ("users went on more often", "users went on less often"),
    "tracking": ("fewer events were lost", "events were lost"),
}
UNPROVED = {  # why nothing proves that a step was done
    False: "no later step is said to require it",
    True: "an event of this step or an earlier one may meet every later step too, so that none "
    "proves it",
}


def change_finding(
    parts: pd.DataFrame, steps: pd.DataFrame, total: pd.Series, label: str, window: int, began: str
) -> str:
    """The change, its parts, and what the clear ones are, the largest first.

    ``began``: that an event came late, where that alone makes tracking differ.
    """
    whole = parts[parts["segment"] == "all"]
    sums = []
    for _, row in whole.iterrows():
        known = pd.notna(row["effect_rate"])
        sums.append(f"{row['part']} {phrases.points(row, 'effect_rate') if known else 'not known'}")
    moved = []
    for _, row in clear(whole[whole["qvalue"] <= stats.MAX_FALSE], "effect_rate").iterrows():
        meaning = MEANING[row["part"]][int(row["effect_rate"] < 0)]
        meaning = began if began and row["part"] == "tracking" else meaning
        moved.append(meaning + _where(row, parts, steps))
    if whole["effect_rate"].isna().any():  # no tracking is known
        lost = "less often, or their events were lost"
        moved = [words.replace("less often", lost) for words in moved]
    if moved:
        why = f"What moved it: {'; '.join(moved)}"
    elif whole["effect_rate_ci_lower"].isna().all():
        why = "What moved it cannot be told from chance"
    else:
        why = "No part can be told from chance"
    ratio = phrases.times(total, "risk_ratio")
    return (
        f"The share of users reaching {label} within {phrases.window(window)} went from "
        f"{phrases.share(total, 'before_rate')} to {phrases.share(total, 'after_rate')}, "
        f"{phrases.points(total, 'change_rate')}{ratio and f', {ratio}'}: {', '.join(sums)}. {why}."
    )


def change_rule(total: pd.Series) -> str:
    """How the change was counted."""
    accounts = phrases.in_accounts(
        total["n_accounts"], total["before_design_effect"], total["after_design_effect"]
    )
    return (
        f"first entries with a closed window, {total['n_before']:,.0f} before and "
        f"{total['n_after']:,.0f} after; 95 % intervals{accounts}."
    )


def _where(row: pd.Series, parts: pd.DataFrame, steps: pd.DataFrame) -> str:
    """The step and the segment in which a part pulls the same way most; mix has no such place."""
    if row["part"] == "mix":
        return ""

    def strongest(table: pd.DataFrame, column: str) -> pd.DataFrame:
        alike = (table["part"] == row["part"]) & (table[column] * row["effect_rate"] > 0)
        return clear(table[alike], column).head(1)

    places = []
    if steps["step"].max() > 2:
        for _, step in strongest(steps, "total_effect_rate").iterrows():
            places.append(f"at step {step['step']}, {step['event']},")
    held = parts[(parts["qvalue"] <= stats.MAX_FALSE) & (parts["segment"] != "all")]
    places += [f"in {segment}" for segment in strongest(held, "effect_rate")["segment"]]
    return f", most {' '.join(places).removesuffix(',')}" if places else ""


def clear(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows whose interval leaves 0 out, the largest effect first."""
    apart = table[f"{column}_ci_lower"] * table[f"{column}_ci_upper"] > 0
    return table[apart].sort_values(column, key=abs, ascending=False, kind="stable")


def change_caveats(
    parts: pd.DataFrame, total: pd.Series, tracking: pd.DataFrame, timeline: pd.DataFrame
) -> list[str]:
    """What is not known, what was tested, and what happened near in time."""
    return [
        *_tracking_caveats(tracking),
        *_test_caveats(parts),
        *_interval_caveats(total),
        *_timeline_caveats(timeline),
    ]


def late_caveats(began: Mapping[str, tuple[int, str]]) -> list[str]:
    """Of steps whose event came later than what proves them (`came_late`)."""
    return [
        f"{label}{where} counts from {phrases.day(us)} on, when its event first came: that it is "
        "missing before may be a late start or a loss, which cannot be told apart; tracking holds "
        "it."
        for label, (us, where) in began.items()
    ]


def _tracking_caveats(tracking: pd.DataFrame) -> list[str]:
    """What is not known of the tracking, and what its estimates rest on.

    ``tracking``: event, source, required, segment, known, gone (nothing at all is tracked in one of
    the periods).
    """
    sources = tracking.drop_duplicates("step")
    unproved = sources[sources["source"] == "none"]
    said = []
    for required, why in UNPROVED.items():
        events = phrases.listed(unproved.loc[unproved["required"] == required, "event"], most=4)
        if events:
            comma = "," * required
            said.append(
                f"Lost tracking of {events} is not known: backend has no record of it{comma} and "
                f"{why}. Behaviour may hold it."
            )
    implied = phrases.listed(sources.loc[sources["source"] == "implied", "event"], most=4)
    if implied:
        said.append(
            f"Tracking of {implied} is judged by later steps that require it, as if its events "
            "were lost alike for users who go on and users who stop."
        )
    for (_, event), rows in tracking.groupby(["step", "event"], sort=False):
        unknown = rows.loc[~rows["known"], "segment"]
        if len(unknown) and rows["source"].iloc[0] != "none":
            said.append(
                f"Lost tracking of {event} is not known{_in_some(unknown, rows)}: too few users "
                "are known to have done it in both periods. Behaviour may hold it."
            )
        gone = rows.loc[rows["gone"], "segment"]
        if len(gone):
            said.append(
                f"In one of the periods no {event} was tracked at all{_in_some(gone, rows)}: what "
                "users did at this step is not known there and taken as unchanged."
            )
    return said


def _in_some(segments: pd.Series, rows: pd.DataFrame) -> str:
    return "" if len(segments) == len(rows) else f" in {phrases.listed(segments, most=4)}"


def _test_caveats(parts: pd.DataFrame) -> list[str]:
    """How many tests were made and which of them hold."""
    tested = parts[parts["qvalue"].notna() & (parts["segment"] != "all")]
    if tested.empty:
        return []
    held = clear(tested[tested["qvalue"] <= stats.MAX_FALSE], "effect_rate")
    held = held.sort_values("qvalue", kind="stable")
    words = []
    for _, row in held.iterrows():
        q = "q < 0.001" if row["qvalue"] < 0.0005 else f"q = {row['qvalue']:.3f}"
        words.append(f"{row['part']} in {row['segment']} ({q})")
    return [
        f"{len(tested)} tests were made, one for each part in each segment of {MIN_CELL} users or "
        f"more in both periods; with false discoveries held to {MOST_CHANCE}, "
        f"{phrases.listed(words, most=4) or 'none'} can be told from chance."
    ]


def _interval_caveats(total: pd.Series) -> list[str]:
    """Why there are no intervals."""
    if pd.notna(total["change_rate_ci_lower"]):
        return []
    if pd.isna(total["n_accounts"]):
        return [
            f"Fewer than {stats.MIN_CLUSTERS} groups of users: too few to say how far chance goes, "
            "so no interval is given."
        ]
    few = total["n_accounts"] < stats.MIN_CLUSTERS
    where = f" ({total['n_accounts']:,.0f})" if few else " before or after"
    return [phrases.too_few_accounts(where)]


def _timeline_caveats(timeline: pd.DataFrame) -> list[str]:
    """The entries that name a step, else all of them, the nearest to the change first."""
    if timeline.empty:
        return []
    near = timeline[timeline["names_step"]] if timeline["names_step"].any() else timeline
    near = near.sort_values("distance_days", key=abs, kind="stable")
    said = [f"{r['kind']} on {r['day']:%Y-%m-%d} ({r['label']})" for _, r in near.iterrows()]
    listed = phrases.listed(said, most=3)
    return [f"Near in time, a coincidence and not a cause: {listed}."]


# ----------------------------------------------------------------------------- drivers of drop-off


def no_drivers_finding(rule: Rule, step: int, end: int) -> str:
    """Say that no window has closed yet."""
    return (
        f"No user at {rule.label(step - 1)} has had the whole window of "
        f"{phrases.window(rule.window)} by {phrases.day(end)}, so nothing can be compared yet."
    )


def drivers_finding(table: pd.DataFrame, rule: Rule, step: int) -> str:
    """The surest driver, in one sentence."""
    goal = named(rule.label(step))
    clear = table[table["differs"]]
    if clear.empty:
        return brief(f"Nothing that was tested clearly goes with going on to {goal}")
    best = clear.iloc[0]
    more = "more" if best["adjusted_difference_rate"] > 0 else "less"
    key, _, value = best["driver"].partition(": ")
    of_segment = best["kind"] == "segment"
    who = upper(whose(key, value)) if of_segment else f"Users with {named(best['driver'])}"
    share, others = (100 * best[f"{side}_rate"] for side in ("with", "without"))
    return brief(
        f"{who} go on {more} often: {share:.0f} % reach {goal}", f", others {others:.0f} %"
    )


def drivers_details(table: pd.DataFrame, goes: Mapping[str, Any], rule: Rule, step: int) -> str:
    """Who goes on, how many drivers stand out, and the surest of them."""
    start = (
        f"Of {phrases.users(goes['n_users'])} at {rule.label(step - 1)} with a closed window, "
        f"{phrases.share(goes, 'on_rate')} go on to {rule.label(step)}; "
    )
    if table.empty:
        nothing = "nothing can be compared: no column and no other event has enough users"
        return f"{start}{nothing} on both sides."
    clear = table[table["differs"]]
    n_tests = table["pvalue"].notna().sum()
    stand = "stand" if len(clear) > 1 else "stands"
    text = f"{start}of {n_tests} drivers tested, {len(clear) or 'none'} {stand} out"
    named = clear[(clear["with_rate"] > 0) | (clear["kind"] == "segment")]  # no way out
    if len(named):
        text += _surest(named.iloc[0])
    return f"{text}."


def _surest(best: pd.Series) -> str:
    apart = abs(best["adjusted_difference_rate"] - best["difference_rate"]) > 1e-9
    ratio = phrases.times(best, "risk_ratio")
    return (
        f', most surely "{best["driver"]}": {phrases.share(best, "with_rate")} with it go on '
        f"against {phrases.share(best, 'without_rate')} without, "
        f"{phrases.points(best, 'adjusted_difference_rate')}{ratio and f', {ratio}'}"
        f"{' when like is compared with like' if apart else ''}"
    )


def drivers_rule(goes: Mapping[str, Any], rule: Rule, step: int, n_at_risk: int) -> str:
    """How drivers were compared; ``n_at_risk``: users among whom events were."""
    before = rule.label(step - 1)
    parts = [f"first entries whose window of {phrases.window(rule.window)} has closed"]
    if n_at_risk:
        parts.append(
            f"events are compared among the {phrases.users(n_at_risk)} not gone on "
            f"{phrases.window(rule.landmark)} after {before}, by what they had done by then"
        )
    alike = []
    if rule.adjust:
        alike.append(f"the same {phrases.listed(rule.adjust)}")
    if n_at_risk and step > 2:
        alike.append(f"for events the same tenth of the window at {before}")
    if alike:
        parts.append(f"like is {' and '.join(alike)}")
    parts.append(
        f"named where the interval leaves 0 out, at a false-discovery rate of {MOST_CHANCE}"
    )
    accounts = phrases.in_accounts(goes["n_accounts"], goes["design_effect"])
    return f"{'; '.join(parts)}; 95 % intervals{accounts}."


def drivers_caveats(
    table: pd.DataFrame, goes: Mapping[str, Any], n_small: int, left_out: Sequence[str]
) -> tuple[str, ...]:
    """What was tested, who was left out (`events_left_out`), and what no difference shows."""
    n_tests = table["pvalue"].notna().sum()
    ends = table[["with_rate_ci_lower", "without_rate_ci_lower"]]
    without_interval = table.loc[ends.isna().any(axis=1), "driver"]
    no_interval_at_all = pd.isna(goes["on_rate_ci_lower"])
    said = [
        (
            True,
            f"Drivers tested at once: {n_tests}. Of those that stand out, at most {MOST_CHANCE} "
            "are expected to be chance.",
        ),
        (
            n_small,
            f"Not tested, because fewer than {stats.MIN_USERS} users or "
            f"{100 * stats.MIN_SHARE:g} % of them stand on one side: "
            f"{phrases.count(n_small, 'driver')}.",
        ),
        *((True, sentence) for sentence in left_out),
        *((True, warning) for warning in driver_warnings(table)),
        (no_interval_at_all, phrases.too_few_accounts(f" ({goes['n_accounts']:,.0f})")),
        (
            len(without_interval) and not no_interval_at_all,
            "Without an interval and a test, because one side sits in too few accounts: "
            f"{phrases.listed(without_interval)}.",
        ),
        (True, "That a driver goes together with going on does not show that it causes it."),
    ]
    return phrases.that_hold(said)


def events_left_out(at_landmark: pd.Series, rule: Rule, step: int) -> list[str]:
    """Which events, and which users, the comparison of events leaves out."""
    sooner, late, left = (phrases.users(at_landmark[f"n_{k}"]) for k in ("sooner", "late", "left"))
    gone = f", {left} who had left by then" if rule.leave else ""
    return [
        "The funnel's own events are no drivers and were left out: "
        f"{phrases.listed(sorted(event.label for event in rule.events))}.",
        f"Left out of the comparison of events: {sooner} who had gone on within "
        f"{phrases.window(rule.landmark)} of {rule.label(step - 1)}{gone}, and {late} whose window "
        "ended before that.",
    ]


def driver_warnings(table: pd.DataFrame) -> tuple[str, ...]:
    """Simpson's paradox, and drivers that are exits."""
    crossed = [
        f"{row['driver']} ({100 * row['difference_rate']:+.1f} points, "
        f"{100 * row['adjusted_difference_rate']:+.1f} among like users)"
        for _, row in table[table["sign_differs"]].iterrows()
    ]
    exits = table.loc[(table["with_rate"] == 0) & (table["without_rate"] > 0), "driver"]
    said = [
        (
            crossed,
            "Over all users the difference lies on the other side of 0 than among like users: "
            f"{phrases.listed(crossed, most=4)}. Go by the second number; the first one mixes "
            "unlike users.",
        ),
        (
            len(exits),
            f"Nobody with {phrases.listed(exits, last='or')} went on: rather a way out than a "
            "reason.",
        ),
    ]
    return phrases.that_hold(said)
