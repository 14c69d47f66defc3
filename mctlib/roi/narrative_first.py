"""What a director reads first of a change and of a slow answer: a sentence, numbers, what to do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from mctlib.headlines import (
    ANALYST,
    TIGHT,
    Action,
    Against,
    Headline,
    Verdict,
    brief,
    day,
    money,
    n_words,
    named,
    ranged,
    told,
    upper,
    whose,
)
from mctlib.phrases import count
from mctlib.roi.narrative import MANY, effect
from mctlib.roi.narrative_before_after import Answer
from mctlib.roi.rung import ARMS, INCONCLUSIVE, ITS, NAIVE, SHOWN, Rung

OWNER, COORDINATOR = "Product lead", "Response coordinator"  # who acts where no plan names anybody
NOUNS = {"rate": "the rate", "count": "the daily number", "mean": "the mean"}
LOST = MANY | {"count": "daily users (added up)"}
MOST_CALLED = 7  # words of a name that fit into a sentence
UNITS = {"rate": ("points", 100.0), "count": ("a day", 1.0), "mean": ("", 1.0)}


def read_first(answer: Answer) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "finding": _finding(answer),
        "headlines": _headlines(answer),
        "actions": tuple(_actions(answer)),
        "tells": _tells(answer),
        "how_sure": tuple(_how_sure(answer)),
    }


def _whom(answer: Answer) -> str:
    """Who got the change."""
    panel, best = answer.panel, answer.ladder.best
    if best and best.name == ARMS and answer.arms:
        return whose("", str(answer.arms.surest["segment"]))
    if panel.treated == ["all"]:
        return "users"
    if len(panel.treated) > 1:
        return f"users of {len(panel.treated)} groups"
    return whose("", panel.treated[0])


def _change(answer: Answer) -> str:
    """The change by its name in the timeline, where that is short, and its day."""
    at = day(answer.panel.change)
    called_so = 0 < n_words(answer.called) <= MOST_CALLED
    return f"{answer.called} ({at})" if called_so else f"the change of {at}"


def _metric(answer: Answer) -> str:
    """Which number was moved, by its own name or its event's where the title has one."""
    title = answer.series.title
    found = re.match(r'"(.+?)" \(', title) or re.search(r" with (.+) within ", title)
    return named(found[1].replace("_", " ")) if found else NOUNS[answer.panel.kind]


def _told(answer: Answer, x: float, *, signed: bool = True) -> str:
    """An effect in words: "+16.9 points"."""
    text = effect(x, answer.panel.kind, signed=signed).replace("percentage ", "")
    return text.replace("-", "\u2212")


def _finding(answer: Answer) -> str:
    ladder, best, whom = answer.ladder, answer.ladder.best, _whom(answer)
    change = _change(answer)
    if best is None:
        return brief(
            f"It cannot be said whether {change} moved {whom}", ": nothing fair to compare with"
        )
    if ladder.effect == INCONCLUSIVE:
        why = "fair comparisons contradict each other" if ladder.against else "it may be chance"
        return brief(f"It is not clear whether {change} moved {whom}", f": {why}")
    size = _told(answer, abs(best.effect), signed=False)
    if ladder.effect != SHOWN:
        return brief(
            f"No effect of {change} on {whom} is shown",
            f": {_told(answer, best.effect)} may be chance",
        )
    word = f"{'lifted' if best.effect > 0 else 'lowered'} {_metric(answer)}"
    return brief(f"{upper(change)} {word} of {whom} by {size}", _paid(answer))


def _paid(answer: Answer) -> str:
    """Whether it paid, in words; "" where no money is told."""
    paid = answer.paid
    if not np.isfinite(paid["roi"]):
        return ""
    if paid["payback_days"] >= 0 and paid["roi_ci_lower"] > 0:
        return f" and had paid for itself after {paid['payback_days']:.0f} days"
    if paid["roi_ci_upper"] < 0:
        return ", but cost more than it brought"
    if paid["value_amount"] >= paid["cost_amount"]:
        return "; whether it has paid is not clear"
    return "; it has not paid for itself yet"


