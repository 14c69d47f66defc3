"""Can the tracking be trusted: `audit_events`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib.audit import narrative, narrative_first
from mctlib.audit.answers import answers_table, respondents_table
from mctlib.audit.counting import count_all, day_steps, heard, known_columns, read_question
from mctlib.audit.drift import drift_table
from mctlib.audit.identity import clocks_table, identity_table
from mctlib.audit.narrative import Told
from mctlib.audit.partners import (
    aliases_of,
    by_hand_table,
    conflicts_table,
    mending,
    partners_table,
)
from mctlib.audit.plan_kept import presence_table, violations_table
from mctlib.audit.verdicts import (
    CORRECTABLE,
    NOTHING,
    Said,
    completeness_table,
    joined,
    judged,
    verdicts_table,
    week_day,
)
from mctlib.audit.volumes import curve_table, duplicates_table, in_order_of_release, outages
from mctlib.contract import ParameterError, as_timestamp, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.late_start import count_days
from mctlib.eventlog.steps import ANY, MATCHERS, Step
from mctlib.eventlog.vocabulary import PAYLOAD
from mctlib.results import Result
from mctlib.tracking_plan.plan import Plan
from mctlib.tracking_plan.reading import as_plan, read_plan

MOST = MATCHERS - 2  # micro-conversions that are audited at once


@dataclass(frozen=True, kw_only=True, repr=False)
class Audit(Result):
    """Answer of `audit_events`. ± : with ``_ci_lower`` and ``_ci_upper`` (95 %).

    ``verdicts``: one row a micro-conversion, or one a stretch in which a platform lost some of it.

    =================== ==== =======================================================================
    micro_conversion         the plan's name
    platform                 all, or where it is lost
    verdict                  trusted, correctable, not to be used, too few to say
    witness                  back end, implied; "" where nothing shows what should be there
    n_users, n_checked       users and records of the witness
    completeness_rate ± 0-1  share of them whose event is there, delays allowed for
    app_version              the first version that loses, where versions tell it from others
    since, until             first day of the week in which that began, and ended; "" not dated
    until_version            the version that ended it
    correction_ratio ±  x    by which the number is too low there
    moves_rate          0-1  what is missing of the whole number in that time, below 0
    owner                    team and role of the plan
    =================== ==== =======================================================================

    ``completeness``: micro_conversion, witness, platform, app_version, week (each "all" too),
    n_users, n_checked, n_tracked, completeness_rate ±. ``delays``: `delays.Delays`.
    ``duplicates``: platform, app_version ("all" first), n_users, n_events, n_doubled, n_mixed (its
    twin came from another platform or version), doubled_rate ±, since. ``curve``: platform,
    seconds, n_events, doubled_rate within them. ``violations``, ``presence``: `plan_kept`.
    ``answers``, ``respondents``: `answers`. ``identity``, ``clocks``: `identity`. ``outages``:
    micro_conversion, day, n_days, n_expected. ``partners``, ``conflicts``, ``by_hand``: `partners`.
    ``drift``: event, property, drift (appeared, vanished, changed type), since, type_before,
    type_after, n_users, n_before, before_rate, n_after, after_rate: in the last 56 days.
    ``unknown``: micro_conversion, n_users, n_events, n_alone: events of which the server has no
    record. ``labels``: of the micro-conversions. ``aliases``: names
    of partners as they are written -> the partner meant; ``mending``: they and those that are there
    as lines of the data YAML.
    """

    verdicts: pd.DataFrame
    completeness: pd.DataFrame
    delays: pd.DataFrame
    duplicates: pd.DataFrame
    curve: pd.DataFrame
    violations: pd.DataFrame
    presence: pd.DataFrame
    answers: pd.DataFrame
    respondents: pd.DataFrame
    identity: pd.DataFrame
    clocks: pd.DataFrame
    outages: pd.DataFrame
    drift: pd.DataFrame
    partners: pd.DataFrame
    conflicts: pd.DataFrame
    by_hand: pd.DataFrame
    unknown: pd.DataFrame
    labels: Mapping[str, str]
    aliases: Mapping[str, str]
    mending: str

    main: ClassVar[str] = "verdicts"
    first: ClassVar[tuple[str, ...]] = (
        *("micro_conversion", "platform", "verdict", "n_users", "completeness_rate"),
        *("completeness_rate_ci_lower", "completeness_rate_ci_upper", "since", "owner"),
    )

    def shown(self, name: str) -> pd.DataFrame:
        """A table with the micro-conversions' labels, as people read it."""
        table = self.tables[name]
        return table.assign(micro_conversion=table["micro_conversion"].replace(dict(self.labels)))


