"""The sentences that a decision maker reads: effects, what is refused, arms, the value of speed.

Those of `compare_before_after` stand in `narrative_before_after`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mctlib import phrases
from mctlib.phrases import count
from mctlib.roi.weeks import MIN_PRE

MANY = {"rate": "successes", "count": "user-days", "mean": "units"}

OVERSTATED = (
    "An alert is raised because a number fell, so on average its fall is overstated; lost tracking "
    "costs no money."
)


def effect(x: float, kind: str, *, signed: bool = True) -> str:
    """An effect in its unit: "+1.2 percentage points", "+12.3 a day"."""
    sign = "+" if signed else ""
    if kind == "rate":
        return phrases.nought(f"{100 * x:{sign}.1f} percentage points")
    return phrases.nought(f"{x:{sign},.3g}{' a day' if kind == 'count' else ''}")


def effect_ci(x: float, low: float, high: float, kind: str) -> str:
    """An effect with its interval: "+1.2 percentage points (95 % interval -0.3 to +2.7)"."""
    return f"{effect(x, kind)} (95 % interval {number(low, kind)} to {number(high, kind)})"


def number(x: float, kind: str) -> str:
    """An effect without its unit."""
    return effect(x, kind).split(" ")[0]


def silence(days: Sequence[pd.Timestamp]) -> str:
    """Caveat: days on which a log holds nothing at all."""
    said = phrases.listed((f"{day:%Y-%m-%d}" for day in days), most=4)
    are = "this day is" if len(days) == 1 else "these days are"
    return f"Nothing at all was recorded on {said}: {are} missing, and not 0."


def refusal(tracked: pd.DataFrame, coincidences: pd.DataFrame) -> str:
    """Why no verdict may be given: the tracking changed; "" where it did not."""
    unlike = "so the two sides are not measured alike"
    for entry in coincidences[coincidences["refuses"]].to_dict("records")[::-1]:
        what = entry["label"] or entry["note"]
        when = phrases.called(f"{entry['day']:%Y-%m-%d}")
        return f"the tracking itself changed on {when} ({what}), {unlike}"
    for text, moved in zip(_held(tracked), tracked["moved"]):
        if moved:
            held = f"of the successes the server knows, the events hold {text}"
            return f"the tracking itself changed: {held}, {unlike}"
    return ""


def surroundings(tracked: pd.DataFrame, coincidences: pd.DataFrame) -> tuple[str, ...]:
    """Caveats: how complete the tracking was, and what else happened."""
    told = []
    if len(tracked):
        held = ", ".join(_held(tracked))
        told.append(f"Of the successes the server knows, the events hold {held}.")
    for entry in coincidences.to_dict("records"):
        label = f", {entry['label']}" if entry["label"] else ""
        told.append(f"Coincidence, not cause: {entry['kind']} on {entry['day']:%Y-%m-%d}{label}.")
    return tuple(told)


def _held(tracked: pd.DataFrame) -> list[str]:
    """Each side's tracked share, before and after."""
    whose = {"treated": "", "control": " (controls)"}
    return [
        f"{100 * row['before']:.1f} % before the change and {100 * row['after']:.1f} % after it"
        f"{whose[row['side']]}"
        for row in tracked.to_dict("records")
    ]


def speed_finding(stages: pd.DataFrame, kind: str, metric: str, currency: str) -> str:
    """The stage that cost most, and whether that is more than noise."""
    known = stages[stages["missed"].notna()]
    if known.empty:
        return (
            "What slowness cost cannot be said: the response log holds no alert on "
            f"{metric} within these data."
        )
    clear = known[known["missed_ci_lower"] > 0]
    most = known if clear.empty else clear
    row = most.loc[most["missed"].idxmax()]
    day, low, high = row[["per_day_amount", "per_day_amount_ci_lower", "per_day_amount_ci_upper"]]
    money = ""
    if day == day:
        money = f", worth {phrases.amount(day, currency, low, high, per='day')},"
    low, high = row["missed_ci_lower"], row["missed_ci_upper"]
    lost = f"{row['missed']:,.0f} {MANY[kind]} (95 % interval {low:,.0f} to {high:,.0f}){money}"
    lasted = f"the {count(row['lasted_days'], 'day')} {row['stage']}"
    when = f"{lasted}, from {row['from_day']:%Y-%m-%d}"
    if clear.empty:
        return (
            "That an earlier answer would have saved anything is not shown: the fall of "
            f"{metric} lost {lost} in {when}."
        )
    return (
        f"The fall of {metric} cost {lost} in {when}; one day sooner would have saved at most a "
        "day of that."
    )


def speed_caveats(
    stages: pd.DataFrame, short: Sequence[str], silent: Sequence[pd.Timestamp]
) -> tuple[str, ...]:
    """What `value_of_speed` cannot know; ``short``: alerts with few weeks before."""
    few = f"Descriptive only, with fewer than {MIN_PRE} weeks before the fall"
    return phrases.that_hold(
        [
            (len(stages), OVERSTATED),
            (short, f"{few}: {phrases.listed(short)}."),
            (silent, silence(silent)),
        ]
    )
