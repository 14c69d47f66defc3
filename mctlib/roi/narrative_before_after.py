"""What `compare_before_after` found, in sentences. Numbers come in, words go out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.eventlog.daily_metric import DailyMetric
from mctlib.phrases import amount, count
from mctlib.roi.course import Course
from mctlib.roi.difference import FAR, Moves
from mctlib.roi.experiment import Arms
from mctlib.roi.ladder import N_PLACEBO, UNCHECKED, Ladder
from mctlib.roi.money import Money
from mctlib.roi.narrative import MANY, effect, effect_ci, number, silence
from mctlib.roi.power import outlook
from mctlib.roi.rung import (
    ARMS,
    DID,
    INCONCLUSIVE,
    ITS,
    NAIVE,
    NO_ARMS,
    NO_CONTROL,
    SHOWN,
    SYNTHETIC,
    Rung,
)
from mctlib.roi.segments import WELCH
from mctlib.roi.weeks import HOLIDAYS, MIN_POST, MIN_PRE, SEASON, Panel

MOST_ALARMS = 0.1  # share of placebo dates with p < 0.05 above which a reader is warned
MOST_NAMES = 4
EACH = {"rate": "success", "count": "user-day", "mean": "unit"}

BEYOND_A_SHARE = (
    "What would have been runs below 0 or above 1 in some weeks: there a straight line does not "
    "describe this share, and .path is cut off at 0 and 1."
)
ALONE = "No control group is used: anything else that happened at the change is part of the effect."
NO_SEASON = (
    "With less than two years before the change a yearly season cannot be told from an effect."
)
HOLIDAYS_AFTER = (
    "Holidays fall in the weeks after the change and in none before: what they do is part of the "
    "effect."
)
ALIKE = (
    "Of {few} segments nobody can say how far they vary by themselves: the interval takes both "
    "sides to vary alike."
)
FREE = "The cost is 0: a return on investment is not defined, and there is nothing to pay back."


@dataclass(frozen=True)
class Answer:
    """What `compare_before_after` found.

    paid: the row of `BeforeAfter.money` · money: nothing where no effect is shown · moved:
    covariates that the change itself moved · wish: percentage points of a rate · called: what the
    timeline calls the change, "" where it does not.
    """

    series: DailyMetric
    panel: Panel
    ladder: Ladder
    paid: pd.Series
    money: Money
    course: Course | None
    moved: Sequence[str]
    n_left_out: int
    arms: Arms | None
    wish: float
    called: str = ""

    def outlook(self, rung: Rung) -> dict[str, float]:
        """What the weeks of a rung detect, and how many more the wish takes."""
        if rung.name == ARMS and rung.se > 0 and self.arms:
            columns = ["detectable_effect", "more_weeks"]
            return dict(self.arms.surest[columns])
        return outlook(rung, self.wished)

    @property
    def wished(self) -> float:
        """The wish in the metric's unit."""
        return self.wish / 100 if self.panel.kind == "rate" else self.wish


def finding(answer: Answer) -> str:
    """What the change did, and whether it paid."""
    panel, ladder, best = answer.panel, answer.ladder, answer.ladder.best
    whole = panel.treated == ["all"] or (best and best.name == ARMS)
    treated = "" if whole else f" for {_names(panel.treated, 'segments')}"
    change, what = f"the change of {panel.change:%Y-%m-%d}", f"{answer.series.title}{treated}"
    naive = effect(ladder.rung(NAIVE).effect, panel.kind)
    unclear = f"whether {change} moved {what} cannot be said from these data"
    no_evidence = f"The plain before/after difference of {naive} is no evidence."
    if best is None:
        return f"Not supported: {unclear}. {reason(ladder)}. {no_evidence}"
    if ladder.effect == INCONCLUSIVE:
        return f"Inconclusive: {unclear}. {_doubt(answer)}. {no_evidence}"
    told = effect_ci(best.effect, best.low, best.high, panel.kind)
    if ladder.effect != SHOWN:
        return f"No effect of {change} on {what} is shown: {told}."
    return f"T{change[1:]} moved {what} by {told}{_returned(answer)}."


def reason(ladder: Ladder) -> str:
    """Which comparison is supported, or why the most telling one is not."""
    best = ladder.best or _most_telling(ladder)
    return f"{best.name.capitalize()}: {best.reason}"


