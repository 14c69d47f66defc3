"""How complete is the tracking of an event? Judged by the server's own records, or by later events that cannot happen without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NEVER, Journeys
from mctlib.eventlog.steps import Step


@dataclass(frozen=True)
class Proof:
    """What shows that a user did an event, tracked or not.

    source: "backend", "implied" or "none" · user, time: the backend's records (microseconds) · later: matchers (bits) of events that cannot happen without it.
    """

    source: str
    user: np.ndarray
    time: np.ndarray
    later: Sequence[int] = ()


def proofs(
    log: EventLog, events: Sequence[Step], *, implied: Mapping[int, Sequence[int]]
) -> list[Proof]:
    """The best proof of each event: its records in ``backend`` where there are any, else the later events that ``implied`` names (index -> indices), else none.

    ``backend`` holds no properties: an event with a filter is not proved by it.
    """
    backend = log.table("backend")
    user, time = (
        backend["user"].to_numpy(),
        backend["timestamp"].to_numpy("datetime64[us]").astype(np.int64),
    )
    out = []
    for i, event in enumerate(events):
        mine = np.flatnonzero(backend["event"].isin(event.names) & (not event.where))
        out.append(
            Proof(
                "backend" if len(mine) else "implied" if implied.get(i) else "none",
                user[mine],
                time[mine],
                () if len(mine) else implied.get(i, ()),
            )
        )
    return out


def check(
    j: Journeys, bit: int, proof: Proof, *, user: np.ndarray, since: np.ndarray, until: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each of the users (ascending) did the event of matcher ``bit`` for certain within [since, until], and whether the events hold it too.

    Records of the backend are held against events of the same span. An event that a later one proves may have come at any time up to ``until``.
    """

    def have(rows: np.ndarray, since: np.ndarray) -> np.ndarray:
        return _within(j.user[rows], j.time[rows], user, since, until)

    if proof.source == "backend":
        did, tracked = _within(proof.user, proof.time, user, since, until), have(j.has(bit), since)
    else:
        later = j.mask & j.mask.dtype.type(sum(1 << b for b in proof.later)) > 0
        did, tracked = have(later, since), have(j.has(bit), np.full(len(user), NEVER))
    return did, did & tracked


def _within(
    owner: np.ndarray, time: np.ndarray, user: np.ndarray, since: np.ndarray, until: np.ndarray
) -> np.ndarray:
    """Whether each user has a row (owner, time) in its span."""
    at = np.searchsorted(user, owner)
    mine = np.r_[user, -1][at] == owner
    at, time = at[mine], time[mine]
    return np.bincount(at[(time >= since[at]) & (time <= until[at])], minlength=len(user)) > 0


def completeness(
    table: pd.DataFrame, n_checked: np.ndarray, n_tracked: np.ndarray, *, n_accounts: float
) -> pd.DataFrame:
    """The table with n_checked (users who did the event for certain), n_tracked (those whose event is there) and completeness_rate with its interval (`stats.share_interval`).

    ``n_checked``, ``n_tracked``: (buckets, rows). ``n_accounts``: in which users sit, NaN where there are none.
    """
    checked, tracked = (n.sum(axis=0) for n in (n_checked, n_tracked))
    low, high, _ = stats.share_interval(n_tracked, n_checked, n_accounts=n_accounts)
    return table.assign(
        n_checked=checked,
        n_tracked=tracked,
        completeness_rate=stats.rate(tracked, checked),
        completeness_rate_ci_lower=low,
        completeness_rate_ci_upper=high,
    )
