"""The sentences that a decision maker reads. Numbers come in, words go out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.phrases import count
from mctlib.roi.ladder import ARMS, DID, ITS, NAIVE, NO_CONTROL, STRUCTURAL, Checks, Ladder
from mctlib.roi.money import Money
from mctlib.roi.rung import N_PLACEBO, UNCHECKED, Rung
from mctlib.roi.weeks import MIN_POST, MIN_PRE, Panel

MOST_ALARMS = 0.1  # share of placebo dates with p < 0.05 above which a reader is warned
EACH = {"rate": "success", "count": "user-day", "mean": "unit"}
MANY = {"rate": "successes", "count": "user-days", "mean": "units"}

BEYOND_A_SHARE = (
    "What would have been runs below 0 or above 1 in some weeks: there a straight line does not "
    "describe this share, and .path is cut off at 0 and 1."
)
ALONE = "No control group: anything else that happened at the change is part of the effect."
FREE = "The cost is 0: a return on investment is not defined, and there is nothing to pay back."
OVERSTATED = (
    "An alert is raised because a number fell, so on average its fall is overstated; lost tracking "
    "costs no money."
)


@dataclass(frozen=True)
class Answer:
    """What `compare_before_after` found.

    paid: the row of `BeforeAfter.money` · course: change of the effect a week, standard error, df.
    """

    metric: str
    panel: Panel
    ladder: Ladder
    paid: pd.Series
    money: Money
    course: tuple[float, float, float] | None
    n_left_out: int
    n_pending: int


def effect(x: float, kind: str, *, signed: bool = True) -> str:
    """An effect in its unit: "+1.2 percentage points", "+12.3 a day"."""
    sign = "+" if signed else ""
    if kind == "rate":
        return f"{100 * x:{sign}.1f} percentage points"
    return f"{x:{sign},.3g}{' a day' if kind == 'count' else ''}"


def effect_ci(x: float, low: float, high: float, kind: str) -> str:
    """An effect with its interval: "+1.2 percentage points (95 % interval -0.3 to +2.7)"."""
    return f"{effect(x, kind)} (95 % interval {_number(low, kind)} to {_number(high, kind)})"


def _number(x: float, kind: str) -> str:
    return effect(x, kind).split(" ")[0]


def finding(answer: Answer) -> str:
    """What the change did, by which comparison, and whether it paid."""
    panel, ladder, best = answer.panel, answer.ladder, answer.ladder.best
    treated = "" if panel.treated == ["all"] else f" for {phrases.listed(panel.treated)}"
    change, what = f"the change of {panel.change:%Y-%m-%d}", f"{answer.metric}{treated}"
    naive = effect(ladder.rung(NAIVE).effect, panel.kind)
    if best is None:
        weak = _most_telling(ladder)
        return (
            f"{ladder.verdict.capitalize()}: whether {change} moved {what} cannot be said from "
            f"these data. {weak.name.capitalize()}: {weak.reason}. The plain before/after "
            f"difference of {naive} is no evidence."
        )
    told, by = effect_ci(best.effect, best.low, best.high, panel.kind), _comparison(best, panel)
    if best.low > 0 or best.high < 0:
        share = ""
        if best.base > 0:
            share = f"{100 * best.effect / best.base:+.0f} % of what it would have been, "
        text = f"T{change[1:]} moved {what} by {told}, {share}by {by}"
    else:
        text = f"No effect of {change} on {what} is shown: {told}, by {by}"
    text = f"{text}; plain before/after says {naive}."
    for rung in ladder.rungs[ladder.rungs.index(best) + 1 :]:
        if rung.name != ARMS and rung.reason != NO_CONTROL:
            text += f" Not used was {rung.name}: {rung.reason}."
    if np.isfinite(answer.paid["value_amount"]):
        text += f" {_earned(answer)}"
    return text


def _most_telling(ladder: Ladder) -> Rung:
    """Of a ladder that supports nothing: the rung whose reason says most."""
    high_to_low = ladder.rungs[::-1]
    contradicted = [rung for rung in high_to_low if rung.carries == "inconclusive"]
    computed = [
        rung
        for rung in high_to_low
        if rung.name in (DID, STRUCTURAL, ITS) and np.isfinite(rung.effect)
    ]
    return [*contradicted, *computed, ladder.rung(ITS)][0]


def _comparison(rung: Rung, panel: Panel) -> str:
    """With what a rung compares."""
    if panel.control and rung.name != ITS:
        return f"{rung.name} against {phrases.listed(panel.control)}"
    return f"{rung.name} against its own {'trend' if rung.name == ITS else 'level'} before"


def _earned(answer: Answer) -> str:
    """What the effect brought, and whether the change paid back."""
    paid, money, kind = answer.paid, answer.money, answer.panel.kind
    unit = "" if kind == "mean" else f" {MANY[kind]}"
    kept = f", {100 * money.margin:g} % of it kept," if money.margin < 1 else ""
    cost, cost_sd = money.spent
    sd = f" (standard deviation {cost_sd:,.10g})" if cost_sd else ""
    text = (
        f"In the weeks seen that is {paid['incremental']:+,.0f}{unit} and, at "
        f"{money.value:,.10g} a {EACH[kind]}{kept} and a cost of {cost:,.10g}{sd}, "
    )
    if not cost > 0:
        low, high = paid["value_amount_ci_lower"], paid["value_amount_ci_upper"]
        value = f"{paid['value_amount']:,.0f} (95 % interval {low:,.0f} to {high:,.0f})"
        return f"{text}a value of {value}; without a cost no return on it is defined."
    low, high = 100 * paid["roi_ci_lower"], 100 * paid["roi_ci_upper"]
    interval = "interval not estimable"
    if np.isfinite(low):
        interval = f"95 % interval {low:.0f} to {high:.0f}"
    when = _paid_back(paid)
    return f"{text}a return on investment of {100 * paid['roi']:.0f} % ({interval}), {when}."


def _paid_back(paid: pd.Series) -> str:
    if not np.isfinite(paid["payback_days"]):
        return "not paid back within the data"
    day = f"day {paid['payback_days']:.0f}"
    if paid["value_amount"] < paid["cost_amount"]:
        return f"it covered its cost by {day} but lost it again"
    return f"paid back on {day}"


def caveats(answer: Answer) -> tuple[str, ...]:
    """What a reader has to know before acting on it."""
    panel, ladder, paid = answer.panel, answer.ladder, answer.paid
    would_have_been = ladder.shown.path["counterfactual"].dropna()
    beyond = panel.kind == "rate" and not would_have_been.between(0, 1).all()
    costs_nothing = paid["cost_amount"] == 0 and np.isfinite(paid["value_amount"])
    return (
        *_checks(ladder.checks, panel.kind),
        *_course(answer),
        *_agreement(ladder, panel.kind),
        *_of_the_data(answer),
        *_placebos(ladder.judged),
        *phrases.that_hold(
            [(beyond, BEYOND_A_SHARE), (not panel.control, ALONE), (costs_nothing, FREE)]
        ),
    )


def _of_the_data(answer: Answer) -> Iterator[str]:
    """What it would take to break even, what is left out, how much weeks vary."""
    panel, paid = answer.panel, answer.paid
    if np.isfinite(paid["break_even_effect"]):
        yield _break_even(paid, panel.kind)
    if answer.n_left_out:
        do, are = ("does", "is") if answer.n_left_out == 1 else ("do", "are")
        yield (
            f"{count(answer.n_left_out, 'day')} at the ends that {do} not fill a week counted from "
            f"the change {are} left out."
        )
    if answer.n_pending:
        yield (
            f"{answer.n_pending:,} of the newest users or events are left out: their outcome is "
            "not known yet."
        )
    p, sigma2 = panel.weeks["observed"].mean(), answer.ladder.rung(ITS).sigma2
    if panel.kind == "rate" and np.isfinite(sigma2) and 0 < p < 1:
        yield (
            f"Weekly rates vary {sigma2 / (p * (1 - p)):.1f} times as much as binomial chance "
            "(variance, around the trend); only the before/after interval ignores it."
        )


def _checks(checks: Checks | None, kind: str) -> Iterator[str]:
    """What was found out beside a difference-in-differences."""
    if checks is None:
        return
    if checks.by_segment:
        yield checks.by_segment
    yield (
        f"Parallel trends before the change: p = {checks.drift_pvalue:.2f} (joint test of a linear "
        "and a quadratic drift); a drift adding up to less than "
        f"{effect(checks.unnoticed, kind, signed=False)} would probably go unnoticed."
    )
    moved = checks.controls
    if moved is not None and np.isfinite(moved.pvalue):
        low, high = stats.t_interval(moved.effect, moved.se, moved.df)
        yield (
            "Against their own trend the controls moved by "
            f"{effect_ci(moved.effect, float(low), float(high), kind)}; if the change reached "
            "them, the effect is understated."
        )
    if checks.seldom:
        yield (
            f"Not taken as if treated: {phrases.listed(checks.seldom, most=5)}; with users in "
            f"fewer than {MIN_PRE} weeks before or {MIN_POST} after they say nothing."
        )


def _course(answer: Answer) -> Iterator[str]:
    """How the effect moved over the weeks after."""
    rung = answer.ladder.best
    if rung is None or answer.course is None:
        return
    slope, se, df = answer.course
    low, high = (float(end) for end in stats.t_interval(slope, se, df))
    a_week = f"by {effect_ci(slope, low, high, answer.panel.kind)} a week"
    told = f"{a_week} over the {len(rung.cov)} weeks after"
    if low <= 0 <= high:
        yield f"The effect changed {told}: neither fading nor growth is shown."
    elif slope * rung.effect < 0:
        yield f"The effect faded {told}: what it brings later is less than its mean."
    else:
        yield f"The effect grew {told}: what it brings later is more than its mean."


def _agreement(ladder: Ladder, kind: str) -> Iterator[str]:
    """The span of the supported comparisons, where there are several."""
    effects = sorted(rung.effect for rung in ladder.rungs if rung.carries == "yes")
    if len(effects) > 1:
        span = f"{_number(effects[0], kind)} to {effect(effects[-1], kind)}"
        yield f"The {len(effects)} supported comparisons say {span}; the last of them is used."


def _break_even(paid: pd.Series, kind: str) -> str:
    """What would have to be true for the value to equal the cost."""
    text = f"To break even the effect would have to be {effect(paid['break_even_effect'], kind)}"
    if not paid["break_even_value_amount"] > 0:
        return f"{text}."
    worth = f"a {EACH[kind]} worth {paid['break_even_value_amount']:,.2f}"
    lasting = f"the effect lasting {count(paid['break_even_days'], 'day')}"
    return f"{text}; or, at the effect seen, {worth}; or {lasting}."


def _placebos(rung: Rung | None) -> Iterator[str]:
    """How well the false alarms of the rung that the verdict rests on could be checked."""
    if rung is None:
        return
    dates, wanted = count(rung.n_placebo, "placebo date"), f"({N_PLACEBO} are wanted)"
    if not rung.n_placebo:
        yield f"No placebo date fits before the change {wanted} for {rung.name}: {UNCHECKED}."
    elif rung.n_placebo < N_PLACEBO:
        fit = f"fit{'s' if rung.n_placebo == 1 else ''} before the change {wanted}"
        yield f"Only {dates} {fit}: the false-alarm check is weak."
    if rung.n_alarms > max(1, MOST_ALARMS * rung.n_placebo):
        yield (
            f"By {rung.name}, {rung.n_alarms} of {dates} look like effects although nothing "
            "changed: on this series it sees effects too easily."
        )


def refusal(tracked: pd.DataFrame, coincidences: pd.DataFrame) -> str:
    """Why no verdict may be given: the tracking changed; "" where it did not."""
    unlike = "so the two sides are not measured alike"
    for entry in coincidences[coincidences["refuses"]].to_dict("records")[::-1]:
        what = entry["label"] or entry["note"]
        return f"the tracking itself changed on {entry['day']:%Y-%m-%d} ({what}), {unlike}"
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


def speed_finding(stages: pd.DataFrame, kind: str, metric: str) -> str:
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
    money = f", {day:,.0f} a day ({low:,.0f} to {high:,.0f})" if day == day else ""
    low, high = row["missed_ci_lower"], row["missed_ci_upper"]
    lost = f"{row['missed']:,.0f} {MANY[kind]} (95 % interval {low:,.0f} to {high:,.0f}){money}"
    event = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", row["alert_id"])
    lasted = f"the {count(row['lasted_days'], 'day')} {row['stage']}"
    when = f"{lasted}, from {row['from_day']:%Y-%m-%d}"
    if clear.empty:
        return (
            "That an earlier answer would have saved anything is not shown: the fall of "
            f"{event} lost {lost} in {when}."
        )
    return (
        f"The fall of {event} cost {lost} in {when}; one day sooner would have saved at most a "
        "day of that."
    )


def speed_caveats(stages: pd.DataFrame, short: Sequence[str]) -> tuple[str, ...]:
    """What `value_of_speed` cannot know; ``short``: alerts with few weeks before."""
    few = f"Descriptive only, with fewer than {MIN_PRE} weeks before the fall"
    return phrases.that_hold(
        [(len(stages), OVERSTATED), (short, f"{few}: {phrases.listed(short)}.")]
    )