def _verdict(answer: Answer) -> Verdict:
    if answer.ladder.best is None:
        return "too few"
    return "sure" if answer.ladder.effect == SHOWN else "not clear"


def _headlines(answer: Answer) -> tuple[Headline, ...]:
    """The return first, where money is told: whether it paid is what is asked."""
    returned = _returned(answer)
    return (*returned[:1], _effect(answer), *returned[1:])


def _effect(answer: Answer) -> Headline:
    best, panel = answer.ladder.best, answer.panel
    unit, times = UNITS[panel.kind]
    value = low = high = None
    if best is not None:
        value, low, high = (told(times * x) for x in (best.effect, best.low, best.high))
    sure = _verdict(answer) == "sure"
    up = best is not None and best.effect > 0
    return Headline(
        name="effect",
        label=f"Effect of the change of {day(panel.change)}",
        value=value,
        low=low,
        high=high,
        unit=unit,
        against=Against("zero"),
        verdict=_verdict(answer),
        tone="neutral" if not sure else "wanted" if up else "unwanted",
        act=sure and not up,
        note=f"{_whom(answer)}, {count((panel.weeks.index >= 0).sum(), 'week')} after",
    )


def _returned(answer: Answer) -> list[Headline]:
    """The return and the day on which it had paid, where money is told."""
    paid, currency = answer.paid, answer.money.currency
    if not np.isfinite(paid["roi"]):
        return []
    low, high = paid["roi_ci_lower"], paid["roi_ci_upper"]
    sure = bool(low * high > 0)
    found = [
        Headline(
            name="return",
            label=f"Return on {money(paid['cost_amount'], currency)}",
            **ranged(paid, "roi", 100),
            unit="%",
            against=Against("zero"),
            verdict="sure" if sure else "not clear",
            tone="neutral" if not sure else "wanted" if low > 0 else "unwanted",
            act=bool(sure and high < 0),
            note=f"gained {money(paid['value_amount'], currency)}",
            cumulative=True,
        )
    ]
    if paid["payback_days"] >= 0 and paid["value_amount"] >= paid["cost_amount"]:
        after = answer.panel.change + pd.Timedelta(days=paid["payback_days"] - 1)
        found.append(
            Headline(
                name="paid back",
                label="Paid back after",
                **ranged(paid, "payback_days"),
                unit="days",
                verdict="sure" if low > 0 else "not clear",
                tone="wanted" if low > 0 else "neutral",
                note=f"on {day(after)}",
            )
        )
    return found


def _actions(answer: Answer) -> list[Action]:
    ladder, best, whom = answer.ladder, answer.ladder.best, _whom(answer)
    if best is None or ladder.effect == INCONCLUSIVE:
        text = "Test the change with users chosen by chance: these data cannot tell."
        return [Action(text=text, role=OWNER)]
    if ladder.effect != SHOWN:
        return [Action(text=_of_nothing_shown(answer, best), role=OWNER, about="effect")]
    verb = "Keep" if best.effect > 0 else "Stop"
    found = [Action(text=f"{verb} the change for {whom}.", role=OWNER, about="effect")]
    if best.effect > 0 and best.name != ARMS:
        text = "Test it with a holdout before others get it."
        found.append(Action(text=text, role=OWNER))
    naive = ladder.rung(NAIVE).effect
    if np.isfinite(naive) and abs(naive - best.effect) > (best.high - best.low) / 4:
        plain = _told(answer, naive).removesuffix(" points")
        text = f"Report {_told(answer, best.effect)}, not the plain {plain}."
        found.append(Action(text=text, role=ANALYST))
    return found


def _of_nothing_shown(answer: Answer, best: Rung) -> str:
    """What to do where no effect is shown: it may be ruled out, or too small for these weeks."""
    reach = answer.outlook(best)["detectable_effect"]
    if answer.wished > 0 and best.high < answer.wished:
        wish = _told(answer, answer.wished, signed=False)
        return f"Decide whether to stop: an effect of {wish} is ruled out."
    least = f": these weeks show no less than {_told(answer, reach, signed=False)}"
    return f"Wait, or test it with users chosen by chance{least if np.isfinite(reach) else ''}."


