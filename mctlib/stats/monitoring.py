"""Which number moved this week: the weekly alert, slow drift, and the gate that checks tracking.

A plain weekly table in and out, so that the rule can be tried without a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import Any

import numpy as np
import pandas as pd

from mctlib.contract import interval_columns
from mctlib.stats.student import FloatArray, t_interval
from mctlib.stats.weekly_table import (
    BASE,
    Base,
    Series,
    base_of,
    beyond,
    check_level,
    level_of,
    pooled,
    read_weekly,
    scatter_of,
    weeks_of,
)

LEVEL = 0.005  # one-sided p-value of an alert
BACK, NEW_LEVEL, REOPENS = 0.95, 12, 8  # recovered at this share; weeks to a new level; same alert
# everything moved: so many metrics that are known so well, their median, and how many by how much
AT_LEAST, KNOWN_TO, MEDIAN, MOST_OF, BY = 4, 0.10, 0.06, 0.60, 0.05
DROPPED = 2  # weeks of 12 in which everything moved are no baseline; more are a lasting shift


@dataclass
class Watch:
    """What is known of one metric while its weeks are gone through, and its alert.

    usable: rows that may be a baseline · side: of the open alert, 0 without one · base: frozen
    while it is open · began: its week · since: the week that names it, of a reopened one the first
    · during: rows since it began · back: weeks in a row at which the value was back · was: week,
    side and name of the last recovery.
    """

    s: Series
    level: float
    usable: list[int] = field(default_factory=list)
    side: int = 0
    base: Base | None = None
    began: float = np.nan
    since: float = np.nan
    severity: str = ""
    during: list[int] = field(default_factory=list)
    back: int = 0
    was: tuple[float, int, float] = (-np.inf, 0, np.nan)

    def look(self, week: float) -> Base | None:
        """The baseline that this week is held against."""
        if week in self.s.rows and not self.side:
            self.base = base_of(self.s, self.usable)
        return self.base

    def log_ratio(self, week: float) -> float:
        """Log of value / p0 where that is well enough known and no alert is open, else NaN."""
        row, base = self.s.rows.get(week), self.base
        if row is None or base is None or self.side or self.s.value[row] <= 0:
            return np.nan
        well = base.error(self.s.n[row]) / base.p0 < KNOWN_TO
        return log(self.s.value[row] / base.p0) if well else np.nan

    def judge(self, week: float, others: Mapping[int, float], usable: bool) -> dict[str, Any]:
        """Open, keep or close the alert; the row of the table.

        others: side -> median log ratio of the other metrics, where everything moved so.
        """
        row = self.s.rows.get(week)
        if row is None:
            return self.row(week, "no data")
        value, n, base = float(self.s.value[row]), float(self.s.n[row]), self.base
        if self.side:
            self.during.append(row)
            return self.row(week, self._while_open(week, value))
        rule = (week, value, n)
        far = [x for x in self.s.sides if base and beyond(value, base.p0, x, self.s.threshold)]
        for side in far:
            apart = (week, value / exp(others[side]), n) if side in others else rule
            if all(base.passes(self.s, *each, side, self.level) for each in (rule, apart) if base):
                return self.row(week, "open", alert=self._open(week, row, side))
        if usable:
            self.usable.append(row)
        chance = "everything moved" if any(side in others for side in far) else "may be chance"
        return self.row(week, chance if far else "" if base else "no baseline")

    def _open(self, week: float, row: int, side: int) -> bool:
        """Open an alert, or the last one again; whether it is news."""
        closed, its_side, its_name = self.was
        again = week - closed <= REOPENS and side == its_side
        self.side, self.began, self.since = side, week, its_name if again else week
        assert self.base is not None
        far = beyond(float(self.s.value[row]), self.base.p0, side, self.s.severe)
        self.severity = "severe" if far else "warn"
        self.during, self.back = [row], 0
        return not again

    def _while_open(self, week: float, value: float) -> str:
        """The state of an open alert after this week: it may recover, or be the new level."""
        assert self.base is not None
        level = (1 + self.side * (1 - BACK)) * self.base.p0
        if beyond(value, self.base.p0, self.side, self.s.severe):
            self.severity = "severe"
        self.back = self.back + 1 if self.side * (value - level) <= 0 else 0
        if self.back >= 2:
            self.was = (week, self.side, self.since)
            return "recovered"
        if week - self.began >= NEW_LEVEL:
            self.usable = self.during
            return "new level"
        return "open"

    def row(self, week: float, state: str, alert: bool = False) -> dict[str, Any]:
        """What the table says of a week."""
        row, base = self.s.rows.get(week), self.base
        n, value = (self.s.n[row], self.s.value[row]) if row is not None else (0.0, np.nan)
        told: dict[str, Any] = {"metric": self.s.name, "week": week, "n": n, "value": value}
        told |= dict.fromkeys(("p0", "forecast", "pvalue", "detectable_fall"), np.nan)
        told |= interval_columns("rel_change")
        before = [usable for usable in self.usable if usable != row]
        if before and not base:  # a fall is shown, not judged
            told["p0"] = p0 = pooled(self.s, before)
            told["rel_change"] = value / p0 - 1 if p0 > 0 and state != "left out" else np.nan
        if base and row is not None and state != "left out":
            side = self.side or next(
                (x for x in self.s.sides if x * (value - base.p0) >= 0), self.s.sides[0]
            )
            change = value / base.p0 - 1
            ends = t_interval(change, base.error(n) / base.p0, base.df)
            told |= interval_columns("rel_change", change, *map(float, ends))
            told |= {
                "p0": base.p0,
                "forecast": base.p0 if base.short else base.forecast(week),
                "pvalue": base.pvalue(value, n, side),
                "detectable_fall": base.detectable(week, n, side, self.s.threshold, self.level),
            }
        told |= {
            "alert": alert,
            "severity": self.severity if self.side else "",
            "side": self.side,
            "since": self.since if self.side else np.nan,
            "short_history": bool(base and base.short),
            "state": state,
        }
        if state in ("recovered", "new level"):
            self.side, self.base, self.severity = 0, None, ""
        return told


def weekly_alerts(
    weekly: pd.DataFrame,
    *,
    threshold: float | Mapping[str, float] = 0.10,
    severe: float | Mapping[str, float] = 0.15,
    bad: str | Mapping[str, str] = "down",
    skip: Iterable[Any] = (),
    level: float = LEVEL,
) -> pd.DataFrame:
    """Judge every week of some metrics by the weeks before it, and follow their alerts.

    A week is alerted when it lies at least ``threshold`` below the pooled level of the last 12
    usable weeks and at least 5 % below the line through them, and chance would do so with p <=
    .005, given the scatter of the last 26 around their line. Where everything moved, a metric is
    alerted only if that is true of it beside the others, too.

    Parameters
    ----------
    weekly : DataFrame
        metric, week (its first day), n, and n_success of rates, or value and variance (of one
        unit; missing where only the weeks' own scatter tells it, as of a ratio) of means.
    threshold, severe : float or mapping
        Relative fall that is alerted, that is severe; of all metrics, or by metric.
    bad : "down", "up", "both", or mapping
        What is alerted.
    skip : iterable of days
        Weeks that hold one of them are neither judged nor a baseline.
    level : float
        One-sided p-value.

    Returns
    -------
    DataFrame
        A row a metric and week; columns: see `COLUMNS`.

    Raises
    ------
    DataError
        A column is missing, a number cannot be, a week stands twice or is no week.
    ParameterError
        ``bad``, ``level``, ``skip`` or a threshold is none, or of an unknown metric.

    Examples
    --------
    >>> import pandas as pd
    >>> weeks = pd.date_range("2026-01-05", periods=20, freq="7D")
    >>> fell = [1000 + week % 3 for week in range(19)] + [800]
    >>> weekly = pd.DataFrame({"metric": "saved", "week": weeks, "n": 5000, "n_success": fell})
    >>> found = weekly_alerts(weekly)
    >>> found.loc[found["alert"], ["severity", "state"]].values.tolist()
    [['severe', 'open']]
    """
    check_level(level)
    series, origin = read_weekly(weekly, threshold, severe, bad)
    watches = [Watch(s, level) for s in series]
    left_out = weeks_of(skip, origin)
    dropped: list[float] = []
    rows = []
    for week in sorted({week for s in series for week in s.rows}):
        if week in left_out:
            rows += [watch.row(week, "left out") | {"common_cause": False} for watch in watches]
            continue
        for watch in watches:
            watch.look(week)
        ratios = np.array([watch.log_ratio(week) for watch in watches])
        moved = [side for side in (-1, 1) if _everything(ratios, side, watches)]
        drop = bool(moved) and sum(before > week - BASE for before in dropped) < DROPPED
        if drop:
            dropped.append(week)
        for i, watch in enumerate(watches):
            others = {side: float(np.nanmedian(np.delete(ratios, i))) for side in moved}
            row = watch.judge(week, others, usable=not drop)
            rows.append(row | {"common_cause": bool(moved)})
    table = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("week", "since"):
        table[column] = origin + pd.to_timedelta(7 * table[column], unit="D")
    return table.sort_values(["metric", "week"], kind="stable", ignore_index=True)


# p0: of weeks with an open alert the level before it · rel_change: against p0, 95 % interval ·
# detectable_fall: relative to the forecast, 80 % in the first week; NaN: cannot be seen · alert:
# one opens, and is news · severity: warn, severe · side: -1 a fall, 1 a rise · since: the week
# that names the alert · state: "" quiet, open, recovered, new level, may be chance, everything
# moved, no baseline, left out, no data · common_cause: everything moved.
# An alert is open until two weeks in a row are back at 95 % of the level before it, or until it
# has lasted 12 weeks, when the level since the fall is the new one; within 8 weeks of its
# recovery it is the old one again, and no news. With 8 to 11 usable weeks their pooled level and
# scatter are taken.
COLUMNS = """
metric week n value p0 forecast rel_change rel_change_ci_lower rel_change_ci_upper pvalue
detectable_fall alert severity side since short_history state common_cause
""".split()


def _everything(ratios: FloatArray, side: int, watches: Sequence[Watch]) -> bool:
    """Whether everything moved to a side on which it is bad for some."""
    known = side * ratios[np.isfinite(ratios)]
    if len(known) < AT_LEAST or not any(side in watch.s.sides for watch in watches):
        return False
    share = np.mean(known >= side * log(1 + side * BY))
    return bool(np.median(known) >= MEDIAN and share >= MOST_OF)


# ------------------------------------------------------------------------- beside the weekly alert

DRIFT, DRIFT_FALL, DRIFT_LEVEL = 4, 0.125, 0.0005
YEAR, DRIFT_WEEKS, DRIFT_YEAR = 52, 72, 0.08


def slow_drift(
    weekly: pd.DataFrame,
    *,
    bad: str | Mapping[str, str] = "down",
    skip: Iterable[Any] = (),
) -> pd.DataFrame:
    """Metrics whose last 4 weeks lie 12.5 % below the 12 before them: a note, never an alert.

    At p <= .0005; from 72 weeks on they must also lie 8 % below the same movement a year ago.

    Parameters
    ----------
    weekly, bad, skip
        As `weekly_alerts` takes them.

    Returns
    -------
    DataFrame
        metric, week (the last one), n and value (of the 4), p0 (of the 12), rel_change, pvalue.
    """
    series, origin = read_weekly(weekly, 0.0, 0.0, bad)
    left_out = weeks_of(skip, origin)
    found = []
    for s in series:
        rows = [row for week, row in s.rows.items() if week not in left_out]
        base = base_of(s, rows[:-DRIFT])
        if base is None or base.short:
            continue
        now = pooled(s, rows[-DRIFT:])
        n = float(s.n[rows[-DRIFT:]].sum())
        for side in s.sides:
            moved = beyond(now, base.p0, side, DRIFT_FALL)
            if len(rows) >= DRIFT_WEEKS:
                then = rows[: len(rows) - YEAR]
                level = pooled(s, then[-DRIFT - BASE : -DRIFT])
                if level > 0:  # else there was no such number yet
                    usual = pooled(s, then[-DRIFT:]) / level
                    moved = moved and beyond(now, usual * base.p0, side, DRIFT_YEAR)
            if moved and (p := base.pvalue(now, n, side)) <= DRIFT_LEVEL:
                week = origin + pd.Timedelta(days=7 * int(s.week[rows[-1]]))
                found.append((s.name, week, n, now, base.p0, now / base.p0 - 1, p))
    columns = ["metric", "week", "n", "value", "p0", "rel_change", "pvalue"]
    return pd.DataFrame(found, columns=columns)


def change_between(
    weekly: pd.DataFrame, before: Iterable[Any], after: Iterable[Any], apart: Iterable[Any] = ()
) -> dict[str, float]:
    """Change of one metric between some weeks (their first days) and others, with its interval.

    By the scatter of all weeks of the table but those ``apart``, with runs of good and bad ones
    (`scatter_of`): over a year it holds the truth as often as it says up to rho .3, at .6 in 93 of
    100. Gives value, value_before, change and rel_change (both with their 95 % intervals); NaN
    where a side has fewer than two weeks.
    """
    (s,), origin = read_weekly(weekly, 0.0, 0.0, "down")
    then, now = (
        [s.rows[week] for week in sorted(weeks_of(days, origin)) if week in s.rows]
        for days in (before, after)
    )
    left_out = weeks_of(apart, origin)
    scatter = scatter_of(s, [row for week, row in s.rows.items() if week not in left_out])
    was = is_now = np.nan
    ends = (np.nan,) * 3
    if scatter and min(len(then), len(now)) > 1 and pooled(s, then) > 0:
        error = sqrt(scatter.variance(s, then) + scatter.variance(s, now))
        was, is_now = pooled(s, then), pooled(s, now)
        if error > 0:
            low, high = t_interval(is_now - was, error, scatter.df)
            ends = (is_now - was, float(low), float(high))
    told = interval_columns("change", *ends)
    told |= interval_columns("rel_change", *(end / was for end in ends))
    return {"value": is_now, "value_before": was} | told


CELL_N, CELL_POINTS = 50, 0.05
NEAR, FAR = 0.005, 0.001  # p-values against the 12 weeks before, and against weeks 16 to 5 before


def tracking_gate(cells: pd.DataFrame) -> pd.DataFrame:
    """In which weeks an event went missing, by what another witness knows of it.

    Completeness is 5 points lower than in the 12 weeks before (p <= .005) or than in weeks 16 to 5
    before (p <= .001), of at least 50. Weeks in which it is lost are no baseline, until it has been
    so for 12 of them.

    Parameters
    ----------
    cells : DataFrame
        metric (an event on a platform), week, n (that the witness knows), n_success (tracked too).

    Returns
    -------
    DataFrame
        metric, week, n, value, p0, judged (enough is known of it), lost, since (first week of the
        loss).
    """
    series, origin = read_weekly(cells, 0.0, 0.0, "down")
    found = []
    for s in series:
        usable: list[int] = []
        during: list[int] = []
        for week, row in s.rows.items():
            value, n = float(s.value[row]), float(s.n[row])
            near, far = usable[-BASE:], usable[-DRIFT - BASE : -DRIFT]
            judged = n >= CELL_N and len(near) == BASE
            lost = judged and any(
                (base := level_of(s, rows, rows)) is not None
                and value <= base.p0 - CELL_POINTS
                and base.pvalue(value, n, -1) <= p
                for rows, p in ((near, NEAR), (far, FAR))
                if len(rows) == BASE
            )
            p0 = pooled(s, near) if near else np.nan
            if lost:
                during.append(row)
            else:
                usable.append(row)
            since = s.week[during[0]] if lost else np.nan
            found.append((s.name, week, n, value, p0, judged, lost, since))
            if len(during) > NEW_LEVEL:
                usable, during = during, []
            elif not lost and n >= CELL_N:
                during = []
    names = ["metric", "week", "n", "value", "p0", "judged", "lost", "since"]
    table = pd.DataFrame(found, columns=names)
    for column in ("week", "since"):
        table[column] = origin + pd.to_timedelta(7 * table[column], unit="D")
    return table