def _doubt(answer: Answer) -> str:
    """Why a supported comparison does not decide."""
    ladder, kind = answer.ladder, answer.panel.kind
    said = [
        f"{rung.name} says {effect_ci(rung.effect, rung.low, rung.high, kind)}"
        for rung in (ladder.best, ladder.against)
        if rung is not None
    ]
    text = " and ".join(said)
    text = text[:1].upper() + text[1:]
    if ladder.against is not None:
        return f"{text}: two comparisons that contradict each other"
    return f"{text}, but {ladder.best.doubt if ladder.best else ''}"


def _most_telling(ladder: Ladder) -> Rung:
    """Of a ladder that supports nothing: the rung whose reason says most."""
    computed = [ladder.rung(name) for name in (DID, ITS)]
    return next((r for r in computed if np.isfinite(r.effect)), ladder.rung(ITS))


def _comparison(rung: Rung, answer: Answer) -> str:
    """With what a rung compares."""
    panel = answer.panel
    if rung.name == ARMS and answer.arms:
        row = answer.arms.surest
        return f"{rung.name}, {row['segment']} against {row['reference']}"
    if rung.name == ITS:
        return f"{rung.name} against its own trend before"
    return f"{rung.name} against {_names(panel.control, 'other segments')}"


def _names(segments: Sequence[str], what: str) -> str:
    """Segments by name, or where that were a list, their number."""
    if len(segments) > MOST_NAMES:
        return f"{len(segments)} {what}"
    return phrases.listed(segments)


def _returned(answer: Answer) -> str:
    """Whether the change paid back; "" where that is not known."""
    paid, currency = answer.paid, answer.money.currency
    if not np.isfinite(paid["value_amount"]):
        return ""
    if not answer.money.spent[0] > 0:
        low, high = paid["value_amount_ci_lower"], paid["value_amount_ci_upper"]
        value = amount(paid["value_amount"], currency, low, high)
        return f": a value of {value}, without a cost to hold it against"
    low, high = 100 * paid["roi_ci_lower"], 100 * paid["roi_ci_upper"]
    interval = "interval not estimable"
    if np.isfinite(low):
        interval = f"95 % interval {low:.0f} to {high:.0f}"
    return f": a return on investment of {100 * paid['roi']:.0f} % ({interval}), {_paid_back(paid)}"


def _earned(answer: Answer) -> str:
    """What the effect brought, and the prices that its return rests on."""
    paid, money, kind = answer.paid, answer.money, answer.panel.kind
    unit = "" if kind == "mean" else f" {MANY[kind]}"
    kept = f", {100 * money.margin:g} % of it kept," if money.margin < 1 else ""
    cost, cost_sd = (amount(x, money.currency) for x in money.spent)
    sd = f" (standard deviation {cost_sd})" if money.spent[1] else ""
    whose = "For the users of the arm" if paid["rung"] == ARMS else "In the weeks seen"
    return (
        f"{whose} that is {paid['incremental']:+,.0f}{unit}, at "
        f"{amount(money.value or 0, money.currency, per=EACH[kind])}{kept} and a cost of "
        f"{cost}{sd}."
    )


def _paid_back(paid: pd.Series) -> str:
    if not np.isfinite(paid["payback_days"]):
        return "not paid back within the data"
    day = f"day {paid['payback_days']:.0f}"
    if paid["value_amount"] < paid["cost_amount"]:
        return f"it covered its cost by {day} but lost it again"
    return f"paid back on {day}"


def details(answer: Answer) -> tuple[str, ...]:
    """By which comparison, what it brought, its course, which stronger ones could not be used."""
    ladder, best, kind = answer.ladder, answer.ladder.best, answer.panel.kind
    if best is None:
        return ()
    told = []
    if ladder.effect != INCONCLUSIVE:
        naive, share = effect(ladder.rung(NAIVE).effect, kind), ""
        if best.base > 0:
            share = f", {100 * best.effect / best.base:+.0f} % of what it would have been"
        told.append(f"By {_comparison(best, answer)}{share}; plain before/after says {naive}.")
    if np.isfinite(answer.paid["value_amount"]):
        told.append(_earned(answer))
    if answer.course:
        told.append(_course(answer.course, answer.panel))
    stronger = ladder.rungs[ladder.rungs.index(best) + 1 :]
    unused = [r for r in stronger if r.reason not in (NO_ARMS, NO_CONTROL)]
    return (*told, *(f"Not used was {rung.name}: {rung.reason}." for rung in unused))


