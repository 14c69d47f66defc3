"""What moved this week, why, and who acts: the shared weekly template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from mctlib.cells import View
from mctlib.contract import as_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.results import MIN_USERS, Result
from mctlib.scorecard import board, narrative, reading
from mctlib.scorecard.causes import concerns, narrowed, not_understood
from mctlib.scorecard.counting import count
from mctlib.scorecard.meters import Meters, meters_of, plan_of_events
from mctlib.scorecard.narrative_first import Told, read_first
from mctlib.scorecard.states import answers, as_days, known_at, read_acts, with_acts
from mctlib.scorecard.watching import Watched, watch
from mctlib.stats.monitoring import slow_drift
from mctlib.tracking_plan.plan import Plan
from mctlib.tracking_plan.reading import read_plan

STUDIED = ("n_counted", "cause", "study_change ±", "mix_change")


@dataclass(frozen=True, kw_only=True, repr=False)
class Scorecard(Result):
    """Answer of `weekly_scorecard`. A week is called by its first day.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %).

    ``board``: the totals in words: number, six_weeks_and_months (drawn: `cells.Course`), last_week,
    against_before (``p0`` of ``kpis``), state, against_a_year, least_seen, n_counted, owner.

    ``kpis``: one row a number and segment ("all" first), of the last complete week (of cohorts the
    last whose windows have closed): metric, label, owner, segment, kind (rate, mean, ratio, count,
    days), week, n_counted (users, of a mean events), value ±, and

    ================== =============================================================================
    p0, rel_change ±   value in the 12 usable weeks before, or before ``since``; against it
    since              first week of a fall or rise that is not over: p0 stays as it was then
    detectable_fall    least fall that its first week shows 4 times in 5; NaN: cannot be seen
    rel_year_change ±  of the last four weeks against the same a year before
    state              of totals that alert: of alerts as in ``alerts``, of falls that are none too
                       few or lost events; else see `stats.monitoring.weekly_alerts`
    ================== =============================================================================

    ``weeks``: the same by week, but of segments none of few users, nor what would give them back.

    ``alerts``: one row an alert, the newest first: metric, label, unit, platform, since, severity,

    ================== =============================================================================
    alert_id, cause    <metric>-<loss, fall or rise>[-<platform>]-<first day of its week>; tracking,
                       competitor, mix, behaviour, everything, with what ``coincides``
    value, p0          of its first week, and of those before; of a loss the newest completeness
    study_change ±     against ``n_controls`` numbers that the competitor's move cannot touch
    mix_change         what of the relative change the mix of the segments makes
    n_cells            platforms on which the server's records told that week what was tracked
    role, who, owner   who acts; the team whose number it is
    state              open, acknowledged, snoozed (``until``), closed (by people), recovered, new
                       level; ``closed_on``, ``acted_on``, ``age_days`` (to its end or ``as_of``)
    news, again_on     opened in the last complete week; first week in which it is back
    ================== =============================================================================

    ``reasons``: why users said no, in the four weeks since. ``responses``: the stages of each
    answer, and what was missed until it, of `roi.value_of_speed`. ``history``: every change of
    every alert. ``year``: the last four weeks against the same four a year before.
    ``drift``: what has no open alert and drifts slowly (`stats.monitoring.slow_drift`), a note.
    ``lifecycle``: week, n_new, n_returning (in the three weeks before, too), n_resurrected (not for
    as long), n_dormant (in those, but not this week), and their sum n_monthly.
    """

    board: pd.DataFrame
    kpis: pd.DataFrame
    weeks: pd.DataFrame
    alerts: pd.DataFrame
    timeline: pd.DataFrame
    reasons: pd.DataFrame
    responses: pd.DataFrame
    lifecycle: pd.DataFrame
    year: pd.DataFrame
    history: pd.DataFrame
    drift: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "board": View("board", ("number", "last_week", "against_before", "state", "owner")),
        "alerts": View("alerts", ("", "severity", "value", "p0", *STUDIED, "acted_on")),
    }
    main: ClassVar[str] = "board"

    def told(self, name: str) -> pd.DataFrame:
        """A table as people read it: alerts by label and day, stages and columns in words.

        Beside the tables' own names: ``alerts_in_short``; ``medians``, the usual days in each
        stage of an answer. ``kpis`` are the board's rows of every segment.
        """
        return reading.told(name, self.tables)


def weekly_scorecard(
    log: EventLog,
    plan: Plan | None = None,
    *,
    as_of: Any,
    by: str | None = "channel",
    acts: pd.DataFrame | None = None,
    daily: bool = False,
) -> Scorecard:
    """Tell what moved in the last complete week, why, and who acts.

    Numbers are the plan's metrics and micro-conversions (users who did it among the users active
    that week). Totals alert by `stats.monitoring.weekly_alerts`, at most 12 of them: metrics with
    ``alert: true`` and micro-conversions of priority 1, of a plan without either all. Lost tracking
    is looked for first, by the server's records, and told instead of a fall that it explains.

    Parameters
    ----------
    log : EventLog
        Events, and perhaps ``backend``, ``timeline``, ``surveys`` and ``responses``.
    plan : Plan, optional
        The tracking plan; by default the log's, else every event is a micro-conversion.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    by : str, optional
        Column that splits the users on the board; "" or None for none.
    acts : DataFrame, optional
        What people did: alert_id, day, act (ack, snooze, close), until, by.
    daily : bool
        Weeks end on the day of ``as_of``, and only a fall of 25 % with p <= .0005 is alerted.

    Returns
    -------
    Scorecard
        ``kpis``, ``alerts`` and more (columns: see `Scorecard`).

    Raises
    ------
    ParameterError
        No whole week is over; ``by`` is no column.
    DataError
        Something in ``acts``, the timeline or the response log is no day.

    Notes
    -----
    States follow from the series, the acts and the response log alone, up to ``as_of``: another run
    of the same day says the same. Between an act and the response log the later day wins.

    Examples
    --------
    >>> scorecard = weekly_scorecard(log, as_of="2026-01-31", by=None)
    >>> scorecard.alerts["state"].tolist()
    []
    """
    if plan is None:
        plan = read_plan(log.plan) if log.plan else plan_of_events(log)
    columns = log.columns(by)
    for column in as_columns(by):
        log.segments(column)
    meters = meters_of(log, plan)
    counted = count(log, meters, as_of=as_of, by=columns, daily=daily)
    weeks, shown = board.with_cohorts(log, counted, meters, as_of=as_of, by=columns)
    today = pd.Timestamp(log.as_of(as_of) + 1, unit="us").normalize()
    timeline = _entries(log, today)
    meters.left_out.extend(not_understood(timeline, meters, log.event_names))
    watched = watch(counted, meters, timeline, daily=daily)
    known = known_at(log.table("responses"), today)
    alerts, history = with_acts(watched, read_acts(acts), known, meters, today)
    told = answers(known, alerts, meters, today)
    told = board.recovered(told, known, alerts, counted, meters)
    asked: dict[str, Any] = {"as_of": as_of, "by": columns}
    kpis, series = board.kpis(log, weeks, meters, shown, watched, alerts, **asked)
    why = board.reasons(log.table("surveys"), alerts, meters, today)
    kpis, before = board.with_year(weeks, kpis, series)
    drift = _drift(counted.of(), meters, watched)
    drift = drift[~drift["metric"].isin(alerts.loc[alerts["closed_on"].isna(), "metric"])]
    facts = Told(
        meters=meters,
        watched=watched,
        alerts=alerts,
        kpis=kpis,
        reasons=why,
        responses=told,
        lifecycle=board.lifecycle(weeks),
        year=before,
        drift=drift,
        today=today,
    )
    return Scorecard(
        board=narrative.board(kpis, series),
        kpis=kpis,
        weeks=series,
        alerts=alerts,
        timeline=_told_entries(timeline, meters),
        reasons=why,
        responses=told,
        lifecycle=facts.lifecycle,
        year=facts.year,
        history=history,
        drift=drift,
        **read_first(facts),
        rule=narrative.RULE,
        details=narrative.details(facts),
        caveats=(*log.caveats(as_of), *narrative.caveats(facts)),
    )


def _drift(totals: pd.DataFrame, meters: Meters, watched: Watched) -> pd.DataFrame:
    """`Scorecard.drift`, open alerts not yet taken out, by the weeks at a level that is usual."""
    bad = {meter.name: meter.bad for meter in meters.watched}
    passing = pd.MultiIndex.from_frame(watched.passing)
    usual = ~pd.MultiIndex.from_frame(totals[["metric", "week"]]).isin(passing)
    mine = totals[totals["metric"].isin(list(bad)) & usual & (totals["n_users"] >= MIN_USERS)]
    found = slow_drift(mine, **narrowed({"bad": bad, "skip": watched.skip}, mine["metric"]))
    named = {meter.name: meter for meter in meters.watched}
    own = [named[metric] for metric in found["metric"]]
    found.insert(1, "label", [meter.label for meter in own])
    found = found.rename(columns={"n": "n_counted"})
    who = {"who": [meters.role(m.acts) for m in own], "owner": [m.owner for m in own]}
    return found.assign(role=[m.acts for m in own], **who)


def _entries(log: EventLog, today: pd.Timestamp) -> pd.DataFrame:
    """The timeline up to a day: day, kind in small letters, label, micro_conversions."""
    table = log.table("timeline").reindex(columns=["day", "kind", "label", "micro_conversions"])
    table["day"] = as_days(table["day"], "timeline: day")
    table["kind"] = table["kind"].astype(str).str.strip().str.lower()
    table["label"] = table["label"].fillna(table["kind"])
    words = table["micro_conversions"]
    table["micro_conversions"] = words.where(words.map(lambda word: isinstance(word, str)), "")
    return table[table["day"] < today].sort_values("day", ignore_index=True)


def _told_entries(timeline: pd.DataFrame, meters: Meters) -> pd.DataFrame:
    told = [
        ", ".join(m.label for m in meters.watched if concerns(entry, m))
        for entry in timeline.to_dict("records")
    ]
    return timeline[["day", "kind", "label"]].assign(concerns=told)
