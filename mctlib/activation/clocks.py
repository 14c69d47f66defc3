"""Clocks, one a user: from a start to an activation, an exit, or the end of what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numba import njit

from mctlib import phrases
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import FOREVER, NOWHERE, ROWS, Journeys
from mctlib.eventlog.steps import Step, may_meet, refuse_misspelt

ROLES = ("start", "activation", "competing", "observed_from", "censor")
ENDINGS = ("activated", "competing", "censored", "not_activated")  # of the users who are counted
OUTCOMES = (*ENDINGS, "ended_before", "unobserved", "already", "unstarted")  # the others are not
ACTIVATED, COMPETING, CENSORED, NOT_ACTIVATED, ENDED_BEFORE, UNOBSERVED, ALREADY, UNSTARTED = range(
    len(OUTCOMES)
)
ENDS = {"competing": "exit", "censor": "end of view"}  # a log may hold none of these


def clock_roles(log: EventLog, asked: Mapping[str, Any]) -> tuple[dict[str, Step], tuple[str, ...]]:
    """Events of a clock by role, and a sentence for every name that does not occur.

    Only start and activation must be given. Raises ParameterError: what is no event, or misspelt; a
    role (but the exit and the end of view) of which no name occurs; one of these two that could be
    the start, the activation, or the other.
    """
    needed = ("start", "activation")
    given = {role: e for role, e in asked.items() if e is not None or role in needed}
    found = {role: known_step(log, event, role) for role, event in given.items()}
    roles = {role: step for role, (step, _) in found.items()}
    sentences = [sentence for _, said in found.values() for sentence in said]
    for role, name in ENDS.items():
        for other in (*needed, "competing"):
            if role in roles and other in roles and role != other:
                _apart(role, name, roles[role], roles[other])
    return roles, tuple(sentences)


def known_step(log: EventLog, event: Any, role: str) -> tuple[Step, list[str]]:
    """An event by its role, and a sentence for every name of it that does not occur.

    Raises ParameterError: it is misspelt, or none of a role does that is needed.
    """
    step = log.step(event, role)
    missing = log.missing_events([step])
    refuse_misspelt(role, missing)
    unknown = [f"{role}: {sentence}" for sentence in missing]
    if role not in ENDS and unknown and len(unknown) == len(set(step.names)):
        raise ParameterError(" ".join(unknown))
    return step, unknown


def _apart(role: str, name: str, step: Step, other: Step) -> None:
    if may_meet(other, step):
        raise ParameterError(
            f'{role}: one event could be both the {name} "{step.label}" and "{other.label}", where '
            "the clock starts or ends; name another event."
        )


def resolution(horizon: int, exact: bool) -> int:
    """Unit of durations in microseconds: 1 where they are ``exact``, else one that bounds tables.

    That is the longest one that divides a day and the horizon and is at most horizon / 10,000, from
    1 second to 2 hours.
    """
    if exact:
        return 1
    seconds = horizon // phrases.SECOND_US
    common = gcd(seconds, 86_400)
    most = max(1, min(seconds // 10_000, common, 7200))
    return phrases.SECOND_US * max(d for d in range(1, most + 1) if common % d == 0)


class Clocks(NamedTuple):
    """Clocks of users, an entry each; times in microseconds."""

    row: np.ndarray  # of the start; of the activation where there is no start
    outcome: np.ndarray  # place in OUTCOMES
    entry: np.ndarray  # from the start to the first event in view, 0 where that is the start
    ran: np.ndarray  # how long the clock ran
    immature: np.ndarray  # 1 where the horizon is not over at as_of


@njit("int64(uint64[::1], int64, int64, uint64)", cache=True, nogil=True)
def first_with(mask: np.ndarray, low: int, high: int, bit: int) -> int:
    """First of the rows that has the bit."""
    for row in range(low, high):
        if mask[row] & bit:
            return row
    return int(NOWHERE)


@njit("int64(int64[::1], uint64[::1], int64, int64, int64, uint64)", cache=True, nogil=True)
def wait_for(time: np.ndarray, mask: np.ndarray, start: int, low: int, high: int, bit: int) -> int:
    """From the start to the user's first other event with the bit, at the same moment or later."""
    for row in range(low, high):
        if mask[row] & bit and row != start and time[row] >= time[start]:
            return int(time[row] - time[start])
    return FOREVER


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True, nogil=True)
def how_it_ends(
    to_activation: int, to_exit: int, to_entry: int, followed: int, horizon: int, unit: int
) -> int:
    """Outcome of a clock; at one moment the activation comes first.

    Who came into view only after the end, or in the very unit of the end, was never at risk.
    """
    ran = min(to_activation, to_exit, followed)
    if to_entry > followed:
        return UNOBSERVED
    if ran < to_entry or 0 < to_entry // unit >= ran // unit:
        return ENDED_BEFORE
    if to_activation == ran:
        return ACTIVATED
    if to_exit == ran:
        return COMPETING
    return CENSORED if followed < horizon else NOT_ACTIVATED


