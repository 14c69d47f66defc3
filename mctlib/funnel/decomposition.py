"""Why a funnel's rate changed between two periods: behaviour, mix, or lost tracking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases
from mctlib.cells import View
from mctlib.contract import MISSING, ParameterError
from mctlib.eventlog.completeness import Proof, check, proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Journeys, number
from mctlib.eventlog.late_start import read_late_start
from mctlib.eventlog.steps import Step, may_meet, window_of
from mctlib.eventlog.walk import walk_funnel
from mctlib.funnel import narrative_change as narrative
from mctlib.funnel import narrative_first_change
from mctlib.funnel.change_parts import (
    COUNTS,
    PARTS,
    PERIODS,
    Cohorts,
    completeness_table,
    course_table,
    parts_table,
    steps_table,
    total_table,
    tracking_table,
)
from mctlib.results import MIN_USERS, Groups, Result, together

PLATFORM = "event.platform"
Period = tuple[int, int]  # its first and last microsecond


CHANGED = ("change_rate ±", "risk_ratio ±", "hidden_rate ±")
PROVED, MENDED = (
    ("n_checked", "n_tracked", "completeness_rate ±"),
    ("reached_rate", "mended_rate ±"),
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Change(Result):
    """Answer of `explain_change`.

    ``total``: one row. ``parts``: one row a segment ("all" first: the sums) and part. ``steps``:
    one row a step and part. ``completeness``: one row a step, segment ("all" first) and period.
    ``course``: one row a week (or month) of 10 users or more whose windows have closed.

    ============================ ==== ==============================================================
    column                       unit meaning
    ============================ ==== ==============================================================
    part                              mix, behaviour, tracking
    n_before, n_after                 users who entered; of a step: users at the step before
    before_rate ±, after_rate ±  0-1  reach the last step; of a step: go on to it
    before_, after_design_effect x    of those rates
    change_rate ±                0-1  after_rate less before_rate
    hidden_rate ±                0-1  what lost events hide of after_rate; NaN where nothing proves
    risk_ratio ±                 x    after_rate over before_rate
    n_accounts                        of the users of both periods; NaN where nothing says so
    effect_rate ±                0-1  what the part adds: to the whole, in ``steps`` to the step's
                                      own rate, its mix weighted by the users at the step before
    total_effect_rate ±          0-1  in ``steps``: what the part adds to the whole; the mix of the
                                      entrants stands at step 1, that of later steps follows (NaN)
    qvalue                            of the test that the part is 0 (Benjamini-Hochberg), over the
                                      sums, and over segments of 30 users or more in both periods
    period, source                    before, after; backend, implied, none: what proves the step
    n_checked, n_tracked              users who did the step for certain; whose event is there too
    completeness_rate ±          0-1  n_tracked / n_checked
    cohort, n_entered, n_reached      in ``course``: its first day, users who entered, got there
    reached_rate, mended_rate ±  0-1  n_reached / n_entered; the same with lost events put back
    ============================ ==== ==============================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %). Effects that rest on unknown tracking are NaN.
    ``timeline`` (day, kind, label, distance_days from the start of ``after``, names_step: whether
    it names an event of the steps): entries from the start of ``before`` to the end of ``after``.
    """

    parts: pd.DataFrame
    total: pd.DataFrame
    steps: pd.DataFrame
    completeness: pd.DataFrame
    timeline: pd.DataFrame
    course: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "total": View("total", ("n_before", "before_rate ±", "n_after", "after_rate ±", *CHANGED)),
        "completeness": View("completeness", ("event", "segment", "period", "source", *PROVED)),
        "course": View("course", ("cohort", "n_entered", "n_reached", *MENDED)),
    }
    main: ClassVar[str] = "parts"


def explain_change(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str = "",
    before: Sequence[Any],
    after: Sequence[Any],
    by: str | Sequence[str] | None,
    as_of: Any = None,
    required: Sequence[int] = (),
    cohorts: str = "week",
) -> Change:
    """Split the change of a funnel's conversion rate into mix, behaviour and lost tracking.

    The rate is the share who reach the last step within ``window`` of their first entry. The parts
    add up exactly to the change, as a whole and at each step (`split_change`).

    Parameters
    ----------
    log : EventLog
        Events, and perhaps ``backend`` (what the server knows), ``timeline`` and accounts.
    steps, window
        See `diagnose_funnel`; steps in order.
    before, after : pair of str
        First and last day of the users' first entry, by the calendar of the log (UTC's).
    by : str or list of str, optional
        Columns, read at entry, whose values are the segments.
    as_of : str, optional
        By when every window must have closed. Default: the end of the last event's day.
    required : list of int
        Numbers of steps that nobody can leave out who does a later one, so that a later one proves
        them where ``backend`` does not hold them; not one that an event of the step or of an
        earlier one may meet too, for it shows nothing.
    cohorts : {"week", "month"}
        Of which entries ``course`` is.

    Returns
    -------
    Change
        ``parts``, ``total``, ``steps``, ``completeness``, ``timeline``, ``course`` (see `Change`).

    Raises
    ------
    ParameterError
        Periods that overlap, are empty or not over, a required step that nothing can prove.

    Examples
    --------
    >>> change = explain_change(
    ...     log, ["signed_up", "profile_completed"], window="2d", by="platform",
    ...     before=("2026-01-01", "2026-01-10"), after=("2026-01-11", "2026-01-20"))
    >>> change.parts["part"].head(3).tolist()
    ['mix', 'behaviour', 'tracking']
    """
    matchers, columns = log.steps(steps), log.columns(by)
    window_us = window_of(matchers, window)
    periods = read_periods(log, before, after, window=window_us, as_of=as_of)
    proof = proofs(log, matchers, implied=read_required(matchers, required))
    asked: dict[str, Any] = {"window": window_us, "periods": periods, "proof": proof}
    asked |= {"by": columns, "cohorts": cohorts, "end": _end(log, as_of), "accounts": log.accounts}
    platform = [PLATFORM] if log.words.filled("events", "platform") else []
    dims = list(dict.fromkeys([*columns, cohorts, *log.accounts, *platform]))
    kernel = partial(count_cohorts, **asked)
    tables = log.reduce(kernel, events=matchers, by=dims, as_of=as_of)
    for name in PERIODS:
        if name not in set(tables["counts"]["period"]):
            raise ParameterError(f"{name}: nobody entered the funnel in that period.")
    up_to = phrases.day(asked["end"])
    groups = _groups(tables["counts"], matchers[0], columns, up_to, before, after)
    told = tables["counts"]["segment"].replace(dict(groups[0].names))
    tables["counts"] = add_up([tables["counts"].assign(segment=told)])
    began = came_late(tables["days"], matchers, proof, since=periods[0][0])
    found = Cohorts.of(tables, matchers, proof)
    total, parts, by_step = total_table(found), parts_table(found), steps_table(found)
    parts = parts if columns else parts.head(len(PARTS))  # one segment is the sum itself
    timeline = _timeline(log.table("timeline"), matchers, periods)
    whole, tracking, last = total.iloc[0], tracking_table(found, required), matchers[-1].label
    completeness = completeness_table(found, split=bool(columns))
    course = course_table(tables["counts"], found)
    moved = narrative_first_change.Moved(
        *(parts, whole, by_step, completeness, timeline, course, matchers, window_us),
        *((before, after), began, periods[1][0]),
    )
    return Change(
        parts=parts,
        total=total,
        steps=by_step,
        completeness=completeness,
        timeline=timeline,
        course=course,
        **narrative_first_change.read_first(moved),
        details=(narrative.change_finding(parts, by_step, whole, last, window_us, moved.began),),
        rule=narrative.change_rule(whole),
        caveats=(
            *log.caveats(as_of),
            *(f"The {words}" for words in log.missing_events(matchers)),
            *phrases.told_together(groups[0].names, MIN_USERS),
            *narrative.late_caveats(began),
            *narrative.change_caveats(parts, whole, tracking, timeline),
        ),
        groups=groups,
    )


def _groups(
    counts: pd.DataFrame, first: Step, by: Sequence[str], up_to: str, *periods: Sequence[Any]
) -> tuple[Groups, ...]:
    """The segments of each period; small in one of them, small in both."""
    entered = counts[(counts["step"] == 2) & counts["period"].isin(PERIODS)]
    sizes = entered.pivot_table("n_entered", "segment", "period", "sum", fill_value=0)
    key = " · ".join(by)
    names, users = together(sizes, key), f"users with {first.label}"
    return tuple(
        Groups(
            f"{users} from {a} to {b}", key, sizes[period], names, within=f"{users} up to {up_to}"
        )
        for period, (a, b) in zip(PERIODS, periods)
    )


def _period(log: EventLog, days: Sequence[Any], name: str) -> Period:
    """First and last microsecond of a period given by its first and last day."""
    if isinstance(days, str) or len(days) != 2:
        raise ParameterError(f"{name}: give two days, the first and the last.")
    first, last = log.calendar.period(days[0], days[1], name)
    if last < first:
        raise ParameterError(f"{name}: the last day ({days[1]}) lies before the first ({days[0]}).")
    return first, last


def _end(log: EventLog, as_of: Any) -> int:
    """Up to when the log is read: to the end of its last day where nothing says so."""
    return log.as_of(f"{log.last_event:%Y-%m-%d}" if as_of is None else as_of)


def read_periods(
    log: EventLog, before: Any, after: Any, *, window: int, as_of: Any
) -> tuple[Period, Period]:
    """The two periods. Raises ParameterError: they overlap, are swapped, or not over."""
    periods = _period(log, before, "before"), _period(log, after, "after")
    (first_before, last_before), (first_after, last_after) = periods
    if first_before > last_after:
        raise ParameterError("before: it comes later than the period after; swap the two.")
    if last_before >= first_after:
        begins = phrases.day(first_after)
        raise ParameterError(f"before: it must end before the period after begins ({begins}).")
    end = _end(log, as_of)
    if last_after + window > end:
        day_not_over = (end - window + 1) // phrases.DAY_US * phrases.DAY_US
        raise ParameterError(
            f"after: users who entered on {phrases.day(last_after)} were still inside their window "
            f"of {phrases.window(window)} on {phrases.day(end)}; the last usable day is "
            f"{phrases.day(day_not_over - 1)}."
        )
    return periods


def read_required(matchers: Sequence[Step], required: Sequence[int]) -> dict[int, list[int]]:
    """Which later steps prove each required one: those that no event up to it may meet."""
    implied = {}
    for step in required:
        if not 2 <= step < len(matchers):
            raise ParameterError(
                f"required: step {step} has no later step that could prove it; the steps are "
                f"numbered from 1, so 2 to {len(matchers) - 1} are possible."
            )
        so_far, later = matchers[:step], range(step, len(matchers))
        implied[step - 1] = [k for k in later if not any(may_meet(m, matchers[k]) for m in so_far)]
    return implied


def count_cohorts(
    j: Journeys,
    *,
    window: int,
    periods: tuple[Period, Period],
    proof: Sequence[Proof],
    by: Sequence[str],
    cohorts: str,
    end: int,
    accounts: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Walk the users whose window since their first entry has closed.

    "counts": step (from 2), period ("" for none), cohort, segment, bucket -> n_entered (users at
    the step before), n_reached (at this one), n_checked (of the former, those who did this one for
    certain), n_tracked (of these, those whose event is there) · "accounts": account -> n_users, of
    both periods · "days": step (from 0), platform, day -> n.
    """
    walk = walk_funnel(j, len(proof), window=window, first_only=True)
    start = walk.journeys.time[walk.entry]
    mine = np.flatnonzero(start + window <= end)
    user, entry, start = walk.user[mine], walk.entry[mine], start[mine]
    inside = [(start >= first) & (start <= last) for first, last in periods]
    period = inside[0] + 2 * inside[1]
    there = walk.rows[mine] >= 0
    code, segments = walk.journeys.segments(entry, by)
    begun, days = walk.journeys.segments(entry, [cohorts])
    cohort = {"period": period, "cohort": begun, "segment": code, "bucket": j.bucket_of(user)}
    parts = []
    for k in range(1, len(proof)):
        did, tracked = check(j, k, proof[k], user=user, since=start, until=start + window)
        entered = there[:, k - 1]
        numbers = dict(zip(COUNTS, (entered, there[:, k], entered & did, entered & tracked)))
        users = pd.DataFrame(cohort | numbers).astype(dict.fromkeys(COUNTS, int))
        parts.append(users.groupby(list(cohort), as_index=False).sum().assign(step=k + 1))
    counts = pd.concat(parts, ignore_index=True)
    counts["period"] = np.array(["", *PERIODS], object)[counts["period"]]
    counts["cohort"] = days[counts["cohort"]]
    counts["segment"] = segments[counts["segment"]]
    of_both = walk.journeys.accounts(entry[period > 0], accounts)
    return {"counts": counts, "accounts": of_both, "days": _count_days(j, len(proof))}


