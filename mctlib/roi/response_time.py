"""What did slowness cost? From the response log, what each stage of an answer to a fall took away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import DataError, ParameterError, nearest
from mctlib.roi import estimators as cf

STAGES = (
    ("until noticed", "detected_on"),
    ("until decided", "decided_on"),
    ("until answered", "shipped_on"),
)


@dataclass(frozen=True)
class Speed:
    """Result of `value_of_speed`, which says what the columns mean."""

    stages: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def value_of_speed(
    series: pd.DataFrame,
    responses: pd.DataFrame,
    *,
    value: float | None = None,
    margin: float = 1.0,
) -> Speed:
    """Days from a fall to its answer, and what was lost in them: what an earlier answer would have saved at most.

    ``series``: `daily_metric` of the metric that fell, all users together. ``responses``: the response log (alert_id, detected_on, decided_on, shipped_on). An
    alert belongs to the metric when its alert_id reads <event>-<first day of the fall>, with an event of the metric. ``value``: money per success, user-day or
    unit, ``margin`` of it kept.

    The counterfactual is the trend of the weeks before the fall with AR(1) errors (`stats.fit_ar1`), every week after it left free; a day's loss is its week's
    gap times n (counts: 1). The interval holds the error of the trend and the noise of the weeks themselves.

    ``stages``: alert_id, stage (until noticed, until decided, until answered; one without an end in the log ends with the next one that has; with "(open)" where
    none has: then it is the last and counted to the last whole week of the series), from_day, lasted_days, missed + ci (successes, user-days, units), lost_amount + ci, per_day_amount + ci (what one day
    sooner is worth). A stage of no days (times are read as their UTC day) or outside the series is NaN.
    Raises DataError: ``responses`` has no alert_id, or something in it is not a day; ParameterError: a series of several segments, a negative value, an
    impossible margin.
    """
    daily, kind = cf.checked(series)
    if daily["segment"].nunique() > 1:
        raise ParameterError(
            "series: give one metric of all users; a response log does not say which segment an alert means."
        )
    if "alert_id" not in responses:
        raise DataError(
            'responses: column "alert_id" is missing; it takes alert_id and, where known, detected_on, decided_on, shipped_on.'
            f"{nearest('alert_id', responses.columns)}"
        )
    cf.check_money(value, margin)
    found = (
        responses["alert_id"]
        .astype(str)
        .str.extract(r"^(?P<event>.+)-(?P<began>\d{4}-\d{2}-\d{2})$")
    )
    logged = {c: cf.days(responses[c], f"responses: {c}") for _, c in STAGES if c in responses}
    mine = responses.assign(began=pd.to_datetime(found["began"], errors="coerce"), **logged)[
        found["event"].isin(series.attrs.get("events", ()))
    ].dropna(subset=["began"])
    each = np.nan if value is None else value * margin
    stages, short = [], []
    for alert in mine.to_dict("records"):
        rows, n_pre = _stages(alert, daily, kind, each)
        stages += rows
        short += [alert["alert_id"]] if n_pre < cf.MIN_PRE else []
    columns = [
        "alert_id",
        "stage",
        "from_day",
        "lasted_days",
        *(
            f"{c}{e}"
            for c in ("missed", "lost_amount", "per_day_amount")
            for e in ("", "_ci_lower", "_ci_upper")
        ),
    ]
    table = pd.DataFrame(stages, columns=columns)
    caveats = (
        [
            "An alert is raised because a number fell, so on average its fall is overstated; lost tracking costs no money."
        ]
        if len(table)
        else []
    )
    if short:
        caveats.append(
            f"Descriptive only, with fewer than {cf.MIN_PRE} weeks before the fall: {', '.join(short)}."
        )
    return Speed(
        table, _said(table, kind, series.attrs.get("metric", "the metric")), tuple(caveats)
    )


def _fit(weeks: pd.DataFrame) -> stats.Fit:
    """The trend of the weeks before the fall, and every week after it left free: coefficients start, slope, then a gap each."""
    week = weeks.index.to_numpy(float)
    return stats.fit_ar1(
        weeks["value"].to_numpy(float),
        np.c_[np.ones(len(week)), week, np.eye(len(week))[:, week >= 0]],
        weeks["n"].to_numpy(float),
        week,
    )


def _stages(
    alert: dict[str, Any], daily: pd.DataFrame, kind: str, each: float
) -> tuple[list[dict[str, Any]], int]:
    """The rows of one alert, and the weeks before its fall."""
    from scipy.special import stdtrit

    began = alert["began"]
    units, _ = cf.weekly(daily, began, kind)
    weeks = cf.pooled(units, kind)
    weeks = weeks[weeks["n"] > 0]
    week = weeks.index.to_numpy(float)
    n_pre, after = int((week < 0).sum()), np.flatnonzero(week >= 0)
    end = (
        began + pd.Timedelta(days=7 * (week.max() + 1)) if len(after) else began
    )  # the first day that is not in a whole week any more
    fit = _fit(weeks) if n_pre >= 4 and len(after) else None
    rows, start = [], began
    for k, (stage, _) in enumerate(STAGES):
        stop = next((alert[c] for _, c in STAGES[k:] if pd.notna(alert.get(c))), pd.NaT)
        if is_open := pd.isna(stop):
            stage, stop = f"{stage} (open)", end
        stop = max(stop, start)
        row = {
            "alert_id": alert["alert_id"],
            "stage": stage,
            "from_day": start,
            "lasted_days": float((stop - start).days),
        }
        if fit is not None and start < stop <= end:
            day = start + pd.to_timedelta(np.arange((stop - start).days), unit="D")
            in_week = (
                ((day - began).days // 7)
                .value_counts()
                .reindex(week[after], fill_value=0)
                .to_numpy()
            )
            size = np.ones(len(after)) if kind == "count" else weeks["n"].to_numpy(float)[after] / 7
            c = np.r_[0.0, 0.0, -in_week * size]
            lost, se, _ = fit.contrast(c)
            half = float(stdtrit(fit.df, 0.975)) * se
            for name, factor in (
                ("missed", 1.0),
                ("lost_amount", each),
                ("per_day_amount", each / len(day)),
            ):
                row |= {
                    name: lost * factor,
                    f"{name}_ci_lower": (lost - half) * factor,
                    f"{name}_ci_upper": (lost + half) * factor,
                }
        rows.append(row)
        start = stop
        if is_open:
            break
    return rows, n_pre


def _said(table: pd.DataFrame, kind: str, metric: str) -> str:
    """The sentence a decision maker reads: the stage that cost most, and whether that is more than noise."""
    known = table[table["missed"].notna()]
    if known.empty:
        return f"What slowness cost cannot be said: the response log holds no alert on {metric} within these data."
    unit = {"rate": "successes", "count": "user-days", "mean": "units"}[kind]
    clear = known[known["missed_ci_lower"] > 0]
    row = (known if clear.empty else clear).loc[lambda t: t["missed"].idxmax()]
    day, low, high = row[["per_day_amount", "per_day_amount_ci_lower", "per_day_amount_ci_upper"]]
    money = f", {day:,.0f} a day ({low:,.0f} to {high:,.0f})" if day == day else ""
    lost = f"{row['missed']:,.0f} {unit} (95 % interval {row['missed_ci_lower']:,.0f} to {row['missed_ci_upper']:,.0f}){money}"
    event = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", row["alert_id"])
    days = f"the {row['lasted_days']:.0f} day{'' if row['lasted_days'] == 1 else 's'} {row['stage']}, from {row['from_day']:%Y-%m-%d}"
    if clear.empty:
        return f"That an earlier answer would have saved anything is not shown: the fall of {event} lost {lost} in {days}."
    return f"The fall of {event} cost {lost} in {days}; one day sooner would have saved at most a day of that."