def _tells(answer: Answer) -> dict[str, str]:
    ladder, paid, currency = answer.ladder, answer.paid, answer.money.currency
    supported = [rung for rung in ladder.rungs if rung.supported]
    shown = [_told(answer, rung.effect) for rung in supported]
    said = {"rungs": "no fair comparison is possible"}
    if shown:
        n = "one fair comparison says" if len(shown) == 1 else f"{len(shown)} fair ones say"
        said["rungs"] = (
            f"{n} {' and '.join(shown)}; plain {_told(answer, ladder.rung(NAIVE).effect)}"
        )
    said["money"] = "no money is told"
    if np.isfinite(paid["value_amount"]):
        gained = money(paid["value_amount"], currency)
        said["money"] = f"{gained} gained for {money(paid['cost_amount'], currency)}"
    return said


def _how_sure(answer: Answer) -> list[str]:
    ladder, best = answer.ladder, answer.ladder.best
    effects = sorted(rung.effect for rung in ladder.rungs if rung.supported)
    found = []
    if len(effects) > 1:
        span = (
            f"{_told(answer, effects[0]).removesuffix(' points')} to {_told(answer, effects[-1])}"
        )
        found.append(f"{len(effects)} fair comparisons say {span}.")
    if ladder.moves is not None and ladder.moves.one:
        found.append("Only one group got the change: a shock of its own cannot be told from it.")
    if best is not None and best.name == ITS:
        found.append("Nothing else is compared: whatever happened at the change is part of it.")
    if answer.series.n_pending:
        found.append(f"{answer.series.n_pending:,} of the newest users are left out.")
    return found[:3]


# ------------------------------------------------------------------------ what a slow answer cost


def speed_first(stages: pd.DataFrame, kind: str, currency: str) -> dict[str, Any]:
    """The fields of a `Speed` that stand above the table."""
    known = stages[stages["missed"].notna()]
    sure = known[known["missed_ci_lower"] > 0]
    if known.empty:
        return {
            "finding": brief("What a slow answer cost cannot be said: no alert lies in these data"),
            "tells": {"stages": "no alert on this number"},
        }
    row = (known if sure.empty else sure).sort_values("missed").iloc[-1]
    mine = stages[stages["alert_id"] == row["alert_id"]]
    is_open, goes_on = mine["stage"].str.endswith("(open)").any(), bool(mine["goes_on"].any())
    began = mine["from_day"].min()
    stage = row["stage"].removesuffix(" (open)")
    noticed = stage.replace("until ", "until it was ")
    lost = f"{row['missed']:,.0f} {LOST[kind]}"
    worth = "" if pd.isna(row["lost_amount"]) else money(row["lost_amount"], currency)
    cost = f", {worth}," if worth else ""
    lasted = f"in {row['lasted_days']:.0f}{TIGHT}days"
    if is_open:
        lasted = "it goes on" if goes_on else "alert not closed"
    unit, _, how = LOST[kind].partition(" (")
    headline = Headline(
        name="speed",
        label=f"Lost {noticed}, fall of {day(began)}{how and f' ({how}'}",
        **ranged(row, "missed"),
        unit=unit,
        against=None,
        verdict="not clear" if sure.empty else "sure",
        tone="neutral" if sure.empty else "unwanted",
        act=bool(len(sure) and goes_on),
        cumulative=bool(is_open),
        note=f"{worth}, {lasted}" if worth else lasted,
    )
    finding = brief("That an earlier answer would have saved anything is not shown")
    if len(sure):
        finding = brief(f"The fall of {day(began)} had cost {lost}{cost} {noticed}")
    text = f"Close the alert of {day(began)}: the number is not clearly below its trend any more."
    if goes_on:
        text = f"Answer the fall of {day(began)}: it goes on."
    action = Action(
        text=text,
        role=COORDINATOR,
        about="speed",
        size=f"{lost} lost {noticed}",
    )
    return {
        "finding": finding,
        "headlines": (headline,),
        "actions": (action,) if is_open else (),
        "tells": {"stages": f"{lost} lost {stage}"},
    }
