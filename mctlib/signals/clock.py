"""Whose time is looked at: from their start, until they left, in which columns made alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from mctlib.contract import Binned, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import count_accounts
from mctlib.eventlog.steps import Step
from mctlib.signals.counts import Group, Landmarks, count_landmarks
from mctlib.signals.outcomes import PEOPLE, Known, Outcome, known_of
from mctlib.tracking_plan.plan import Plan

MOST_VALUES = 50  # of numbers in which users are made alike; beyond, bands of them are wanted
UNLIKE = (
    "Activity could not be made alike: the tracking plan names no `active`, and there is no event "
    "that is not asked about."
)


@dataclass(frozen=True)
class Clock:
    """Where users' time begins, what means leaving or being active, what makes users alike."""

    start: Step
    leave: Step | None
    left: Known | None
    active: Step | None
    adjust: tuple[str, ...]
    accounts: tuple[str, ...]

    @property
    def steps(self) -> list[Step]:
        """The events that can be no signal."""
        return [self.start, *([self.leave] if self.leave else [])]


@dataclass(frozen=True)
class Reach:
    """How many users began, whose time is not over, who left by the first landmark; accounts."""

    n_users: int
    n_pending: int
    n_left: int
    n_accounts: float

    @classmethod
    def of(cls, counts: dict[str, pd.DataFrame]) -> Reach:
        """From the tables of `count_landmarks`."""
        n_users, n_pending, n_left = map(int, counts["started"].iloc[0])
        return cls(n_users, n_pending, n_left, count_accounts(counts["accounts"]))


def read_clock(log: EventLog, start: Any, leave: Any, adjust: Any, plan: Plan | None) -> Clock:
    """The clock that is asked for; the plan's start where none is.

    Raises ParameterError: an event or column that is not there, no start, one that means leaving.
    """
    given = start or (plan.start if plan else "")
    if not given:
        raise ParameterError('start: say where users\' time begins, such as start="signed_up".')
    steps = [log.step(given, "start")]
    if leave not in (None, ""):
        steps.append(log.step(leave, "competing"))
    for step, role in zip(steps, ("start", "competing")):
        if missing := log.missing_events([step]):
            raise ParameterError(f"{role}: {missing[0]}")
    if len(steps) > 1 and steps[1].parts == steps[0].parts:
        raise ParameterError(
            f"competing: users' time begins with “{steps[0].label}”; it cannot mean leaving too."
        )
    columns = _columns(log, adjust)
    exit_step = steps[1] if len(steps) > 1 else None
    left = known_of(log, "churned_at")
    active = log.step(list(plan.active), "active") if plan and plan.active else None
    return Clock(steps[0], exit_step, left, active, tuple(columns), tuple(log.accounts))


def after_start(clock: Clock, outcome: Outcome) -> None:
    """Raise ParameterError where an outcome is the start, which nobody has again."""
    if outcome.step and not outcome.begin and outcome.step.parts == clock.start.parts:
        raise ParameterError(
            f"outcome: users' time begins with “{outcome.step.label}”; name what comes after it."
        )


def _columns(log: EventLog, adjust: Any) -> list[str]:
    """The columns in which users are made alike; raises ParameterError: one cannot be that."""
    for given in adjust if isinstance(adjust, (list, tuple)) else [adjust]:
        if not (given is None or isinstance(given, (str, Mapping))):
            raise ParameterError(
                f"adjust: {given!r} is no column; write names such as channel, or bands of numbers "
                "such as {seats: [1, 10, 50]}."
            )
    columns = list(dict.fromkeys(log.columns(adjust)))
    for column in columns:
        if column.removeprefix("people.") in {each.column for each in PEOPLE.values()}:
            raise ParameterError(
                f'adjust: "{column}" says what became of users; make them alike in what was so '
                "before, such as channel or plan."
            )
        log.segments(column)
    return columns


def too_many(log: EventLog, clock: Clock) -> list[str]:
    """What is to be said of columns of so many numbers that hardly two users share one."""
    said = []
    for column in clock.adjust:
        values = pd.to_numeric(pd.Series(log.segments(column), dtype=object), errors="coerce")
        if values.notna().sum() > MOST_VALUES and not isinstance(column, Binned):
            said.append(
                f'"{column}" has {values.notna().sum():,} values, which make nobody alike; write '
                f"bands of it, such as {{{column}: [1, 10, 50]}}."
            )
    return said


def active_step(
    log: EventLog, clock: Clock, outcome: Outcome, signals: Sequence[Step]
) -> Step | None:
    """What an active user does: as the plan says, else whatever nothing is asked about.

    Not what is asked about: of users who were as active by then, those with one micro-conversion
    have less of another, and would look worse for it. None where nothing is left.
    """
    if clock.active:
        return clock.active
    asked = [*clock.steps, *signals, *filter(None, [outcome.step])]
    taken = {name for step in asked for name in step.names}
    others = [{"event": name} for name in log.event_names if name not in taken]
    return log.step(others) if others else None


def not_alike(
    log: EventLog, clock: Clock, outcome: Outcome, signals: Sequence[Step]
) -> tuple[str, ...]:
    """What is to be said where users' activity cannot be made alike."""
    return () if active_step(log, clock, outcome, signals) else (UNLIKE,)


def count(
    log: EventLog,
    clock: Clock,
    outcome: Outcome,
    signals: Sequence[Step],
    groups: Sequence[Group],
    *,
    as_of: Any,
    within: Sequence[int] = (),
    kernel: Callable[..., dict[str, pd.DataFrame]] = count_landmarks,
) -> dict[str, pd.DataFrame]:
    """The tables of `count_landmarks`, or of another kernel of `counts`."""
    events = [clock.start, *signals]
    bits = []
    for step in (clock.leave, outcome.step, active_step(log, clock, outcome, signals)):
        bits.append(1 << len(events) if step else 0)
        events += [step] if step else []
    ask = Landmarks(
        outcome=outcome,
        groups=groups,
        within=within,
        n_signals=len(signals),
        by=clock.adjust,
        accounts=clock.accounts,
        left=clock.left,
        bits=(bits[0], bits[1], bits[2]),
    )
    by = [*clock.adjust, *clock.accounts]
    return log.reduce(partial(kernel, ask=ask), events=events, by=by, as_of=as_of)