def _course(course: Course, panel: Panel) -> str:
    """How the effect moved over the weeks after."""
    n_weeks = f"over the {count((panel.weeks.index >= 0).sum(), 'week')} after"
    by = f"{effect_ci(course.slope, course.low, course.high, panel.kind)} a week"
    if course.word == "held":
        return f"The effect held {n_weeks}: neither growth nor fading is shown; it moved by {by}."
    if course.word == "came late":
        nothing = f"in the first {count(course.n_late, 'week')} hardly any of it is seen"
        return f"The effect came late: {nothing}, so what it brings later is more than its mean."
    less = "less" if course.word == "faded" else "more"
    told = f"what it brings later is {less} than its mean"
    return f"The effect {course.word} {n_weeks}, by {by}: {told}."


def caveats(answer: Answer) -> tuple[str, ...]:
    """What a reader has to know before acting on it."""
    panel, ladder, paid = answer.panel, answer.ladder, answer.paid
    would_have_been = ladder.drawn.path["counterfactual"].dropna()
    beyond = panel.kind == "rate" and not would_have_been.between(0, 1).all()
    alone = ladder.best is not None and ladder.best.name == ITS
    costs_nothing = paid["cost_amount"] == 0 and np.isfinite(paid["value_amount"])
    return (
        *_segments(ladder, panel.kind),
        *_agreement(ladder, panel.kind),
        *_of_the_power(answer),
        *_of_the_series(answer),
        *_of_the_data(answer),
        *phrases.that_hold([(beyond, BEYOND_A_SHARE), (alone, ALONE), (costs_nothing, FREE)]),
    )


def _of_the_power(answer: Answer) -> Iterator[str]:
    """Which effect the comparison that speaks could show, and how long a smaller one takes."""
    ladder, kind = answer.ladder, answer.panel.kind
    rung = ladder.best or _most_telling(ladder)
    found = answer.outlook(rung)
    if not np.isfinite(found["detectable_effect"]):
        return
    these = "so many users"
    if rung.name != ARMS:
        these = f"the {count((rung.weeks.index >= 0).sum(), 'week')} after the change"
    yield (
        f"With a power of about 80 % {these} show an effect of "
        f"{effect(found['detectable_effect'], kind, signed=False)}, by {rung.name}"
        f"{_wished(found['more_weeks'], effect(answer.wished, kind, signed=False))}."
    )


def _wished(more: float, wish: str) -> str:
    """How long a wished effect takes; "" where none is wished."""
    if np.isnan(more):
        return ""
    if np.isinf(more):
        return (
            f"; two more years of weeks would not show {wish}, as wished: it takes more weeks "
            "before, more segments or more users"
        )
    if not more:
        return f"; {wish}, as wished, is no less"
    return f"; {wish}, as wished, takes {count(more, 'more week')}"


def _of_the_series(answer: Answer) -> Iterator[str]:
    """What an interrupted series that speaks cannot know."""
    panel, rung = answer.panel, answer.ladder.best
    if rung is None or rung.name != ITS:
        return
    if SEASON not in panel.allowed_for:
        yield NO_SEASON
    if HOLIDAYS in panel.beside and HOLIDAYS not in panel.allowed_for:
        yield HOLIDAYS_AFTER
    if answer.moved:
        titles = phrases.listed(answer.moved)
        yield f"Not used as a covariate: {titles}, which moved at the change as well."
    dates, wanted = count(rung.n_placebo, "placebo date"), f"({N_PLACEBO} are wanted)"
    if not rung.n_placebo:
        yield f"No placebo date fits before the change {wanted}: {UNCHECKED}."
    elif rung.n_placebo < N_PLACEBO:
        fit = f"fit{'s' if rung.n_placebo == 1 else ''} before the change {wanted}"
        yield f"Only {dates} {fit}: the false-alarm check is weak."
    if rung.n_alarms > max(1, MOST_ALARMS * rung.n_placebo):
        yield (
            f"{rung.n_alarms} of {dates} look like effects although nothing changed: on this "
            "series effects are seen too easily."
        )


