"""The question that an audit asks of a log, and the one walk that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from mctlib import contract
from mctlib.audit.delays import Delays, read_delays
from mctlib.audit.devices import DEVICE
from mctlib.audit.verdicts import ENOUGH
from mctlib.audit.volumes import EVENT, count_volumes
from mctlib.audit.witnesses import (
    BACKEND,
    NO,
    WHOLE,
    YES,
    Asked,
    Records,
    count_witnesses,
    tally,
)
from mctlib.contract import MISSING
from mctlib.eventlog.completeness import proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Ints, Journeys
from mctlib.eventlog.late_start import ALL, read_late_start
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.steps import Step, may_meet
from mctlib.phrases import DAY_US
from mctlib.tracking_plan.plan import Plan

MET = 0.05  # of a server's records and of events: if fewer meet, one of the two is misread
UNSETTLED = 14 * DAY_US  # of users of whom nothing says whether they came before the log


def read_question(
    log: EventLog, steps: Sequence[Step], plan: Plan, until: int, days: pd.DataFrame
) -> tuple[Asked, Delays]:
    """What the walk holds rows against, and how late they come; ``days``: of `count_days`."""
    records = read_records(log, steps, plan, until)
    by_day = read_by_day(log, steps, records)
    records = records.by_day([*by_day], tuple(chain(*log.day_resolution.values())))
    again = records.again
    n_again = int((again & ~np.isin(records.what, [*by_day])).sum())
    records = records.take(~again)
    known = np.unique(records.what[records.kind == BACKEND])
    seen = {int(bit): [n for n in steps[bit].names if n in log.event_names] for bit in known}
    delays = read_delays(log, seen)
    start = list(plan.micro_conversions).index(plan.start) if _starts(plan) else -1
    begin = int(log.first_event.value // 1000)
    implied = read_implied(steps, plan)
    witnessed: dict[int, Sequence[Any]]
    witnessed = {bit: [n for b in by for n in steps[b].names] for bit, by in implied.items()}
    for bit in known.tolist():
        mine = (records.what == bit) & (records.kind == BACKEND)
        witnessed[bit] = records.time[mine] // DAY_US
    asked = Asked(
        steps=steps,
        records=records,
        implied=implied,
        old=old_users(log),
        start=start,
        begun=begin + min(UNSETTLED, (until - begin) // 10),
        settled=min(delays.settled, until),
        end=delays.end,
        ripe=delays.ripe,
        week_of=log.calendar.week_of,
        n_again=n_again,
        by_day=by_day,
        dated=bool(log.day_resolution),
        late=read_late_start(days, steps, witnessed),
        extra=[name for name in log.event_names if name not in plan.rules()],
    )
    return asked, delays


def read_by_day(log: EventLog, steps: Sequence[Step], records: Records) -> frozenset[int]:
    """The bits of micro-conversions of which events or the server's records have a day alone."""
    found = {
        bit for bit, s in enumerate(steps) if not log.day_resolution.keys().isdisjoint(s.names)
    }
    for bit in np.unique(records.what[records.kind == BACKEND]).tolist():
        mine = records.time[(records.what == bit) & (records.kind == BACKEND)]
        if len(mine) >= ENOUGH and not (mine % DAY_US).any():
            found.add(bit)
    return frozenset(found)


def day_steps(log: EventLog) -> list[Step]:
    """The events that have a day alone, as a matcher; nothing without any."""
    return [Step([*log.day_resolution])] if log.day_resolution else []


def _starts(plan: Plan) -> bool:
    return isinstance(plan.start, str) and plan.start in plan.micro_conversions


def count_all(j: Journeys, asked: Asked) -> dict[str, pd.DataFrame]:
    """Kernel: `count_witnesses` and `count_volumes`."""
    n = len(asked.steps)
    dated = j.has(n + 1) if asked.dated else np.zeros(len(j), bool)
    return count_witnesses(j, asked) | count_volumes(j, n, asked.week_of, dated, asked.extra)


def unmet(log: EventLog, asked: Asked, before: pd.DataFrame) -> pd.DataFrame:
    """What the server knows of users of whom no event came, as `tally` counts it.

    ``before``: records from before their event was there at all.
    """
    records, met = asked.records, log.load["met"].get("backend", {})
    if met.get("n_users") == met.get("n_met"):
        records = records.take(np.empty(0, int))
    seen = log.sql('SELECT DISTINCT "user" FROM events')["user"] if len(records.user) else []
    mine = records.take((records.kind == BACKEND) & ~np.isin(records.user, seen))
    frame = pd.DataFrame({"what": mine.what, "kind": mine.kind, "user": mine.user})
    device = dict.fromkeys(DEVICE, MISSING)
    frame = frame.assign(**device, week=asked.week_of(mine.time), tracked=False, ripe=1.0)
    late = asked.late.unknown(before)
    unknown = np.full(len(frame), MISSING, object)
    return tally(frame[late.counted(mine.what, unknown, unknown, mine.time)])