@njit(f"int64[:, :]({ROWS}, uint64[::1], int64, int64, int64)", cache=True, nogil=True)
def walk_clocks(
    user: np.ndarray,
    time: np.ndarray,
    mask: np.ndarray,
    bits: np.ndarray,
    as_of: int,
    horizon: int,
    unit: int,
) -> np.ndarray:
    """Clocks of all users with a start or an activation, a column each: numbers of `Clocks`.

    The clock starts at the user's first start and ends at the first activation or exit at its
    moment or later, in another row: one row fills one role. A user is followed until as_of, the
    horizon, or the first event that ends the view. ``bits``: of the ROLES, 0 for none.
    """
    found = np.empty((5, len(user)), np.int64)
    n = 0
    row = 0
    while row < len(user):
        low = row
        while row < len(user) and user[row] == user[low]:
            row += 1
        start = first_with(mask, low, row, bits[0])
        active = first_with(mask, low, row, bits[1])
        if start == NOWHERE and active == NOWHERE:
            continue
        if start == NOWHERE:
            found[:, n] = active, UNSTARTED, 0, 0, 0
        elif active != NOWHERE and time[active] < time[start]:
            found[:, n] = start, ALREADY, 0, 0, 0
        else:
            to_activation = wait_for(time, mask, start, low, row, bits[1])
            to_exit = wait_for(time, mask, start, low, row, bits[2])
            to_entry = wait_for(time, mask, start, low, row, bits[3]) if bits[3] else 0
            to_censor = wait_for(time, mask, start, low, row, bits[4]) if bits[4] else FOREVER
            followed = min(as_of - time[start], to_censor, horizon)
            ran = min(to_activation, to_exit, followed)
            outcome = how_it_ends(to_activation, to_exit, to_entry, followed, horizon, unit)
            immature = int(as_of - time[start] < horizon)
            found[:, n] = start, outcome, to_entry, ran, immature
        n += 1
    return found[:, :n]


@njit(f"uint64[::1]({ROWS}, int64[::1], int64)", cache=True, nogil=True)
def seen_until(
    user: np.ndarray, time: np.ndarray, mask: np.ndarray, start: np.ndarray, until: int
) -> np.ndarray:
    """Bits of the other events that each start's user had from its moment to ``until`` after it."""
    seen = np.zeros(len(start), np.uint64)
    for i in range(len(start)):
        own = start[i]
        row = own
        while row > 0 and user[row - 1] == user[own] and time[row - 1] == time[own]:
            row -= 1
        while row < len(user) and user[row] == user[own] and time[row] - time[own] <= until:
            if row != own:
                seen[i] |= mask[row]
            row += 1
    return seen


