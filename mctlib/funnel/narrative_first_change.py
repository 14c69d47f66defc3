"""What a director reads first of `explain_change`: what moved, what losses hide, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib import phrases, stats
from mctlib.eventlog.steps import Step
from mctlib.funnel.narrative_change import clear
from mctlib.headlines import (
    ANALYST,
    Action,
    Against,
    Headline,
    Verdict,
    brief,
    called,
    day,
    named,
    ranged,
    upper,
)

COLLECTOR = "Data collector"  # who mends tracking where the plan names nobody
LOST = 0.02  # of the events of a step: from here on a loss is named
MOST_NAMED = 2


@dataclass(frozen=True)
class Moved:
    """What the sentences of a change are made from."""

    parts: pd.DataFrame
    total: pd.Series
    completeness: pd.DataFrame
    timeline: pd.DataFrame
    steps: Sequence[Step]
    periods: Sequence[Sequence[Any]]  # first and last day, before and after

    @property
    def whole(self) -> pd.DataFrame:
        """The parts of everyone that chance does not explain, the largest first."""
        of_all = self.parts[self.parts["segment"] == "all"]
        return clear(of_all[of_all["qvalue"] <= stats.MAX_FALSE], "effect_rate")

    @property
    def effects(self) -> dict[str, float]:
        """The same by part, in points."""
        return dict(zip(self.whole["part"], 100 * self.whole["effect_rate"]))

    @property
    def sure(self) -> bool:
        """Whether the rate itself surely moved."""
        return bool(self.total["change_rate_ci_lower"] * self.total["change_rate_ci_upper"] > 0)

    @property
    def verdict(self) -> Verdict:
        """How sure the change is."""
        if pd.isna(self.total["change_rate_ci_lower"]):
            return "too few"
        return "sure" if self.sure else "not clear"

    @property
    def goal(self) -> str:
        """The last step."""
        return named(self.steps[-1].label)

    @property
    def loser(self) -> str:
        """The segment that loses most events; "" where none stands out."""
        some = self.parts[(self.parts["part"] == "tracking") & (self.parts["segment"] != "all")]
        some = some[(some["qvalue"] <= stats.MAX_FALSE) & (some["effect_rate"] < 0)]
        return str(next(iter(clear(some, "effect_rate")["segment"]), ""))

    @property
    def losses(self) -> dict[str, float]:
        """Step -> share of its events that the later period lost there, the largest first."""
        table = self.completeness
        table = table[table["segment"] == (self.loser or "all")]
        wide = table.pivot(index="event", columns="period")
        if wide.empty:
            return {}
        rate, high = wide["completeness_rate"], wide["completeness_rate_ci_upper"]
        lost = (rate["before"] - rate["after"])[high["after"] < rate["before"]]
        return dict(lost[lost >= LOST].sort_values(ascending=False))


def read_first(moved: Moved) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "news": bool(moved.sure or moved.effects),
        "finding": _finding(moved),
        "headlines": tuple(_headlines(moved)),
        "actions": tuple(_actions(moved)),
        "tells": _tells(moved),
    }


def signed(points: float) -> str:
    """A change in points, a true minus."""
    return phrases.nought(f"{points:+.1f}").replace("-", "\u2212")


def _clause(moved: Moved, part: str, points: float) -> str:
    """What a part did, in everyday words."""
    up, size = points > 0, f"({signed(points)} points)"
    if part == "tracking":
        hide = f"lost {_whose(moved)}events hide {abs(points):.1f} points"
        return f"fewer events are lost {size}" if up else hide
    if part == "mix":
        return f"more users come who convert {'often' if up else 'seldom'} {size}"
    unknown = moved.parts["effect_rate"].isna().any()
    less = "less often, or events are lost" if unknown else "less often"
    return f"users go on {'more often' if up else less} {size}"


def _whose(moved: Moved) -> str:
    """The segment that loses events, before "events"; "" where none stands out."""
    return f"{called(moved.loser)} " if moved.loser else ""


def _finding(moved: Moved) -> str:
    said = [_clause(moved, part, points) for part, points in moved.effects.items()]
    before, after = (100 * moved.total[f"{name}_rate"] for name in ("before", "after"))
    signs = {points > 0 for points in moved.effects.values()}
    if moved.sure:
        rose = "rose" if after > before else "fell"
        first = f"Users with {moved.goal} {rose} from {before:.1f} to {after:.1f} %"
        return brief(first, *([f": {said[0]}"] if said else ["; why is not clear"]), *_while(said))
    if len(signs) == 2:
        return brief(f"The rate looks flat, but it is not: {said[0]}", *_while(said))
    if said:
        return brief(f"The rate did not clearly move, but {said[0]}", *_while(said))
    change = f"{before:.1f} % before, {after:.1f} % after"
    return brief(f"{moved.goal} did not clearly move: {change}", ", which may be chance")


def _while(said: Sequence[str]) -> list[str]:
    return [f", while {said[1]}"] if len(said) > 1 else []


def _period(days: Sequence[Any]) -> str:
    return f"{day(days[0])} to {day(days[1])}"


def _headlines(moved: Moved) -> list[Headline]:
    before, after = (100 * moved.total[f"{name}_rate"] for name in ("before", "after"))
    up = bool(after > before)
    found = [
        Headline(
            name="change",
            label=f"{_period(moved.periods[1])} against {_period(moved.periods[0])}",
            **ranged(moved.total, "change_rate", 100),
            unit="points",
            against=Against("zero"),
            verdict=moved.verdict,
            tone=("wanted" if up else "unwanted") if moved.sure else "neutral",
            act=moved.sure and not up,
            note=f"{before:.1f} \u2192 {after:.1f} %",
        )
    ]
    parts = moved.whole.set_index("part")
    for part, row in parts.iterrows():
        up = bool(row["effect_rate"] > 0)
        found.append(
            Headline(
                name=str(part),
                label=_label(moved, str(part), up),
                **ranged(row, "effect_rate", 100),
                unit="points",
                against=Against("zero"),
                verdict="sure",
                tone="wanted" if up else "unwanted",
                act=not up and part != "mix",
                note=_note(moved, str(part)),
            )
        )
    return found


def _label(moved: Moved, part: str, up: bool) -> str:
    if part == "tracking":
        return "Fewer events are lost" if up else f"Lost {_whose(moved)}events"
    if part == "mix":
        return f"More users who convert {'often' if up else 'seldom'}"
    return f"Users go on {'more' if up else 'less'} often"


def _note(moved: Moved, part: str) -> str:
    if part != "tracking" or not moved.losses:
        return ""
    event, lost = next(iter(moved.losses.items()))
    return f"{100 * lost:.0f} % of {named(event)} lost"


def _actions(moved: Moved) -> list[Action]:
    """Mend what loses events, then find out what moved users."""
    found: list[Action] = []
    roles = {step.label: step.acts for step in moved.steps}
    for part, points in moved.effects.items():
        if part == "tracking" and points < 0:
            lost = list(moved.losses.items())[:MOST_NAMED]
            told_lost = " and ".join(f"{100 * share:.0f} % of {named(e)}" for e, share in lost)
            where = upper(called(moved.loser)) or "the tracking"
            text = f"Mend {where}: it loses {told_lost}." if lost else f"Mend {where}."
            role = next((roles[e] for e, _ in lost if roles.get(e)), COLLECTOR)
            found.insert(0, Action(text=text, role=role, about=part, state=_near(moved, "release")))
        elif part == "behaviour":
            what = "what helped: users go on more" if points > 0 else "why users go on less"
            text = f"Find out {what} often ({signed(points)} points)."
            role = moved.steps[-1].acts or ANALYST
            near = _near(moved, "intervention")
            found.append(Action(text=text, role=role, about=part, state=near))
    return found


def _near(moved: Moved, kind: str) -> str:
    """The nearest entry of the timeline of a kind that names a step."""
    table = moved.timeline
    table = table[(table["kind"] == kind) & table["names_step"]]
    for _, row in table.sort_values("distance_days", key=abs).head(1).iterrows():
        return f"coincides with {row['label']}, {day(row['day'])}"
    return ""


def _tells(moved: Moved) -> dict[str, str]:
    said = [f"{part} {signed(points)}" for part, points in moved.effects.items()]
    listed = f"{', '.join(said)} points" if said else "nothing that is no chance"
    before, after = (100 * moved.total[f"{name}_rate"] for name in ("before", "after"))
    return {"parts": listed, "steps": f"from {before:.1f} % to {after:.1f} %"}
