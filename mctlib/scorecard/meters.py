"""Which numbers a scorecard follows: the plan's metrics, then its micro-conversions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import ANY, MATCHERS, Step, as_step
from mctlib.tracking_plan.plan import Metric, MicroConversion, Plan, Role, Threshold, in_words

MOST_ALERTED = 12  # totals, so that the false alarms of a year stay few
ANALYST, COLLECTOR, COORDINATOR = "analyst", "data_collector", "response_coordinator"


@dataclass(frozen=True, kw_only=True)
class Meter:
    """A weekly number.

    kind: rate (users of ``of`` among the active or those of ``per``), ratio (events of both), count
    (users), mean (of the property ``number``) · key: on the board of every channel · watched: it
    alerts · micro: the micro-conversion that it is of, "" for none.
    """

    name: str
    label: str
    kind: str
    of: Step
    per: Step | None = None
    number: str = ""
    micro: str = ""
    owner: str = ""
    acts: str = ANALYST
    exposed: Any = False
    bad: str = "down"
    threshold: Threshold = field(default_factory=Threshold)
    key: bool = False
    watched: bool = False

    @property
    def names(self) -> set[str]:
        """What a timeline or a response log may call it."""
        return {self.name, self.micro, *self.of.all_names} - {""}


@dataclass(frozen=True)
class Meters:
    """All of them; what an active user does; what could not be followed, in sentences."""

    all: list[Meter]
    active: Step
    plan: Plan
    left_out: list[str]

    @property
    def watched(self) -> list[Meter]:
        """Those that alert."""
        return [meter for meter in self.all if meter.watched]

    def role(self, name: str) -> str:
        """A role in people's words."""
        return self.plan.roles.get(name, Role()).label or in_words(name)

    def follows(self, meter: Meter) -> set[str]:
        """Micro-conversions that cannot be without this one, and so fall with it."""
        found = {meter.micro} - {""}
        while True:
            micros = self.plan.micro_conversions.items()
            more = {n for n, each in micros if found & set(_words(each.implies))} - found
            if not more:
                return found
            found |= more


def _words(events: Iterable[Any]) -> list[str]:
    return [name for event in events for name in as_step(event).names]


def plan_of_events(log: EventLog) -> Plan:
    """A plan in which every event is a micro-conversion, the most frequent first."""
    names = log.describe()["event"].tolist()
    return Plan.model_validate({"micro_conversions": dict.fromkeys(names)})


def meters_of(log: EventLog, plan: Plan) -> Meters:
    """The plan's numbers, as far as the log holds their events."""
    words = plan.meanings()
    active = as_step(plan.active, "active", words) if plan.active else Step(ANY)
    if plan.active and log.missing_events([active]):
        active = Step(ANY)
    found: list[Meter] = []
    left_out = []
    for name, metric in plan.metrics.items():
        meter = _of_metric(plan, name, metric, words)
        if log.missing_events([meter.of, *([meter.per] if meter.per else [])]):
            left_out.append(f"“{meter.label}” is not shown: its events do not occur.")
        else:
            found.append(meter)
    told = [meter.of for meter in found if meter.kind == "rate" and meter.per is None]
    for name, each in plan.micro_conversions.items():
        step = words[name]
        known = name in plan.metrics or any(_same(step, other) for other in (*told, active))
        if not known and not log.missing_events([step]):
            found.append(_of_micro(name, each, step))
    room = MATCHERS - 1
    if sum(1 + bool(meter.per) for meter in found) > room:
        found = sorted(found, key=lambda meter: not meter.key)
        while sum(1 + bool(meter.per) for meter in found) > room:
            found.pop()
        left_out.append(f"Only the first {len(found)} numbers of the plan are followed.")
    return Meters(_watched(found, left_out), active, plan, left_out)


def _watched(found: Sequence[Meter], left_out: list[str]) -> list[Meter]:
    """Those that alert: the plan's alert: true and priority 1, of a plan without either all."""
    may = [meter.key and meter.kind != "count" for meter in found]
    if not any(may):
        may = [meter.kind != "count" for meter in found]
    chosen, n = [], 0
    for meter, alerts in zip(found, may):
        n += alerts
        chosen.append(replace(meter, watched=alerts and n <= MOST_ALERTED))
    if n > MOST_ALERTED:
        left_out.append(f"{n} numbers ask for alerts; the first {MOST_ALERTED} of the plan do.")
    return chosen


def _same(one: Step, other: Step) -> bool:
    """Whether the same rows count."""
    wheres = [[part.where for part in step.parts] for step in (one, other)]
    return one.names == other.names and wheres[0] == wheres[1]


def _of_metric(plan: Plan, name: str, metric: Metric, words: Mapping[str, Step]) -> Meter:
    """A metric; what it leaves open is as its micro-conversion has it, filtered or not."""
    of, micros = as_step(metric.of, "event", words), plan.micro_conversions
    of_event = [name for name in micros if words[name].names == of.names]
    same = [name for name in of_event if _same(words[name], of)]
    micro = next(iter([*same, *of_event]), "")
    each = micros.get(micro)
    own = metric.model_fields_set
    return Meter(
        name=name,
        label=metric.label or in_words(name),
        kind=metric.kind,
        of=of,
        per=as_step(metric.per, "event", words) if metric.per not in ("", "active") else None,
        number=metric.property,
        micro=micro,
        bad=each.bad if each and "bad" not in own else metric.bad,
        threshold=each.threshold if each and "threshold" not in own else metric.threshold,
        key=metric.alert,
        **_whose(each),
    )


def _of_micro(name: str, each: MicroConversion, step: Step) -> Meter:
    return Meter(
        name=name,
        label=each.label,
        kind="rate",
        of=step,
        micro=name,
        bad=each.bad,
        threshold=each.threshold,
        key=each.priority == 1,
        **_whose(each),
    )


def _whose(each: MicroConversion | None) -> dict[str, Any]:
    if each is None:
        return {}
    return {"owner": each.owner, "acts": each.acts or ANALYST, "exposed": each.exposed}
