"""What a change did to a metric, against what would have happened anyway; and did it pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pandas as pd

from mctlib.cells import View
from mctlib.contract import ParameterError, as_timestamp, nearest
from mctlib.eventlog.daily_metric import DailyMetric
from mctlib.phrases import told_together
from mctlib.results import MIN_USERS, Result
from mctlib.roi import context
from mctlib.roi import narrative_before_after as words
from mctlib.roi.course import course
from mctlib.roi.experiment import Arms
from mctlib.roi.ladder import climb
from mctlib.roi.money import Money, exposed_by_day, exposed_in_arm, gain_by_day, payback
from mctlib.roi.narrative import refusal, surroundings
from mctlib.roi.narrative_first import read_first
from mctlib.roi.rung import ARMS, INCONCLUSIVE, SHOWN, SUPPORTED, Rung
from mctlib.roi.weeks import Panel, checked, weekly


@dataclass(frozen=True, kw_only=True, repr=False)
class BeforeAfter(Result):
    """Answer of `compare_before_after`; effects in units of the metric (0.17 is 17 points).

    ``comparison`` (supported, not supported) and ``reason``: whether the data carry a comparison,
    and which, or why not. ``effect`` (shown, not shown, inconclusive): what the strongest supported
    one says; inconclusive too where none is, or where a weaker one shows the opposite. ``course``
    of an effect that is shown: held, grew, faded or came late; "" otherwise. ``metric``: in words;
    ``kind``: rate, count or mean.

    ======================= ========================================================================
    ``rungs``               one row a comparison, the weakest first
    rung                    see `roi.ladder`, where each rule stands
    effect ±                mean over the weeks after, weighted with n; not the jump at the change
    rel_effect              effect / what would have been, NaN where that is not above 0
    pvalue                  of the effect
    placebo_pvalue          chance that with no change so few placebo dates look as extreme; of one
                            treated segment with 19 controls, its rank among them
    detectable_effect       what these weeks show with a power of 80 %; NaN where it is not known
    more_weeks              until the wished effect is shown so; infinite: not in two years
    supported, reason       whether the data carry it; why or why not, and why it is inconclusive
    verdict                 shown, not shown, inconclusive; "" where it is not supported
    ``path``                weeks of the strongest supported rung, or the highest computed; day: the
                            first of the week
    counterfactual ±        a band for 95 % of the weeks had nothing changed; a rate's is cut off
    gap ±                   observed minus that; its weeks after have the effect as mean
    gain_amount ±           value brought by the end of the week
    ``placebos``            gaps where nothing changed: of controls against the others, else earlier
    ``donors``              segments, the treated first, with their weight_share in the synthetic
                            control and effect_without (the effect with the segment left out)
    rms_before, gap_ratio   root mean square of the gap before (counts: at the treated level), and
                            mean gap after / that, the segment as if treated
    ``money``               one row, of the strongest supported rung; currency: see `Money`
    n, incremental ±        users exposed in the weeks after (of a count: days); effect x n
    value_amount ±          what of it is kept; NaN, as all below, without a value or a cost, or
                            where no effect is shown
    cost_amount, roi ±      (value - cost) / cost, Fieller's interval; NaN: not estimable, or cost 0
    payback_days ±          first day on which the gain covers the cost, which later loss may undo;
                            1: the day of the change; infinite, an upper end: never in these weeks
    p_positive              that value exceeds cost (normal approximation)
    break_even_effect, ...  at the users and value seen; of a success (_value_amount), at the effect
                            seen; how long that would have to last (_days)
    ======================= ========================================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %).
    """

    rungs: pd.DataFrame
    path: pd.DataFrame
    placebos: pd.DataFrame
    donors: pd.DataFrame
    money: pd.DataFrame
    comparison: str
    reason: str
    effect: str
    course: str
    metric: str
    kind: str

    views: ClassVar[Mapping[str, View]] = {
        "rungs": View("rungs", ("rung", "effect ±", "rel_effect", "pvalue", "supported", "verdict"))
    }
    main: ClassVar[str] = "rungs"

    @property
    def verdict(self) -> str:
        """Both answers in one: supported, inconclusive, not supported."""
        inconclusive = self.comparison == SUPPORTED and self.effect == INCONCLUSIVE
        return INCONCLUSIVE if inconclusive else self.comparison


def compare_before_after(
    series: DailyMetric | pd.DataFrame,
    *,
    change_at: Any,
    treated: str | Sequence[str] | None = None,
    control: str | Sequence[str] | None = None,
    money: Money | None = None,
    value: float | None = None,
    cost: float | Sequence[float] | None = None,
    timeline: pd.DataFrame | None = None,
    covariates: Iterable[DailyMetric | pd.DataFrame] = (),
    arms: Arms | None = None,
    wish: float = 0.0,
    seed: int = 1,
) -> BeforeAfter:
    """Estimate what a change did to a daily metric, up a ladder of ever stronger comparisons.

    The effect is observed minus counterfactual, averaged over the whole weeks after the change. The
    strongest comparison that the data carry speaks.

    Parameters
    ----------
    series : DailyMetric or DataFrame
        From `daily_metric`, or its table, saved and read again: day, n, value, segment, n_success.
    change_at, seed : str or Timestamp, int
        First UTC day of the change, from which weeks are counted; of placebo draws.
    treated, control : str or list of str, optional
        Segments that got the change / did not; all that are not the other. ``control=()``: none.
    money : Money, optional
        What a success brings and what the change cost, told only where both are known and an
        effect is shown; ``value`` and ``cost`` say the same in short.
    timeline, covariates : DataFrame, list of DailyMetric or DataFrame
        day, kind, label; note, micro_conversions. A release or outage that touches the metric and
        says "tracking" refuses every verdict, as does a tracked share that moved with the change.
        Days of kind holiday explain weeks, and so do metrics that the change cannot touch.
    arms, wish : Arms, float, optional
        Of `compare_arms`, for the same metric; an effect wished for, of a rate percentage points.

    Returns
    -------
    BeforeAfter
        ``comparison``, ``effect``, ``finding``; ``rungs``, ``path``, ``placebos``, ``money``.

    Raises
    ------
    DataError, ParameterError
        A count's day without a row, an impossible value; a change outside the data.

    Notes
    -----
    Interrupted time series by REML AR(1), synthetic control (Abadie et al. 2010), differences in
    differences of segments' means: `roi.ladder`. Each needs 12 weeks before, 6 after.

    Examples
    --------
    >>> from mctlib import Count, compare_before_after, daily_metric
    >>> series = daily_metric(log, Count("signed_up"), as_of="2026-01-28")
    >>> compare_before_after(series, change_at="2026-01-15").comparison
    'not supported'
    """
    series = DailyMetric.of(series)
    daily, kind = checked(series), series.kind
    money = _known(money, value, cost)
    sides = _sides(sorted(daily["segment"].unique()), treated, control)
    panel, n_left_out = _panel(daily, kind, change_at, sides, seed)
    entries = context.entries_of(timeline)
    near = context.coincidences(entries, panel, series.events)
    tracked = context.tracked(daily, panel)
    beside, moved = context.beside(entries, panel, covariates)
    panel = replace(panel, refused=refusal(tracked, near), beside=beside)
    ladder = climb(panel, _top(arms, kind))
    best, shown = ladder.best, ladder.best if ladder.effect == SHOWN else None
    exposed = exposed_by_day(daily, panel)
    if arms and best and best.name == ARMS:
        exposed = exposed_in_arm(arms.days, arms.surest["segment"], exposed.index)
    money = money if shown else Money(currency=money.currency)
    gain = gain_by_day(shown, exposed, money.each)
    paid = payback(best, exposed, gain, money)
    moves = course(shown) if shown and shown.name != ARMS else None
    answer = words.Answer(
        series, panel, ladder, paid.iloc[0], money, moves, moved, n_left_out, arms, wish
    )
    answer = replace(answer, called=context.name_of_change(entries, panel.change))
    return BeforeAfter(
        rungs=pd.DataFrame([rung.row() | answer.outlook(rung) for rung in ladder.rungs]),
        path=_path(ladder.drawn, gain, kind),
        placebos=ladder.drawn.placebos,
        donors=ladder.donors,
        money=paid,
        comparison=SUPPORTED if best else "not supported",
        reason=words.reason(ladder),
        effect=ladder.effect,
        course=answer.course.word if answer.course else "",
        metric=series.title,
        kind=kind,
        **read_first(answer),
        details=(words.finding(answer), *words.details(answer)),
        caveats=(
            *series.caveats,
            *words.caveats(answer),
            *told_together(series.joined, MIN_USERS),
            *surroundings(tracked, near),
        ),
    )


def _known(money: Money | None, value: float | None, cost: Any) -> Money:
    """Money, or its short form; nothing where only one of value and cost is known."""
    short = value is not None or cost is not None
    if money is not None and short:
        raise ParameterError("money: give either Money(...) or value and cost, not both.")
    money = Money(value, cost) if money is None else money
    known = money.value is not None and money.cost is not None
    return money if known else Money(currency=money.currency)


def _top(arms: Arms | None, kind: str) -> Rung | None:
    """The rung of randomised arms; it speaks of a metric of its own kind alone."""
    rung = arms.rung if arms else None
    if rung is None or arms is None or arms.kind == kind:
        return rung
    return Rung(ARMS, f"the arms are compared by a {arms.kind} of users, the metric is a {kind}")


def _panel(
    daily: pd.DataFrame, kind: str, change_at: Any, sides: tuple[list[str], list[str]], seed: int
) -> tuple[Panel, int]:
    """What the rungs read, and the days at the ends that fill no week."""
    change = as_timestamp(change_at, "change_at").tz_localize(None).normalize()
    units, n_left_out = weekly(daily, change, kind)
    panel = Panel(kind, change, *sides, units, seed=seed)
    _check_change(panel, daily["day"])
    return panel, n_left_out


def _check_change(panel: Panel, day: pd.Series) -> None:
    """There must be a whole week before and after it."""
    after = panel.weeks.index >= 0
    if after.all() or not after.any():
        raise ParameterError(
            f"change_at: {panel.change:%Y-%m-%d} leaves no whole week before or after it; the data "
            f"run from {day.min():%Y-%m-%d} to {day.max():%Y-%m-%d}."
        )


def _sides(
    known: list[str], treated: str | Sequence[str] | None, control: str | Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Treated and control segments, checked."""
    named = {"treated": _names(treated), "control": _names(control)}
    for name, side in named.items():
        for word in side:
            if word not in known:
                raise ParameterError(
                    f'{name}: "{word}" is not a segment of the series ({", ".join(known)}).'
                    f"{nearest(word, known)}"
                )
    if treated is None:
        named["treated"] = [s for s in known if s not in named["control"]]
    elif control is None:
        named["control"] = [s for s in known if s not in named["treated"]]
    if not named["treated"] or set(named["treated"]) & set(named["control"]):
        raise ParameterError(
            "treated, control: at least one segment must be treated, and none both."
        )
    return named["treated"], named["control"]


def _names(side: str | Sequence[str] | None) -> list[str]:
    """Segments as text, each once."""
    if side is None:
        return []
    names = [side] if pd.api.types.is_scalar(side) else side
    return list(dict.fromkeys(map(str, names)))


def _path(rung: Rung, gain: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The weeks of a rung with the money brought by their ends."""
    path = rung.path.copy()
    if kind == "rate":
        band = list(path.filter(like="counterfactual"))
        path[band] = path[band].clip(0, 1)
    change = gain.index[0]
    week = (gain.index - change).days // 7
    by_week = gain.groupby(change + pd.to_timedelta(7 * week, unit="D")).last()
    return path.merge(by_week, how="left", left_on="day", right_index=True)
