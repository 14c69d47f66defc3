"""Which micro-conversions are asked about: a plan's or a list's, each with its landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mctlib.contract import ParameterError, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import MATCHERS, Step, may_meet
from mctlib.phrases import listed, window
from mctlib.signals.outcomes import Outcome
from mctlib.tracking_plan.plan import Plan
from mctlib.tracking_plan.reading import read_plan

USUAL = "7d"  # landmark of a micro-conversion of which no plan says a `within`
OTHERS = ("7d", "14d", "30d")  # further landmarks, to see whether the answer holds
ROLES = 4  # start, exit, outcome and any event are matchers too


@dataclass(frozen=True)
class Candidate:
    """A micro-conversion that may be a signal.

    ``landmarks``: microseconds after the start; by the first it is judged, the others show whether
    the answer hangs on it. ``planned``: whether a plan says the first.
    """

    step: Step
    landmarks: tuple[int, ...]
    planned: bool = False
    owner: str = ""
    priority: int | None = None

    @property
    def label(self) -> str:
        """As people read it."""
        return self.step.label


def plan_of(log: EventLog, plan_or_events: Any = None) -> Plan | None:
    """The plan that is given, or the log's own; None where there is none."""
    if isinstance(plan_or_events, Plan):
        return plan_or_events
    return read_plan(log.plan) if log.plan else None


def read_candidates(
    log: EventLog, plan_or_events: Any, landmark: Any, plan: Plan | None, outcome: Outcome
) -> tuple[list[Candidate], list[str]]:
    """The candidates, and sentences about those that are left out.

    Landmarks must lie before the outcome's time is over, of a return before its period. Raises
    ParameterError: nothing is left, or a landmark does not.
    """
    until, end = outcome.before, window(outcome.begin or outcome.until)
    given = None if isinstance(plan_or_events, Plan) else plan_or_events
    if given is None:
        asked = list(plan.meanings().values()) if plan else _most_used(log)
    else:
        asked = [log.step(e, "plan_or_events") for e in _as_list(given)]
    fixed = [as_window(each, "landmark") for each in _as_list(landmark or ())]
    if late := [us for us in fixed if us >= until]:
        raise ParameterError(
            f"landmark: {window(late[0])} is not before the end of the outcome, {end}."
            if not outcome.begin
            else f"landmark: {window(late[0])} is after the outcome's period begins, {end}."
        )
    found, late_ones = [], []
    missing = log.missing_events(asked)
    for k, step in enumerate(asked):
        if step not in asked[:k] and step.names and not log.missing_events([step]):
            each = _candidate(step, plan, fixed, until)
            if each.landmarks[0] < until:
                found.append(each)
            else:
                late_ones.append(f"“{step.label}” ({window(each.landmarks[0])})")
    sentences = [f"The {sentence}" for sentence in missing]
    if late_ones:
        sentences.append(
            f"Not asked about, for their own time is not over before {end}, when the "
            f"outcome's is: {listed(late_ones)}."
        )
    if not found:
        raise ParameterError(" ".join(["plan_or_events: no micro-conversion is left.", *sentences]))
    return found, sentences


def _candidate(step: Step, plan: Plan | None, fixed: Sequence[int], until: int) -> Candidate:
    own = [as_window(step.within)] if step.within else []
    first = fixed or own or [as_window(USUAL)]
    others = () if fixed else tuple(as_window(each) for each in OTHERS)
    landmarks = tuple(dict.fromkeys([*first, *(us for us in others if us < until)]))
    planned = plan.micro_conversions.get(step.name) if plan else None
    owner, priority = (planned.owner, planned.priority) if planned else ("", None)
    return Candidate(step, landmarks, bool(own) and not fixed, owner, priority)


def apart(
    candidates: Sequence[Candidate], taken: Sequence[Step]
) -> tuple[list[Candidate], list[str]]:
    """Candidates that are none of the start, the exit and the outcome; a sentence on the others.

    Raises ParameterError: none is left, or more than a walk has room for.
    """
    kept = [c for c in candidates if not any(may_meet(c.step, other) for other in taken)]
    left = [f"“{c.label}”" for c in candidates if c not in kept]
    if not kept:
        raise ParameterError(
            f"plan_or_events: {listed(left)} cannot be a signal: the start, the exit or the "
            "outcome is the same event."
        )
    if len(kept) > MATCHERS - ROLES:
        raise ParameterError(
            f"plan_or_events: {len(kept)} micro-conversions are asked about at once; "
            f"{MATCHERS - ROLES} is the most."
        )
    return kept, [f"No signal, being the start, the exit or the outcome: {listed(left)}."] * bool(
        left
    )


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _most_used(log: EventLog) -> list[Step]:
    """Of a log without a plan: the events of most users."""
    known = log.describe().sort_values("n_users", ascending=False, kind="stable")["event"]
    return [log.step(name) for name in known[: MATCHERS - ROLES]]