def rows_of(j: Journeys) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, time and mask of all rows, as the kernels take them."""
    return np.array(j.user, np.int64), np.array(j.time, np.int64), np.array(j.mask, np.uint64)


def clocks(j: Journeys, roles: Sequence[str], horizon: int, unit: int = 1) -> Clocks:
    """The clocks of whole users; ``roles`` names the bits of the mask."""
    bits = [1 << roles.index(role) if role in roles else 0 for role in ROLES]
    return Clocks(*walk_clocks(*rows_of(j), np.array(bits, np.uint64), j.as_of, horizon, unit))


def count_users(
    j: Journeys,
    rows: np.ndarray,
    labels: Mapping[str, Sequence[str]],
    *,
    immature: np.ndarray | None = None,
    **codes: np.ndarray,
) -> pd.DataFrame:
    """Users by what their rows hold and by codes: one row a combination, with n_users.

    ``labels``: column -> the dims whose values make its words. ``immature``: users of whom to count
    n_immature.
    """
    named = {name: j.segments(rows, dims) for name, dims in labels.items()}
    keys = {name: code for name, (code, _) in named.items()} | codes
    # arrow's, not pandas': it lets go of Python's lock, so that chunks are walked at once
    sums: list[Any] = [([], "count_all")]
    table = pa.table(keys)
    if immature is not None:
        table = table.append_column("n_immature", pa.array(immature))
        sums.append(("n_immature", "sum"))
    groups = table.group_by(list(keys), use_threads=False).aggregate(sums).to_pandas()
    table = groups.rename(columns={"count_all": "n_users", "n_immature_sum": "n_immature"})
    return table.assign(**{name: words[table[name]] for name, (_, words) in named.items()})


def count_durations(
    j: Journeys,
    *,
    horizon: int,
    unit: int,
    roles: Sequence[str] = ROLES[:3],
    labels: Mapping[str, Sequence[str]],
) -> dict[str, pd.DataFrame]:
    """Kernel: how long clocks ran (ended), and whose clock is not counted (left_out).

    Both hold the ``labels`` (see `count_users`), outcome and n_users; ended also n_immature, units
    and, with late entry, entry, in units of ``unit`` microseconds.
    """
    c = clocks(j, roles, horizon, unit)
    runs = c.outcome < len(ENDINGS)
    rows = c.row[runs]
    late = {"entry": c.entry[runs] // unit} if "observed_from" in roles else {}
    ended = count_users(
        j,
        rows,
        labels,
        immature=c.immature[runs],
        outcome=c.outcome[runs],
        **late,
        units=c.ran[runs] // unit,
    )
    left_out = count_users(j, c.row[~runs], labels, outcome=c.outcome[~runs])
    names = np.asarray(OUTCOMES, object)
    return {
        "ended": ended.assign(outcome=names[ended["outcome"]]),
        "left_out": left_out.assign(outcome=names[left_out["outcome"]]),
    }


def count_clocks(
    log: EventLog, roles: Mapping[str, Step], labels: dict[str, list[str]], window: int, as_of: Any
) -> tuple[pd.DataFrame, pd.Series]:
    """Users by how their clocks ended; and by why they have none. Raises: nobody has one."""
    unit = resolution(window, log.small)
    kernel = partial(count_durations, horizon=window, unit=unit, roles=tuple(roles), labels=labels)
    columns = [column for columns in labels.values() for column in columns]
    counts = log.reduce(kernel, events=list(roles.values()), by=columns, as_of=as_of)
    outside = counts["left_out"].groupby("outcome")["n_users"].sum().reindex(OUTCOMES, fill_value=0)
    if counts["ended"].empty:
        raise _nobody(roles, outside, as_of)
    return counts["ended"], outside


def _nobody(roles: Mapping[str, Step], left_out: pd.Series, as_of: Any) -> ParameterError:
    """Why there is no user to follow."""
    begun = roles["start"].label
    if n_unseen := int(left_out["unobserved"] + left_out["ended_before"]):
        return ParameterError(
            f"observed_from: none of {phrases.users(n_unseen)} with {begun} is still waiting and "
            f"has {roles['observed_from'].label} after it (an event fills one role only); leave it "
            "out where users are in view from the start."
        )
    before = "."
    if left_out["already"]:
        goal = roles["activation"].label
        before = f" without {goal} before; are start and activation swapped?"
    return ParameterError(f"start: no user has {begun} by {as_of}{before}")
