"""How complete the tracking of an event is.

Judged by the server's own records, or by later events that cannot happen without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NEVER, NOWHERE, Bools, Ints, Journeys, lines_of
from mctlib.eventlog.steps import Step


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Proof:
    """What shows that a user did an event, tracked or not.

    source: "backend", "implied" or "none" · user, time: the backend's records (microseconds) ·
    later: matchers (bits) of events that cannot happen without it.
    """

    source: str
    user: Ints = field(default_factory=_none)
    time: Ints = field(default_factory=_none)
    later: Sequence[int] = ()


def proofs(
    log: EventLog, events: Sequence[Step], *, implied: Mapping[int, Sequence[int]]
) -> list[Proof]:
    """The best proof of each event.

    Its records in ``backend`` where there are any, else the later events that ``implied`` names
    (index -> indices), else none. ``backend`` holds no properties: an event with a filter is not
    proved by it.
    """
    backend = log.table("backend")
    user = backend["user"].to_numpy()
    time = backend["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    found = []
    for i, event in enumerate(events):
        recorded = backend["event"].isin(event.names).to_numpy() & (not event.filtered)
        if recorded.any():
            found.append(Proof("backend", user[recorded], time[recorded]))
        elif implied.get(i):
            found.append(Proof("implied", later=implied[i]))
        else:
            found.append(Proof("none"))
    return found


def check(
    j: Journeys, bit: int, proof: Proof, *, user: Ints, since: Ints, until: Ints
) -> tuple[Bools, Bools]:
    """Whether users did the event of matcher ``bit`` for certain, and whether it is there too.

    For each of the users (ascending) within [since, until]. Records of the backend are held against
    events of the same span. An event that a later one proves may have come at any time up to
    ``until``.
    """

    def have(rows: Bools, since: Ints) -> Bools:
        return _within(j.user[rows], j.time[rows], user, since, until)

    if proof.source == "backend":
        did = _within(proof.user, proof.time, user, since, until)
        tracked = have(j.has(bit), since)
    else:
        later = j.mask.dtype.type(sum(1 << b for b in proof.later))
        did = have(j.mask & later > 0, since)
        tracked = have(j.has(bit), np.full(len(user), NEVER))
    return did, did & tracked


def _within(owner: Ints, time: Ints, user: Ints, since: Ints, until: Ints) -> Bools:
    """Whether each user has a row (owner, time) in the user's span."""
    line = lines_of(owner, user)
    known = line != NOWHERE
    line, time = line[known], time[known]
    inside = (time >= since[line]) & (time <= until[line])
    return np.bincount(line[inside], minlength=len(user)) > 0


def completeness(
    table: pd.DataFrame, n_checked: ArrayLike, n_tracked: ArrayLike, *, n_accounts: float
) -> pd.DataFrame:
    """The table with the columns n_checked, n_tracked and completeness_rate, with its interval.

    ``n_checked``, ``n_tracked``: users by bucket and row who did the event for certain, and those
    of them whose event is there · ``n_accounts``: see `stats.share_interval`.
    """
    checked, tracked = np.sum(n_checked, axis=0), np.sum(n_tracked, axis=0)
    low, high, _ = stats.share_interval(n_tracked, n_checked, n_accounts=n_accounts)
    share = stats.rate(tracked, checked)
    return table.assign(
        n_checked=checked,
        n_tracked=tracked,
        **interval_columns("completeness_rate", share, low, high),
    )
