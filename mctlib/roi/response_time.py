"""What did slowness cost? From the response log, what each stage of an answer took away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.cells import View
from mctlib.contract import DataError, ParameterError, interval_columns, nearest
from mctlib.eventlog.daily_metric import DailyMetric
from mctlib.phrases import count
from mctlib.results import Result
from mctlib.roi import narrative
from mctlib.roi.estimators import against
from mctlib.roi.money import Money
from mctlib.roi.narrative_first import speed_first
from mctlib.roi.rung import ITS
from mctlib.roi.weeks import MIN_POST, MIN_PRE, checked, days, pooled, weekly

STAGES = (
    ("until noticed", "detected_on"),
    ("until decided", "decided_on"),
    ("until answered", "shipped_on"),
)
RECENT = 2  # weeks by which a fall goes on or does not
SOON, READ = 8, 4  # weeks after an answer; of these the last, in which it is read what came back
AMOUNTS = ("missed", "lost_amount", "per_day_amount")
LOST = (*(f"{amount} ±" for amount in AMOUNTS), "goes_on")
RECOVERED = ("recovered", "rel_recovered")


@dataclass(frozen=True, kw_only=True, repr=False)
class Speed(Result):
    """Answer of `value_of_speed`.

    ``stages``: one row a stage of each alert on the metric.

    ================ ===== =========================================================================
    column           unit  meaning
    ================ ===== =========================================================================
    alert_id               as in the response log
    since                  UTC day on which the fall began
    stage                  until noticed, decided or answered; one without an end in the log ends
                           with the next that has one; "(open)" where none has: then it is the last
                           and counted to the last whole week of the series
    from_day               UTC day on which it began
    lasted_days      days
    missed ±               successes, user-days or units; NaN for no days, or outside the series
    lost_amount ±    money what of their value is kept
    per_day_amount ± money what one day sooner is worth
    goes_on          bool  of an open one: the last two whole weeks surely lie below the trend yet
    currency               of both, where `Money` says it
    ================ ===== =========================================================================

    ``answers``: one row an alert that was answered: alert_id, rung (always the interrupted series),
    recovered ± (of the metric) and rel_recovered ± (of what it would have been): the last four of
    the eight whole weeks since the answer, against the trend before the fall and the level of the
    weeks after its first, which was told for being low; supported, and reason: why it is not, with
    NaN then. rel_recovered ± is NaN where without the answer there might be nothing at all.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %): error of the trend, and the weeks' own noise.
    """

    stages: pd.DataFrame
    answers: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "stages": View("stages", ("since", "stage", "from_day", "lasted_days", *LOST, "currency"))
    }
    main: ClassVar[str] = "stages"


def value_of_speed(
    series: DailyMetric | pd.DataFrame, responses: pd.DataFrame, *, money: Money | None = None
) -> Speed:
    """Count the days from a fall to its answer, and what was lost in them.

    That is what an earlier answer would have saved at most. The counterfactual is the trend of the
    weeks before the fall, every week after it left free; a day's loss is its week's gap times n
    (counts: 1).

    Parameters
    ----------
    series : DailyMetric or DataFrame
        From `daily_metric`, all users together, or its table, saved and read again.
    responses : DataFrame
        The response log: alert_id, detected_on, decided_on, shipped_on. An alert belongs to the
        metric when its alert_id is the scorecard's, or <name>-<first day of the fall>, with a name
        of the metric or of its event; not one on lost tracking: what was not recorded is not lost.
    money : Money, optional
        ``value`` of a success, user-day or unit, and the ``margin`` of it that is kept.

    Returns
    -------
    Speed
        ``stages``, ``answers`` (columns: see `Speed`), ``finding``, ``caveats``.

    Raises
    ------
    DataError
        ``responses`` has no alert_id, or something in it is not a day.
    ParameterError
        A series of several segments.

    Notes
    -----
    AR(1) errors by REML (`stats.fit_ar1`).

    Examples
    --------
    >>> from mctlib import Count, daily_metric
    >>> series = daily_metric(log, Count("signed_up"), as_of="2026-01-28")
    >>> len(value_of_speed(series, log.table("responses")).stages)
    0
    """
    series = DailyMetric.of(series)
    daily = checked(series)
    if daily["segment"].nunique() > 1:
        raise ParameterError(
            "series: give one metric of all users; a response log does not say which segment an "
            "alert means."
        )
    each = money.each if money else np.nan
    rows, short, back = [], [], []
    for alert in _alerts(responses, series.events).to_dict("records"):
        weeks = pooled(weekly(daily, alert["began"], series.kind)[0], series.kind)
        weeks = weeks[weeks["n"] > 0]
        rows += _stages(alert, weeks, series.kind, each)
        if pd.notna(alert.get("shipped_on")):
            back.append({"alert_id": alert["alert_id"], "rung": ITS} | came_back(alert, weeks))
        if (weeks.index < 0).sum() < MIN_PRE:
            short.append(alert["alert_id"])
    keys = ["alert_id", "since", "stage", "from_day", "lasted_days", "goes_on"]
    amounts = [name for amount in AMOUNTS for name in interval_columns(amount, 0, 0, 0)]
    table = pd.DataFrame(rows, columns=keys + amounts)
    recovered = [name for stem in RECOVERED for name in interval_columns(stem, 0, 0, 0)]
    told = ["alert_id", "rung", *recovered, "supported", "reason"]
    currency = money.currency if money else ""
    return Speed(
        stages=table.assign(currency=currency),
        answers=pd.DataFrame(back, columns=told),
        **speed_first(table, series.kind, currency),
        details=(narrative.speed_finding(table, series.kind, series.title, currency),),
        caveats=(*series.caveats, *narrative.speed_caveats(table, short, series.silent)),
    )


def _alerts(responses: pd.DataFrame, events: list[str]) -> pd.DataFrame:
    """The alerts on these events, with the day on which their fall began."""
    if "alert_id" not in responses:
        raise DataError(
            'responses: column "alert_id" is missing; it takes alert_id and, where known, '
            f"detected_on, decided_on, shipped_on.{nearest('alert_id', responses.columns)}"
        )
    pattern = r"^(?P<event>.+)-(?P<began>\d{4}-\d{2}-\d{2})$"
    found = responses["alert_id"].astype(str).str.extract(pattern)
    ends = {c: days(responses[c], f"responses: {c}") for _, c in STAGES if c in responses}
    began = pd.to_datetime(found["began"], errors="coerce")
    plain = found["event"].str.replace(r"-(fall|rise)$", "", regex=True)  # an alert's id says it
    mine = found["event"].isin(events) | plain.isin(events)
    return responses.assign(began=began, **ends)[mine & began.notna()]


def trend_and_gaps(weeks: pd.DataFrame) -> stats.Fit:
    """The trend of the weeks before the fall, every week after it left free.

    Coefficients: start, slope, then a gap each.
    """
    week = weeks.index.to_numpy(float)
    after = np.eye(len(week))[:, week >= 0]
    x = np.c_[np.ones(len(week)), week, after]
    return stats.fit_ar1(weeks["value"].to_numpy(float), x, weeks["n"].to_numpy(float), week)


def _still_below(fit: stats.Fit, n_weeks: int) -> bool:
    """Whether the last two weeks after the fall surely lie below the trend."""
    last = np.arange(n_weeks) >= n_weeks - RECENT
    lost, se, _ = fit.contrast(np.r_[0.0, 0.0, -last.astype(float)])
    return bool(stats.t_interval(lost, se, fit.df)[0] > 0)


def _stages(
    alert: dict[str, Any], weeks: pd.DataFrame, kind: str, each: float
) -> list[dict[str, Any]]:
    """The rows of one alert, whose fall begins week 0."""
    began = alert["began"]
    after, n_pre = weeks[weeks.index >= 0], int((weeks.index < 0).sum())
    # the first day that is not in a whole week any more
    end = began + pd.Timedelta(days=7 * (weeks.index.max() + 1)) if len(after) else began
    fit = trend_and_gaps(weeks) if n_pre >= 4 and len(after) else None
    a_day = np.ones(len(after)) if kind == "count" else after["n"].to_numpy(float) / 7
    rows, start = [], began
    for k, (stage, _) in enumerate(STAGES):
        stop = next((alert[c] for _, c in STAGES[k:] if pd.notna(alert.get(c))), pd.NaT)
        is_open = pd.isna(stop)
        stop = max(end if is_open else stop, start)
        n_days = (stop - start).days
        row = {"alert_id": alert["alert_id"], "since": began}
        row |= {"stage": f"{stage} (open)" if is_open else stage}
        row |= {"from_day": start, "lasted_days": float(n_days), "goes_on": False}
        if fit is not None and start < stop <= end:
            week = ((start - began).days + np.arange(n_days)) // 7
            in_week = (week[:, None] == after.index.to_numpy()).sum(axis=0)
            lost, se, _ = fit.contrast(np.r_[0.0, 0.0, -in_week * a_day])
            low, high = stats.t_interval(lost, se, fit.df)
            for name, factor in zip(AMOUNTS, (1.0, each, each / n_days)):
                row |= interval_columns(name, lost * factor, low * factor, high * factor)
            row["goes_on"] = is_open and _still_below(fit, len(after))
        rows.append(row)
        start = stop
        if is_open:
            break
    return rows


def came_back(alert: dict[str, Any], weeks: pd.DataFrame) -> dict[str, Any]:
    """What came back after an answer, by the estimator of the ladder's interrupted series.

    The weeks before are those before the fall and those of it until the answer, which have a level
    of their own beside the trend. Two weeks count nowhere: that of the answer, and the first of the
    fall, told for being low: after a false alert all that chance took would seem to come back.
    """
    answered = (alert["shipped_on"] - alert["began"]).days / 7
    week = weeks.index.to_numpy()
    fallen = (week >= 1) & (week + 1 <= answered)
    since = week[week >= max(answered, 0)][:SOON]
    own = weeks[(week < 0) | fallen | np.isin(week, since[-READ:])]
    n_pre, n_since, at_least = int((week < 0).sum()), len(since), "needed are"
    few = phrases.that_hold(
        [
            (
                n_pre < MIN_PRE,
                f"{count(n_pre, 'whole week')} before the fall, {at_least} {MIN_PRE}",
            ),
            (not fallen.any(), "no whole week between the fall's first and its answer"),
            (n_since < MIN_POST, f"{count(n_since, 'whole week')} since it, {at_least} {MIN_POST}"),
        ]
    )
    if few:
        return {"supported": False, "reason": phrases.listed(few)}
    began_at = own.index.to_numpy() >= 0
    own = own.set_axis(own.index - since[-READ:][0])
    own = own.assign(y=own["value"], weight=own["n"])
    found = against(own, np.c_[np.ones(len(own)), own.index, began_at])
    if found is None or found.se <= 1e-10 * own["y"].abs().max():
        why = "the weeks do not differ at all, so nothing says how sure it is"
        return {"supported": False, "reason": why}
    found, after = found.widened(int((own.index < 0).sum())), own.index >= 0
    ends = [found.effect, *map(float, stats.t_interval(found.effect, found.se, found.df))]
    level = float(np.average(own["y"][after], weights=own["n"][after]))
    # what would be without the answer is as unsure as its effect
    sure = max(ends) < level
    relative = [end / (level - end) if sure else np.nan for end in ends]
    told = interval_columns("recovered", *ends) | interval_columns("rel_recovered", *relative)
    return {"supported": True, "reason": "", **told}