def _of_the_data(answer: Answer) -> Iterator[str]:
    """What it would take to break even, what is left out, how much weeks vary."""
    panel, paid = answer.panel, answer.paid
    if np.isfinite(paid["break_even_effect"]):
        yield _break_even(paid, panel.kind, answer.money.currency)
    if answer.n_left_out:
        do, are = ("does", "is") if answer.n_left_out == 1 else ("do", "are")
        yield (
            f"{count(answer.n_left_out, 'day')} at the ends that {do} not fill a week counted from "
            f"the change {are} left out."
        )
    if answer.series.silent:
        yield silence(answer.series.silent)
    if answer.series.n_pending:
        yield (
            f"{answer.series.n_pending:,} of the newest users or events are left out: their "
            "outcome is not known yet."
        )
    p, sigma2 = panel.weeks["observed"].mean(), answer.ladder.rung(ITS).sigma2
    if panel.kind == "rate" and np.isfinite(sigma2) and 0 < p < 1:
        yield (
            f"Weekly rates vary {sigma2 / (p * (1 - p)):.1f} times as much as binomial chance "
            "(variance, around the trend); only the before/after interval ignores it."
        )


def _segments(ladder: Ladder, kind: str) -> Iterator[str]:
    """What was found out beside a difference-in-differences."""
    moves, did = ladder.moves, ladder.rung(DID)
    if moves is None:
        return
    if did.supported:
        yield from _error_by_segment(did, moves, kind)
    if np.isfinite(moves.drift_pvalue):
        yield (
            f"Parallel trends before the change: p = {moves.drift_pvalue:.2f} (joint test of a "
            "linear and a quadratic drift); a drift adding up to less than "
            f"{effect(moves.unnoticed, kind, signed=False)} would probably go unnoticed."
        )
    moved, used = moves.controls, bool(ladder.best and ladder.best.name in (SYNTHETIC, DID))
    if used and moved is not None and np.isfinite(moved.pvalue):
        low, high = stats.t_interval(moved.effect, moved.se, moved.df)
        yield (
            "Against their own trend the controls moved by "
            f"{effect_ci(moved.effect, float(low), float(high), kind)}; if the change reached "
            "them, the effect is understated."
        )
    if moves.left_out:
        yield (
            f"Not compared: {phrases.listed(moves.left_out, most=4)}; with users in fewer than "
            f"{MIN_PRE} weeks before or {MIN_POST} after they say nothing."
        )


def _error_by_segment(did: Rung, moves: Moves, kind: str) -> Iterator[str]:
    """Whose own moves the interval rests on."""
    if not moves.one:
        sides = f"{moves.n_treated} treated, {moves.n_control} not"
        few = min(moves.n_treated, moves.n_control)
        how = f"{'pooled t' if few < WELCH else 'Welch'}, {moves.df:.0f} degrees of freedom"
        yield f"The interval is that of the segments' own changes: {sides} ({how})."
        if few < WELCH:
            yield ALIKE.format(few=few)
        return
    bar = f"an effect must be {FAR} times as far"
    if np.isfinite(did.placebo_pvalue):
        place = round(did.placebo_pvalue * (1 + moves.n_control))
        bar = f"by rank p = {did.placebo_pvalue:.3f}, place {place} of {1 + moves.n_control}"
    yield (
        "Only one segment got the change: a shock of its own at that time cannot be told from the "
        f"effect. Of {moves.n_control} controls {moves.farthest} moved most against the others, "
        f"by {effect(moves.by, kind, signed=False)}; {bar}."
    )


def _agreement(ladder: Ladder, kind: str) -> Iterator[str]:
    """The span of the supported comparisons, where there are several."""
    effects = sorted(rung.effect for rung in ladder.rungs if rung.supported)
    if len(effects) > 1:
        span = f"{number(effects[0], kind)} to {effect(effects[-1], kind)}"
        yield f"The {len(effects)} supported comparisons say {span}; the last of them is used."


def _break_even(paid: pd.Series, kind: str, currency: str) -> str:
    """What would have to be true for the value to equal the cost."""
    text = f"To break even the effect would have to be {effect(paid['break_even_effect'], kind)}"
    if not paid["break_even_value_amount"] > 0:
        return f"{text}."
    worth = f"a {EACH[kind]} worth {amount(paid['break_even_value_amount'], currency)}"
    lasting = f"the effect lasting {count(paid['break_even_days'], 'day')}"
    return f"{text}; or, at the effect seen, {worth}; or {lasting}."