def _count_days(j: Journeys, n_steps: int) -> pd.DataFrame:
    """Events by step (from 0), platform and day (of UTC)."""
    platform = np.asarray(j.levels.get(PLATFORM, [MISSING]), object)
    code = j.dims.get(PLATFORM, np.zeros(len(j), np.int64))
    tables = []
    for step in range(n_steps):
        rows = j.has(step)
        place, of = number(platform=code[rows], day=j.time[rows] // phrases.DAY_US)
        table = {"step": step, "platform": platform[of["platform"]], "day": of["day"]}
        tables.append(pd.DataFrame(table | {"n": np.bincount(place, minlength=len(of["day"]))}))
    return pd.concat(tables, ignore_index=True)


def came_late(
    days: pd.DataFrame, steps: Sequence[Step], proof: Sequence[Proof], *, since: int
) -> dict[str, tuple[int, str]]:
    """Steps (labels) whose events came later than what proves them, if after ``since``.

    The first whole day that has them (microseconds), and on which platform: " on Android"; "" for
    everywhere. A platform counts from its own first event on · ``days``: step, platform, day -> n
    of the events.
    """
    names = {step: min(each.names, default="") for step, each in enumerate(steps)}
    witnessed: dict[int, Any] = {}
    for step, known in enumerate(proof):
        if known.source == "backend":
            witnessed[step] = known.time // phrases.DAY_US
        elif known.source == "implied":
            witnessed[step] = [names[later] for later in known.later]
    rows = days.assign(event=days["step"].map(names), app_version=MISSING)
    found: dict[str, tuple[int, str]] = {}
    for platform, here in [*rows.groupby("platform"), ("", rows)]:  # everywhere comes last
        late = read_late_start(here.assign(platform=MISSING), steps, witnessed)
        where = f" on {phrases.called(str(platform))}" if platform else ""
        for (step, _), day in late.days.items():
            found[steps[step].label] = (day, where)
    return {label: (day, where) for label, (day, where) in found.items() if day > since}


def _timeline(
    timeline: pd.DataFrame, steps: Sequence[Step], periods: tuple[Period, Period]
) -> pd.DataFrame:
    """`Change.timeline`."""
    moments = periods[0][0], periods[1][0], periods[1][1]
    first, change, last = (pd.Timestamp(us, unit="us").normalize() for us in moments)
    at = pd.to_datetime(timeline["day"])
    names = {name for step in steps for name in step.all_names}

    def names_step(entry: Any) -> bool:
        words = entry.split(",") if isinstance(entry, str) else []
        return not names.isdisjoint(word.strip() for word in words)

    table = timeline[["day", "kind", "label"]].assign(
        distance_days=(at - change) / pd.Timedelta("1D"),
        names_step=[names_step(entry) for entry in timeline["micro_conversions"]],
    )
    table = table[(at >= first) & (at <= last)]
    return table.sort_values(["day", "kind", "label"], ignore_index=True)
