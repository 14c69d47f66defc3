"""Logs of users who wait for their activation."""

import pandas as pd

from tests.support.logs import log_of, people_of

ASK = {
    "start": "start",
    "activation": "active",
    "competing": "exit",
    "as_of": "2026-07-01T00:00:00Z",
}
END = pd.Timestamp("2026-07-01T00:00:00Z")


def clocks(days, status, *, entry=None, far=None):
    """Rows in which user i's clock runs for days[i].

    It ends in 0 = END, 1 = activation, 2 = exit; clocks that do not run to END start ``far`` days
    before it. Users are first seen ``entry`` days after their start, if that is given.
    """
    rows, far = [], max(days) + 1 if far is None else far
    for i, (t, s) in enumerate(zip(days, status)):
        ran = pd.Timedelta(round(t * 86_400e6), unit="us")
        begun = END - (ran if s == 0 else pd.Timedelta(days=far))
        rows.append((f"u{i}", "start", begun))
        if s:
            rows.append((f"u{i}", {1: "active", 2: "exit"}[int(s)], begun + ran))
        if entry is not None:
            rows.append((f"u{i}", "seen", begun + pd.Timedelta(days=float(entry[i]))))
    return rows


def clocked(days, status, channel=None, account=None):
    """`clocks` as a log; channel and account are the users'."""
    known = {"channel": channel, "account_id": account}
    people = None if channel is None else people_of(len(channel), **known)
    return log_of(clocks(days, status), people=people)


def coarse(patch):
    """Durations in steps, as a log of more than 200,000 events has them."""
    patch.setattr("mctlib.eventlog.event_log.EXACT_EVENTS", 0)
