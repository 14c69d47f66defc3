"""What a director reads first of `explain_change`: what moved, what losses hide, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.eventlog.steps import Step
from mctlib.funnel.narrative_change import clear
from mctlib.funnel.narrative_first import aim, held_against
from mctlib.headlines import (
    ANALYST,
    Action,
    Against,
    Headline,
    Verdict,
    brief,
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
    by_step: pd.DataFrame
    completeness: pd.DataFrame
    timeline: pd.DataFrame
    course: pd.DataFrame
    steps: Sequence[Step]
    window: int  # microseconds
    periods: Sequence[Sequence[Any]]  # first and last day, before and after
    late: Mapping[str, tuple[int, str]]  # steps whose event came after the earlier period began
    since_after: int  # microsecond with which the later period begins

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
    def hides(self) -> bool:
        """Whether lost events surely hide a part of the later rate that is worth a word."""
        hidden = self.total["hidden_rate_ci_lower"] > LOST * self.total["after_rate"]
        return bool(hidden) and not self.began

    @property
    def began(self) -> str:
        """That an event came late, where that alone is why events are missing; else ""."""
        if self.losses or not self.late:
            return ""
        label, (us, where) = max(self.late.items(), key=lambda item: item[1])
        return f"{named(label)} is recorded{where} only since {day(us * 1000)}"

    @property
    def hidden(self) -> str:
        """What they hide, as a clause."""
        points = 100 * self.total["hidden_rate"]
        return f"lost {_whose(self)}events hide {points:.1f} points"

    @property
    def since(self) -> str:
        """From which cohort on as much is hidden as half of what is now; "" where always."""
        gap = self.course["mended_rate"] - self.course["reached_rate"]
        less = np.flatnonzero(~(gap >= self.total["hidden_rate"] / 2))
        if not len(less) or less[-1] + 1 == len(gap):
            return ""
        return f"since about {day(self.course['cohort'].iloc[less[-1] + 1][:10])}"

    @property
    def loser(self) -> str:
        """The segment that most events were lost of in the later period; "" where none has most."""
        table = self.completeness[self.completeness["period"] == "after"]
        lost = (table["n_checked"] - table["n_tracked"]).groupby(table["segment"]).sum()
        mine = lost.drop("all").nlargest(1)
        return str(mine.index[0]) if (mine > lost["all"] / 2).any() else ""

    @property
    def losses(self) -> dict[str, float]:
        """Step -> share of its events that the later period lost there, the largest first.

        Before an event was there at all nothing is known to be lost.
        """
        table = self.completeness[self.completeness["period"] == "after"]
        table = table[table["segment"] == (self.loser or "all")].set_index("event")
        lost = 1 - table["completeness_rate"][table["completeness_rate_ci_upper"] < 1 - LOST]
        late = [label for label, (us, _) in self.late.items() if us > self.since_after]
        return dict(lost.drop(late, errors="ignore").sort_values(ascending=False))


def read_first(moved: Moved) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "news": bool(moved.sure or moved.effects or moved.hides),
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
    if part == "tracking" and moved.began:
        return f"{moved.began} {size}"
    if part == "tracking":
        more = moved.hidden if moved.hides else f"more events are lost {size}"
        return f"fewer events are lost {size}" if up else more
    if part == "mix":
        return f"more users come who convert {'often' if up else 'seldom'} {size}"
    unknown = moved.parts["effect_rate"].isna().any()
    less = "less often, or events are lost" if unknown else "less often"
    return f"users go on {'more often' if up else less} {size}"


def _whose(moved: Moved) -> str:
    """The segment that loses events, before "events"; "" where none stands out."""
    return f"{phrases.called(moved.loser)} " if moved.loser else ""


def _finding(moved: Moved) -> str:
    said = [_clause(moved, part, points) for part, points in moved.effects.items()]
    before, after = (100 * moved.total[f"{name}_rate"] for name in ("before", "after"))
    more = said[1:2]
    if moved.hides and moved.hidden not in said:
        more = [moved.hidden]
    beside = [f", while {clause}" for clause in more]
    if moved.sure:
        rose = "rose" if after > before else "fell"
        first = f"Users with {moved.goal} {rose} from {before:.1f} to {after:.1f} %"
        return brief(first, f": {said[0]}" if said else "; why is not clear", *beside)
    if len({points > 0 for points in moved.effects.values()}) == 2:
        return brief(f"The rate looks flat, but it is not: {said[0]}", *beside)
    if said:
        return brief(f"The rate did not clearly move, but {said[0]}", *beside)
    if moved.hides:
        mended = after + 100 * moved.total["hidden_rate"]
        told = (
            f": {after:.1f} % of users have {moved.goal} on record, about {mended:.0f} % with these"
        )
        return brief(upper(moved.hidden), told)
    change = f"{before:.1f} % before, {after:.1f} % after"
    return brief(f"{moved.goal} did not clearly move: {change}", ", which may be chance")


def _between(days: Sequence[Any]) -> str:
    """A period: "19 Oct to 15 Nov"."""
    return " to ".join(f"{at.day} {at:%b}" for at in map(pd.Timestamp, days))


def _before(moved: Moved) -> str:
    """The earlier period in few words: "the 4 weeks before" where it is as long and just before."""
    (start, end), (first, last) = (map(pd.Timestamp, days) for days in moved.periods)
    (n_weeks, rest), day = divmod((last - first).days + 1, 7), pd.Timedelta("1D")
    if rest or end - start != last - first or first != end + day:
        return _between(moved.periods[0])
    return f"the {phrases.count(n_weeks, 'week')} before"


def _headlines(moved: Moved) -> list[Headline]:
    before, after = (100 * moved.total[f"{name}_rate"] for name in ("before", "after"))
    up = bool(after > before)
    found = [
        held_against(_level(moved), aim(moved.steps, moved.window)),
        Headline(
            name="change",
            label=f"{_between(moved.periods[1])} against {_before(moved)}",
            **ranged(moved.total, "change_rate", 100),
            unit="points",
            against=Against("zero"),
            verdict=moved.verdict,
            tone=("wanted" if up else "unwanted") if moved.sure else "neutral",
            act=moved.sure and not up,
            note=f"{before:.1f} \u2192 {after:.1f} %",
        ),
    ]
    if moved.hides:
        found.append(_hidden(moved))
    parts = moved.whole.set_index("part")
    for part, row in parts.iterrows():
        up = bool(row["effect_rate"] > 0)
        if part == "tracking" and moved.hides:  # one number for what is lost
            continue
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
            )
        )
    return found


def _level(moved: Moved) -> Headline:
    return Headline(
        name="rate",
        label=f"Users with {moved.goal}, {_between(moved.periods[1])}",
        **ranged(moved.total, "after_rate", 100),
        unit="%",
        n=int(moved.total["n_after"]),
    )


def _hidden(moved: Moved) -> Headline:
    event, lost = next(iter(moved.losses.items()), ("", 0.0))
    ends = ranged(moved.total, "hidden_rate", -100)
    return Headline(
        name="tracking",
        label=f"Hidden by lost {_whose(moved)}events, {_between(moved.periods[1])}",
        **ends | {"low": ends["high"], "high": ends["low"]},
        unit="points",
        against=Against("zero"),
        verdict="sure",
        tone="unwanted",
        act=True,
        note=f"{100 * lost:.0f} % of {named(event)} lost" if event else "",
    )


def _label(moved: Moved, part: str, up: bool) -> str:
    if part == "tracking" and moved.began:
        return upper(moved.began)
    if part == "tracking":
        return f"{'Fewer' if up else 'More'} events are lost"
    if part == "mix":
        return f"More users who convert {'often' if up else 'seldom'}"
    return f"Users go on {'more' if up else 'less'} often"


def _actions(moved: Moved) -> list[Action]:
    """Mend what loses events, then find out what moved users."""
    found: list[Action] = []
    roles = {step.label: step.acts for step in moved.steps}
    if moved.hides or (moved.effects.get("tracking", 0) < 0 and not moved.began):
        lost = list(moved.losses.items())[:MOST_NAMED]
        told_lost = " and ".join(f"{100 * share:.0f} % of {named(e)}" for e, share in lost)
        where = f"the tracking{moved.loser and f' of {phrases.called(moved.loser)}'}"
        text = f"Mend {where}: it loses {told_lost}." if lost else f"Mend {where}."
        role = next((roles[e] for e, _ in lost if roles.get(e)), COLLECTOR)
        state = _near(moved, "release") or moved.since
        whose = f"of users of {_between(moved.periods[1])}" if lost else ""
        found.append(Action(text=text, role=role, about="tracking", state=state, size=whose))
    for part, points in moved.effects.items():
        if part == "behaviour":
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
        return f"coincides with {phrases.called(row['label'])}, {day(row['day'])}"
    return ""


def _tells(moved: Moved) -> dict[str, str]:
    said = [f"{part} {signed(points)}" for part, points in moved.effects.items()]
    listed = f"{', '.join(said)} points" if said else "nothing beyond chance"
    return {"parts": listed, "steps": _where(moved)}


def _where(moved: Moved) -> str:
    """The step whose behaviour or tracking added or took most, and whether that may be chance."""
    table = moved.by_step[moved.by_step["step"] > 1].dropna(subset=["total_effect_rate"])
    if table.empty:
        return "too few users to tell"
    row = table.loc[table["total_effect_rate"].abs().idxmax()]
    sure = row["total_effect_rate_ci_lower"] * row["total_effect_rate_ci_upper"] > 0
    chance = "" if sure else " (may be chance)"
    size = signed(100 * row["total_effect_rate"])
    return f"most at {named(row['event'])}: {row['part']} {size} points{chance}"
