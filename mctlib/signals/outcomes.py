"""What a micro-conversion may be a signal of: renewal, leaving, upsell, revenue, a later event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import ParameterError, as_window, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import lines_of
from mctlib.eventlog.steps import Step
from mctlib.phrases import period_name, window
from mctlib.tracking_plan.plan import Plan


class Known(NamedTuple):
    """What people's table knows of users, who ascend: moments in microseconds, or amounts."""

    user: NDArray[np.int64]
    value: NDArray[Any]

    def of(self, users: NDArray[Any], otherwise: Any) -> NDArray[Any]:
        """The values of some users."""
        line = lines_of(users, self.user)
        return np.where(line >= 0, np.r_[self.value, otherwise][line], otherwise)


class People(NamedTuple):
    """An outcome that people's table holds, in words."""

    column: str
    done: str  # "users who ..."
    noun: str  # "... as many"
    wanted: bool = True


PEOPLE = {
    "renewed": People("renewed_at", "renew", "renewals"),
    "upsold": People("upsold_at", "are upsold", "upsells"),
    "churned": People("churned_at", "leave", "cancellations", wanted=False),
    "revenue": People("revenue", "bring", "revenue"),
}
RETURNS = ("returns", "period", "in_period")
OWN = ("outcome", "horizon")  # of one that is followed up in its own time


@dataclass(frozen=True)
class Outcome:
    """What comes after the landmark: when it counts, and how it is called.

    Attributes
    ----------
    name, done, noun : str
        In tables; in "users who ..."; in "3.0 times as many ...".
    begin, until : int
        Microseconds after the start between which it counts; 0: from the landmark on.
    step, known : Step or None, Known or None
        The event that it is, or what people's table knows.
    wanted, amount : bool
        Whether more of it is better; whether it is money.
    """

    name: str
    done: str
    noun: str
    until: int
    begin: int = 0
    step: Step | None = None
    known: Known | None = field(default=None, compare=False)
    wanted: bool = True
    amount: bool = False

    @property
    def once(self) -> bool:
        """Whether who had it by the landmark is no longer at risk of it."""
        return not self.begin and not self.amount

    @property
    def before(self) -> int:
        """A landmark lies before this time after the start, so that something can come later."""
        return self.begin + 1 if self.begin else self.until

    @property
    def rule(self) -> str:
        """When it counts, in words."""
        if self.amount:
            return "all revenue known of them"
        if self.begin:
            return f"{self.name}, from {window(self.begin)} to {window(self.until)} after it"
        return f"{self.name}, to {window(self.until)} after it"


def read_outcome(log: EventLog, outcome: Any, horizon: str, plan: Plan | None) -> Outcome:
    """An outcome as it is asked for; see `signal_value`.

    Raises ParameterError: it is none, or nothing in the data says it.
    """
    if isinstance(outcome, Mapping) and "returns" in outcome:
        return _returns(log, outcome)
    if isinstance(outcome, Mapping) and "outcome" in outcome:
        _only(outcome, OWN)
        return read_outcome(log, outcome["outcome"], outcome.get("horizon", horizon), plan)
    until = as_window(horizon, "horizon")
    name = str(outcome).removesuffix("_at")
    if isinstance(outcome, str) and name in PEOPLE and outcome not in log.event_names:
        return _of_people(log, name, until)
    step = log.step(outcome, "outcome")
    missing = log.missing_events([step])
    if missing:
        near = nearest(str(outcome), PEOPLE) or f" People may know {', '.join(PEOPLE)}."
        raise ParameterError(f"outcome: {missing[0]}{near}")
    planned = plan.micro_conversions.get(step.name) if plan else None
    noun = f"users with “{step.label}”"
    return Outcome(
        step.label,
        f"have “{step.label}”",
        noun,
        until,
        step=step,
        wanted=not (planned and planned.bad == "up"),
    )


def read_outcomes(log: EventLog, given: Any, horizon: str, plan: Plan | None) -> list[Outcome]:
    """One outcome or several, each once; ParameterError: there is none, or see `read_outcome`."""
    several = given if isinstance(given, (list, tuple)) else [given]
    read = [read_outcome(log, each, horizon, plan) for each in several]
    if not read:
        raise ParameterError(f"outcome: name one, such as {', '.join(PEOPLE)}, or an event.")
    first: dict[str, Outcome] = {}
    for outcome in read:
        first.setdefault(outcome.name, outcome)
    return list(first.values())


def _of_people(log: EventLog, name: str, until: int) -> Outcome:
    column, done, noun, wanted = PEOPLE[name]
    known = known_of(log, column)
    if known is None:
        raise ParameterError(
            f'outcome: of nobody is "{column}" known; map it in the data YAML under people, or '
            "name an event."
        )
    amount = column == "revenue"
    return Outcome(name, done, noun, until, known=known, wanted=wanted, amount=amount)


def known_of(log: EventLog, column: str) -> Known | None:
    """What people's table knows of a column; None where it is empty."""
    people = log.table("people", ("user", column))
    if column not in people or not people[column].notna().any():
        return None
    rows = people[people[column].notna()].sort_values("user")
    values = rows[column]
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.tz_localize(None).astype("datetime64[us]").astype("int64")
    return Known(rows["user"].to_numpy(np.int64), values.to_numpy())


def _returns(log: EventLog, asked: Mapping[str, Any]) -> Outcome:
    """Active again in one period after the start."""
    _only(asked, RETURNS)
    step = log.step(asked["returns"], "outcome")
    if missing := log.missing_events([step]):
        raise ParameterError(f"outcome: {missing[0]}")
    period, k = as_window(asked.get("period", "1w"), "outcome: period"), asked.get("in_period", 4)
    if type(k) is not int or k < 1:
        raise ParameterError(f"outcome: in_period is {k!r}; write the number of a period, from 1.")
    name = f"{step.label} in {period_name(period, k)}"
    done = f"come back in {period_name(period, k)}"
    noun = f"users in {period_name(period, k)}"
    return Outcome(name, done, noun, (k + 1) * period, begin=k * period, step=step)


def _only(asked: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in asked:
        if key not in known:
            near = nearest(str(key), known)
            raise ParameterError(f'outcome: "{key}" is not one of {", ".join(known)}.{near}')
