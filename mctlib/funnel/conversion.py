"""Where users stop, for whom, and after how long: `diagnose_funnel`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd

from mctlib.cells import View
from mctlib.contract import ParameterError, as_columns, as_timestamp, one_of
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.steps import (
    ANY,
    Exclusion,
    Order,
    Step,
    as_exclusion,
    check_exit,
    may_meet,
    refuse_misspelt,
    window_of,
)
from mctlib.funnel import narrative, narrative_first
from mctlib.funnel.corrected import COLUMNS, corrected_table
from mctlib.funnel.counts import Rule, count_funnel, shared_steps
from mctlib.funnel.rates import (
    STEP_COLUMNS,
    Counts,
    against_others,
    by_segment,
    correlations,
    curves,
    step_rows,
)
from mctlib.phrases import SECOND_US, day, told_together
from mctlib.results import MIN_USERS, Groups, Result, together

# Seconds; the resolutions of durations, none as coarse as the tenths of days that are printed.
UNITS = (1, 5, 15, 60, 300, 900, 3600)
LONGEST_EXACT = 1 << 50  # microseconds, 35 years: a longer window's durations are rounded


# what is said of a step in a view; the share so far only where it is not yet the whole window's
WITHIN = ("n_reached", "conversion_rate ±", "horizon_days", "horizon_rate ±")
STEP_ON = ("n_closed", "step_rate ±", "n_pending", "n_competing")


@dataclass(frozen=True, kw_only=True, repr=False)
class Funnel(Result):
    """Answer of `diagnose_funnel`.

    ``steps``: one row a segment ("all" first, then the largest) and step.

    ====================== ===== ===========================================================
    column                 unit  meaning
    ====================== ===== ===========================================================
    segment, step, event         step counts from 1
    n_entered              users first entry lies in the segment; base of conversion_rate
    n_reached              users deepest attempt reached the step, any attempt, left or not
    n_any_order            users of step 1 who ever did this and all before it, any order
    n_pending              users not there, window of the first entry still open at as_of
    n_competing            users left before the step, within that window
    conversion_rate ±      0-1   reach the step within the window of the first entry
    difference_rate ±      0-1   that less the other segments' (`rates.against_others`)
    qvalue                       of that difference, over the segments
    differs                bool  qvalue at most .05, the interval leaves out 0: may be named
    design_effect          x     how many colleagues tell as much as one independent user
    n_accounts             count accounts in which first entries sit
    window_days            days  the window
    horizon_days           days  longest time, at most the window, to which rates are known:
                                 10 are followed and still waiting, or hardly anybody waits
    horizon_rate ±         0-1   reach the step within horizon_days
    naive_rate ±           0-1   n_reached over that of step 1
    n_closed               users closed windows at the previous step, base of step_rate; step 1: NaN
    step_rate ±            0-1   of these, went on to this one
    p25_days ... p90_days  days  wait since the previous step; NaN: the curve ends lower
    ====================== ===== ===========================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %); NaN below 10 clusters. conversion_rate is NaN
    where horizon_days are fewer than window_days. The previous step is the last one that is not
    optional. Whoever came late to it waits for a short time only, so a quantile may be given of a
    share that is larger than step_rate.

    ``times``, the wait since the previous step for everyone: segment, step, event, days,
    reached_rate ±, n_at_risk (users who wait for so long or longer); at most 2 x 61 rows a step,
    while 10 are at risk. ``checks`` (check, step, event, n_users): users whom the counts leave out
    or would count otherwise, a row a reason. ``corrected``, where asked for: step, event,
    n_entered, conversion_rate ±, recorded_rate (that over the next), corrected_rate ± (had tracking
    lost nothing). ``target_rate``: the plan's target of the last step, where the funnel asks for
    just that.
    """

    steps: pd.DataFrame
    times: pd.DataFrame
    checks: pd.DataFrame
    corrected: pd.DataFrame
    target_rate: float | None = None

    views: ClassVar[Mapping[str, View]] = {
        "steps": View("steps", ("step", "event", *WITHIN, *STEP_ON), "segment == 'all'"),
        "waits": View(
            "steps",
            ("step", "event", "p25_days", "median_days", "p75_days", "p90_days"),
            "segment == 'all' and step > 1",
        ),
        "segments": View(
            "steps",
            ("segment", "n_entered", *WITHIN, "difference_rate ±", "qvalue", "design_effect"),
            "segment != 'all' and step == step.max()",
        ),
        "stops": View(
            "steps",
            ("segment", "step", "event", "n_reached", "step_rate ±", "median_days"),
            "segment != 'all' and step > 1",
        ),
        "plain": View(
            "steps",
            ("step", "event", "n_reached", "naive_rate ±", "n_any_order"),
            "segment == 'all'",
        ),
        "cohorts": View(
            "steps",
            ("segment", "n_reached", "n_entered", "n_pending", "horizon_days", "horizon_rate ±"),
            "segment != 'all' and step == step.max()",
        ),
    }
    main: ClassVar[str] = "steps"
    first: ClassVar[tuple[str, ...]] = (
        *("segment", "event", "n_reached", "n_pending"),
        *("conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper", "step_rate"),
    )

    def view(self, name: str) -> pd.DataFrame:
        """See `Result.view`; where all had their whole window, without what is so far."""
        shown = super().view(name)
        whole = shown.get("conversion_rate", pd.Series(dtype=float))
        twice = "horizon_" if len(whole) and whole.notna().all() else "conversion_"
        return shown.loc[:, ~shown.columns.str.startswith(twice)]


def diagnose_funnel(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str = "",
    as_of: Any,
    by: str | Sequence[str] | None = None,
    order: Order = "ordered",
    exclude: Sequence[Any] = (),
    optional: Sequence[int] = (),
    hold: Sequence[str] = (),
    competing: Any = None,
    correct_for_loss: pd.DataFrame | None = None,
) -> Funnel:
    """Count how many users reach each step of a funnel, how fast, and where they stop.

    Users whose window is still open count for as long as they were seen, not as failures.

    Parameters
    ----------
    log, steps : EventLog, list of str, list of str, or Step
        Accounts (``log.accounts``) widen the intervals; two steps or more, a list means any of its.
    window : str
        Time from step 1 for all steps, its end included; default: the last one's in the plan.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    by : str or list of str, optional
        Columns that split the users, read at the entry of the attempt.
    order : {"ordered", "strict", "unordered"}
        Others may lie between steps; may not; step k means any k of the steps.
    exclude, optional, hold : list, optional
        Exclusions, numbers of steps that may be skipped, columns that must stay equal along an
        attempt: see `eventlog.walk.walk_funnel`.
    competing : str, list of str or Step, optional
        Event by which users leave, ending the wait. A step of the same moment comes first.
    correct_for_loss : DataFrame, optional
        `Audit.verdicts`: what tracking lost is put back, in ``corrected``.

    Returns
    -------
    Funnel
        ``steps``, ``times``, ``checks``, ``corrected`` (columns: see `Funnel`), ``caveats``.

    Raises
    ------
    ParameterError
        Fewer than two steps, a first step that nobody does, an exit that is also a step.

    Notes
    -----
    Kaplan-Meier, or Aalen-Johansen with an exit, as far as it may be read (`stats.incidence`,
    `supported_until`); Wilson's interval on the effective size, or by account (`rates.step_rows`).

    Examples
    --------
    >>> steps = ["signed_up", "profile_completed"]
    >>> diagnose_funnel(log, steps, window="5d", as_of="2026-01-31").steps["step"].tolist()
    [1, 2]
    """
    matchers, exclusions, skipped, leave = read_question(
        log, steps, order=order, exclude=exclude, optional=optional, competing=competing
    )
    as_timestamp(as_of)  # a log would read None as its last event
    end = log.as_of(as_of)
    window_us = window_of(matchers, window)
    rule = Rule(
        n_steps=len(matchers),
        window=window_us,
        order=order,
        exclude=tuple((e.after, e.before) for e in exclusions),
        optional=tuple(skipped),
        hold=tuple(as_columns(hold)),
        competing=leave is not None,
        shared=shared_steps(matchers),
        unit=1 if log.small and window_us < LONGEST_EXACT else _unit(window_us),
        by=tuple(log.columns(by)),
        accounts=tuple(log.accounts),
    )
    events = [*matchers, *(e.step for e in exclusions), *([leave] if leave else [])]
    others = [Step(ANY)] if order == "strict" else []
    columns = list(dict.fromkeys([*rule.by, *rule.hold, *rule.accounts]))
    kernel = partial(count_funnel, rule=rule)
    tables = log.reduce(kernel, events=[*events, *others], by=columns, as_of=as_of)
    if not tables["passed"]["n_reached"].any():
        excluded = narrative.Checks(tables["checks"]).n("excluded", len(exclusions))
        if not excluded:
            _refuse_empty(log, matchers, order, day(end))
    missing = log.missing_events(events)
    asked = narrative.Asked(matchers, exclusions, leave, missing, day(end))
    answer = _answer(tables, rule, asked, log.caveats(as_of))
    if correct_for_loss is None:
        return answer
    matched = [*events, *others]
    told, left = corrected_table(log, matchers, matched, rule, correct_for_loss, as_of)
    details = (*answer.details, *narrative.corrected(told))
    return replace(answer, corrected=told, details=details, caveats=(*answer.caveats, *left))


def read_question(
    log: EventLog,
    steps: Sequence[Any],
    *,
    order: Order = "ordered",
    exclude: Sequence[Any] = (),
    optional: Sequence[int] = (),
    competing: Any = None,
) -> tuple[list[Step], list[Exclusion], list[int], Step | None]:
    """The steps, exclusions, steps to skip and exit of a question.

    Raises ParameterError: they do not go together, or one is misspelt.
    """
    matchers = log.steps(steps, any_order=order == "unordered")
    exclusions = [as_exclusion(e, log.meanings) for e in _list("exclude", exclude, "exclusions")]
    skipped = _list("optional", optional, "step numbers")
    leave = None if competing is None else log.step(competing, "competing")
    _check_order(order, matchers, skipped)
    _check_numbers(exclusions, skipped, len(matchers), order)
    check_exit(matchers, leave)
    refuse_misspelt("exclude", log.missing_events([each.step for each in exclusions]))
    refuse_misspelt("competing", log.missing_events([leave] if leave else []))
    return matchers, exclusions, skipped, leave


def _answer(
    tables: dict[str, pd.DataFrame], rule: Rule, asked: narrative.Asked, said: tuple[str, ...]
) -> Funnel:
    groups = _groups(tables["passed"], rule, asked)
    tables = {name: _told(table, groups) for name, table in tables.items()}
    everyone = Counts.of(tables, rule)
    labels = [step.label for step in asked.steps]
    if rule.order == "unordered":
        labels = [f"any {k} of {rule.n_steps}" for k in range(1, rule.n_steps + 1)]
    rows = step_rows(everyone, "all", labels, rule)
    times = curves(everyone, rows, rule)
    parts = by_segment(tables, rule) if rule.by else {}
    stand_in = correlations(rows, everyone.clusters)
    for segment, counts in parts.items():
        rows += step_rows(counts, segment, labels, rule, stand_in)
    steps = against_others(pd.DataFrame(rows))[STEP_COLUMNS]
    checks = narrative.Checks(tables["checks"])
    told = narrative.Told(asked, {"all": everyone} | parts, steps, checks, rule)
    return Funnel(
        steps=steps,
        times=times,
        checks=narrative.checks_table(told),
        target_rate=goal.rate if (goal := narrative_first.aim(asked.steps, rule.window)) else None,
        corrected=pd.DataFrame(columns=COLUMNS),
        **narrative_first.read_first(told),
        details=(narrative.finding(told),),
        rule=narrative.rule(told),
        caveats=(*said, *told_together(groups.names, MIN_USERS), *narrative.caveats(told)),
        groups=(groups,),
    )


def _groups(passed: pd.DataFrame, rule: Rule, asked: narrative.Asked) -> Groups:
    """The segments, by their first entries."""
    first = passed[passed["step"] == 1]
    entered = first["n_closed"] + first["n_open"]
    unlike = [e.step.label for e in asked.exclusions]  # and what else leaves some of them out
    unlike += [rule.order] if rule.order != "ordered" else []
    population = ", ".join([f"users with {asked.steps[0].label} up to {asked.day}", *unlike])
    if not rule.by:
        return Groups.whole(population, entered.sum())
    key = " · ".join(rule.by)
    sizes = entered.groupby(first["segment"]).sum()
    names = together(sizes, key)
    if "all" in sizes.index:  # that is the name of everyone
        names = {"all": f"all ({key})"} | names
    return Groups(population, key, sizes, names)


def _told(table: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """The counts under the names of groups that are told together."""
    if not groups.names or "segment" not in table:
        return table
    return add_up([table.assign(segment=table["segment"].replace(groups.names))])


def _unit(window: int) -> int:
    """Resolution of durations in large logs, microseconds: about a 2,000th of the window.

    The largest of `UNITS` not above it (14 days: 5 minutes), so that counts of any number of users
    stay small and add up.
    """
    fine = [unit for unit in UNITS if unit * 2e9 <= window]
    return max(fine, default=UNITS[0]) * SECOND_US


def _list(name: str, given: Any, what: str) -> list[Any]:
    if isinstance(given, (str, Mapping)) or not isinstance(given, Collection):
        raise ParameterError(f"{name}: {given!r} is not a list; give a list of {what}.")
    return list(given)


def _check_order(order: str, steps: Sequence[Step], optional: Sequence[int]) -> None:
    one_of("order", order, get_args(Order))
    if order != "unordered":
        return
    if optional:
        raise ParameterError('optional: steps cannot be optional when order is "unordered".')
    for a, b in combinations(steps, 2):
        if a != b and may_meet(a, b):
            raise ParameterError(
                f'steps: one event could be both "{a.label}" and "{b.label}"; '
                'with order "unordered" two steps must be the same or never meet.'
            )


def _check_numbers(
    exclude: Sequence[Exclusion], optional: Sequence[int], n: int, order: Order
) -> None:
    whole = (int, np.integer)
    for e in exclude:
        numbers = isinstance(e.after, whole) and isinstance(e.before, whole)
        if not numbers or not 1 <= e.after < e.before <= n:
            raise ParameterError(
                f'exclude: "{e.step.label}" lies after step {e.after} and before step {e.before}; '
                f"with {n} steps it must hold that 1 <= after < before <= {n}."
            )
        if order == "unordered" and (e.after, e.before) != (1, n):
            raise ParameterError(
                f'exclude: with order "unordered" steps have no place of their own; give "after" 1 '
                f'and "before" {n} for "{e.step.label}".'
            )
    for k in optional:
        if not isinstance(k, whole) or not 2 <= k <= n:
            raise ParameterError(
                f"optional: step {k} cannot be optional; step 1 never can, and there are {n} steps."
            )


def _refuse_empty(log: EventLog, steps: Sequence[Step], order: Order, until: str) -> None:
    """Raise ParameterError: nobody enters, and why."""
    if order == "unordered":
        why = "".join(f" The {sentence}" for sentence in log.missing_events(steps))
        raise ParameterError(f"steps: nobody did any of them up to {until}.{why}")
    first = steps[0]
    if first.filtered and log.counts(events=[first]).empty:
        raise ParameterError(narrative.filter_meets_nothing(first, log.event_names))
    raise ParameterError(f"steps: nobody did step 1 ({first.label}) up to {until}.")