def audit_events(log: EventLog, plan: Plan | None = None, *, as_of: Any, seed: int = 1) -> Audit:
    """Hold events against three witnesses of what really happened, and against their plan.

    The server's own records, later events that cannot be without an earlier one, and people's
    answers stand side by side; the first of them with 30 records decides, answers never do.

    Parameters
    ----------
    log : EventLog
        Events; ``backend``, ``surveys``, ``people`` and ``spend`` where there are any.
    plan : Plan, optional
        The tracking plan, else the dataset's own; without one every event is a micro-conversion
        that nothing implies.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    seed : int
        Of the bootstrap that dates a change.

    Returns
    -------
    Audit
        ``verdicts`` and what is behind them (columns: see `Audit`).

    Raises
    ------
    ParameterError
        More than 62 micro-conversions, a log in Spark, an ``as_of`` before the first event.

    Notes
    -----
    Completeness is one along weeks or versions but for changes that a parametric bootstrap is sure
    of (`stats.change_point`, p <= .01); intervals are as wide as cells and users vary. Young days
    are divided by the share that has arrived by their age (`stats.arrived`, the chain ladder).

    Examples
    --------
    >>> audit_events(log, as_of="2026-01-31").verdicts["verdict"].unique().tolist()
    ['too few to say']
    """
    as_timestamp(as_of)  # a log would read None as its last event
    if plan is None:
        plan = read_plan(log.plan) if log.plan else _no_plan(log)
    names, steps = list(plan.micro_conversions), list(plan.meanings().values())
    if len(names) > MOST:
        raise ParameterError(f"plan: {len(names)} micro-conversions; {MOST} is the most at once.")
    until = log.as_of(as_of)
    days = count_days(log, until)
    asked, delays = read_question(log, steps, plan, until, days)
    counts = log.reduce(
        partial(count_all, asked=asked),
        events=[*steps, Step(ANY), *day_steps(log)],
        by=known_columns(log, asked),
        values=PAYLOAD,
        as_of=as_of,
    )
    said, unheard = heard(log, asked, counts)
    releases = in_order_of_release(counts["events"])
    found = judged(said, releases, seed)
    implying = [s for s, each in zip(steps, plan.micro_conversions.values()) if each.implies]
    later = [event for step in implying for event in step.names if event in log.event_names]
    told_of = joined(said)
    tables = {
        "verdicts": verdicts_table([*_rows(found, plan)]),
        "completeness": completeness_table(told_of, names),
        "delays": delays.table,
        "duplicates": duplicates_table(counts["events"], counts["users"], releases, seed),
        "curve": curve_table(counts["events"], counts["gaps"]),
        "violations": violations_table(log, plan, steps, until, counts["extra"]),
        "presence": presence_table(counts["events"], counts["users"], plan, names),
        "answers": answers_table(told_of, names),
        "respondents": respondents_table(log, until),
        "identity": identity_table(log.load),
        "clocks": clocks_table(log, later, until),
        "outages": outages(days, dict(zip(names, steps)), until),
        "drift": drift_table(log, until),
        "partners": partners_table(log, until),
        "conflicts": conflicts_table(log, until),
        "by_hand": by_hand_table(log, until),
        "unknown": _unknown(counts["server"], names),
    }
    days_99 = delays.days_99 if delays.curves else None
    told = Told(tables, plan, days_99, log.load["n_users"], asked, unheard, counts["before"])
    return Audit(
        **tables,
        **narrative_first.read_first(told),
        details=narrative.details(told),
        rule=narrative.rule(told),
        caveats=(*log.caveats(as_of), *narrative.caveats(told)),
        labels={name: each.label for name, each in plan.micro_conversions.items()},
        aliases=(proposed := aliases_of(tables["partners"])),
        mending=mending(proposed, log.aliases),
    )


def _no_plan(log: EventLog) -> Plan:
    """Every event is a micro-conversion, the most frequent where they are too many."""
    events = log.describe()["event"].head(MOST)
    return as_plan(
        {"micro_conversions": {event: {"events": [{"event": event}]} for event in events}}, log.name
    )


def _rows(found: Mapping[int, Sequence[Said]], plan: Plan) -> Iterator[dict[str, Any]]:
    """The rows of `Audit.verdicts`."""
    for bit, (name, each) in enumerate(plan.micro_conversions.items()):
        role = plan.roles.get(each.acts)
        who = [each.owner, role.label if role else ""]
        for said in found.get(bit, [NOTHING]):
            share, part = said.part.share, said.part
            lost = said.moved < 0
            ends = (
                (1 / share.value, 1 / share.high, 1 / share.low)
                if said.verdict == CORRECTABLE
                else [np.nan] * 3
            )
            yield {
                "micro_conversion": name,
                "platform": part.platform,
                "verdict": said.verdict,
                "witness": said.witness,
                "n_users": part.n_users,
                "n_checked": part.n,
                **interval_columns("completeness_rate", share.value, share.low, share.high),
                "app_version": part.app_version,
                "since": week_day(part.since) if lost else "",
                "until": week_day(part.until) if lost else "",
                "until_version": part.until_version if lost else "",
                **interval_columns("correction_ratio", *ends),
                "moves_rate": said.moved,
                "owner": " \u00b7 ".join(filter(None, who)),
            }


def _unknown(server: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`Audit.unknown`."""
    found = server.assign(micro_conversion=[names[bit] for bit in server["what"]])
    return found[["micro_conversion", "n_users", "n_events", "n_alone"]]