def heard(
    log: EventLog, asked: Asked, counts: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """What the witnesses say, without a server whose records and events do not meet.

    And of which micro-conversions (bits) that is so, with what does not fit: "ids" or "clock".
    """
    said = add_up([counts["said"], unmet(log, asked, counts["before"])])
    whole = said[(said["kind"] == BACKEND) & (said["platform"] == ALL) & (said["week"] == WHOLE)]
    server = whole.merge(counts["server"], on="what", suffixes=("", "_server"))
    apart = (server["n_tracked"] <= MET * server["n_checked"]) & (server["n_events"] >= ENOUGH)
    apart &= (server["n_alone"] >= (1 - MET) * server["n_events"]) & (server["n_checked"] >= ENOUGH)
    found = {int(bit): _misfit(log, asked, int(bit)) for bit in server.loc[apart, "what"]}
    return said[~(said["what"].isin(found) & (said["kind"] == BACKEND))], found


def _misfit(log: EventLog, asked: Asked, bit: int) -> str:
    """Why a server's records and the events do not meet: other ids, else another clock."""
    names = ", ".join(map(sql_text, asked.steps[bit].names))
    have = log.sql(f'SELECT DISTINCT "user" FROM events WHERE event::VARCHAR IN ({names})')["user"]
    records = asked.records
    known = np.unique(records.user[(records.what == bit) & (records.kind == BACKEND)])
    return "clock" if np.isin(known, have).mean() >= 0.5 else "ids"


def read_records(log: EventLog, steps: Sequence[Step], plan: Plan, until: int) -> Records:
    """What servers and surveys say, within the time of the log."""
    begin = int(log.first_event.value // 1000)
    parts = []
    for bit, proof in enumerate(proofs(log, steps, implied={})):
        if proof.source == "backend":
            parts.append((proof.user, proof.time, bit, BACKEND))
    surveys = log.table("surveys")
    if len(surveys):
        question = {name: bit for bit, step in enumerate(steps) for name in step.all_names}
        named = enumerate(plan.micro_conversions.values())
        question |= {each.survey: bit for bit, each in named if each.survey}
        what = surveys["micro_conversion"].map(question)
        said = surveys["answer"].str.strip().str.lower()
        answer = pd.Series(np.nan, said.index)
        answer[said.str.match(contract.YES).fillna(False)] = YES
        answer[said.str.match(contract.NO).fillna(False)] = NO
        told = (what.notna() & answer.notna() & surveys["submitted_at"].notna()).to_numpy()
        at = surveys["submitted_at"].to_numpy("datetime64[us]").astype(np.int64)
        user = surveys["user"].to_numpy()
        parts.append((user[told], at[told], what[told], answer[told]))
    found = Records.of(*parts)
    return found.take((found.time >= begin) & (found.time <= until))


def read_implied(steps: Sequence[Step], plan: Plan) -> dict[int, list[int]]:
    """Bit -> bits of the micro-conversions that imply it, as far as no event could be both."""
    found: dict[int, list[int]] = {}
    names = list(plan.micro_conversions)
    of_event = {name: bit for bit, s in enumerate(steps) if not s.filtered for name in s.names}
    for later, each in enumerate(plan.micro_conversions.values()):
        for event in each.implies:
            for name in [event] if isinstance(event, str) else ():
                bit = names.index(name) if name in names else of_event.get(name, later)
                if bit != later and not may_meet(steps[bit], steps[later]):
                    found.setdefault(bit, []).append(later)
    return found


def old_users(log: EventLog) -> Ints | None:
    """Users who signed up before the log began; None where nothing says when people did."""
    people = log.table("people")
    signed_up = people["signed_up_at"]
    if not signed_up.notna().any():
        return None
    old = signed_up.isna() | (signed_up < log.first_event.normalize())
    return np.sort(people.loc[old, "user"].to_numpy())


def known_columns(log: EventLog, asked: Asked) -> list[str]:
    """For ``by``: what tells a device, if events hold it; the event, where some are extra."""
    device = [f"event.{column}" for column in DEVICE if log.words.filled("events", column)]
    return [*device, *([EVENT] if asked.extra else [])]
